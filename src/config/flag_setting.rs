//! The settings that have a flag and an environment variable. Both use the same names.

/// A setting with a flag and an environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlagSetting {
    /// `--listen`
    Listen,
    /// `--unsafe-open`
    UnsafeOpen,
    /// `--domain`: may be repeated, and accepts names separated by commas.
    Domain,
    /// `--read-only`
    ReadOnly,
    /// `--admin-listen`
    AdminListen,
    /// `--region`
    Region,
    /// `--internal`
    Internal,
    /// `--endpoint`
    Endpoint,
    /// `--bucket`
    Bucket,
    /// `--signature`
    Signature,
    /// `--ca-file`
    CaFile,
    /// `--log-level`
    LogLevel,
    /// `--log-format`
    LogFormat,
}

impl FlagSetting {
    /// All settings.
    pub(crate) const ALL: [Self; 13] = [
        Self::Listen,
        Self::UnsafeOpen,
        Self::Domain,
        Self::ReadOnly,
        Self::AdminListen,
        Self::Region,
        Self::Internal,
        Self::Endpoint,
        Self::Bucket,
        Self::Signature,
        Self::CaFile,
        Self::LogLevel,
        Self::LogFormat,
    ];

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

    fn name(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::UnsafeOpen => "unsafe-open",
            Self::Domain => "domain",
            Self::ReadOnly => "read-only",
            Self::AdminListen => "admin-listen",
            Self::Region => "region",
            Self::Internal => "internal",
            Self::Endpoint => "endpoint",
            Self::Bucket => "bucket",
            Self::Signature => "signature",
            Self::CaFile => "ca-file",
            Self::LogLevel => "log-level",
            Self::LogFormat => "log-format",
        }
    }
}
