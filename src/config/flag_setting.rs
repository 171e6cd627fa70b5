//! The settings that have a flag and an environment variable. Both use the same names.

/// Defines [`FlagSetting`] from a list of variants with the names of their flags.
macro_rules! flag_settings {
    ($($setting:ident = $name:literal,)*) => {
        /// A setting with a flag and an environment variable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum FlagSetting {
            $(
                #[doc = concat!("`--", $name, "`")]
                $setting,
            )*
        }

        impl FlagSetting {
            /// All settings.
            pub(crate) const ALL: [Self; [$($name),*].len()] = [$(Self::$setting),*];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$setting => $name,)*
                }
            }
        }
    };
}

flag_settings! {
    Listen = "listen",
    UnsafeOpen = "unsafe-open",
    // May be repeated, and accepts names separated by commas.
    Domain = "domain",
    ReadOnly = "read-only",
    AdminListen = "admin-listen",
    Region = "region",
    Internal = "internal",
    Endpoint = "endpoint",
    Bucket = "bucket",
    Signature = "signature",
    CaFile = "ca-file",
    LogLevel = "log-level",
    LogFormat = "log-format",
}

impl FlagSetting {
    /// Returns the flag: `--admin-listen`.
    #[must_use]
    pub(crate) fn flag(self) -> String {
        format!("--{}", self.name())
    }

    /// Returns the variable: `OSS_PROXY_ADMIN_LISTEN`.
    #[must_use]
    pub(crate) fn variable(self) -> String {
        format!("OSS_PROXY_{}", self.name().to_ascii_uppercase().replace('-', "_"))
    }
}
