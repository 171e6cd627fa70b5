//! What flags and the environment set over the file: the same settings by the same names.

use super::origin::{Given, Origin};
use crate::credentials::Edge;

/// A setting that has a flag and a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `--listen`
    Listen,
    /// `--unsafe-open`
    UnsafeOpen,
    /// `--domain`: may be set several times, and names may be joined by commas.
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

/// One layer of settings over the file.
#[derive(Clone, Debug)]
pub struct Layer {
    kind: Kind,
    values: Vec<(Setting, String)>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Environment,
    Flags,
}

impl Setting {
    /// All.
    pub const ALL: [Self; 13] = [
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

    /// The flag: `--admin-listen`.
    #[must_use]
    pub fn flag(self) -> String {
        format!("--{}", self.name())
    }

    /// The variable: `OSS_PROXY_ADMIN_LISTEN`.
    #[must_use]
    pub fn variable(self) -> String {
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

    /// The key of the file that it stands over.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Listen => "listen.address",
            Self::UnsafeOpen => "listen.unsafe_open",
            Self::Domain => "listen.domains",
            Self::ReadOnly => "listen.read_only",
            Self::AdminListen => "admin.address",
            Self::Region => "upstream.region",
            Self::Internal => "upstream.internal",
            Self::Endpoint => "upstream.endpoint",
            Self::Bucket => "upstream.bucket",
            Self::Signature => "upstream.signature",
            Self::CaFile => "upstream.ca_file",
            Self::LogLevel => "log.level",
            Self::LogFormat => "log.format",
        }
    }

    /// The setting that stands over this key of the file.
    pub(super) fn over(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.key() == key)
    }
}

impl Layer {
    /// The layer of flags, with none yet. A flag without a value is set to `true`.
    #[must_use]
    pub fn flags() -> Self {
        Self { kind: Kind::Flags, values: Vec::new() }
    }

    /// The layer of the environment.
    #[must_use]
    pub fn from_environment(edge: &dyn Edge) -> Self {
        let value = |setting: Setting| Some((setting, edge.variable(&setting.variable())?));
        Self { kind: Kind::Environment, values: Setting::ALL.into_iter().filter_map(value).collect() }
    }

    /// Sets a setting, if there is a value.
    #[must_use]
    pub fn set(mut self, setting: Setting, value: Option<impl Into<String>>) -> Self {
        self.values.extend(value.map(|value| (setting, value.into())));
        self
    }

    /// The values of a setting in this layer.
    fn get(&self, setting: Setting) -> Vec<Given<String>> {
        let at = match self.kind {
            Kind::Environment => Origin::Variable(setting.variable()),
            Kind::Flags => Origin::Flag(setting.flag()),
        };
        let given = |value: &String| Given { value: value.clone(), at: at.clone() };
        let wanted = self.values.iter().filter(|(known, _)| *known == setting);
        wanted.map(|(_, value)| given(value)).collect()
    }
}

/// What the uppermost layer that sets `setting` gives; empty if none does. Later layers are above.
pub(super) fn topmost(layers: &[Layer], setting: Setting) -> Vec<Given<String>> {
    let mut values = layers.iter().rev().map(|layer| layer.get(setting));
    values.find(|values| !values.is_empty()).unwrap_or_default()
}
