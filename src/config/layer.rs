//! Settings from flags and the environment, which override the file. Both use the same names.

use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::origin::{SpannedValue, ValueOrigin};
use super::variables;
use crate::credentials::SourceEnv;

/// A setting with a flag and an environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagSetting {
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

/// A layer of settings that overrides the file.
#[derive(Clone, Debug)]
pub struct SettingLayer {
    kind: LayerKind,
    alone: bool,
    values: Vec<(FlagSetting, String)>,
    /// The invalid variables.
    wrong: Vec<(String, ConfigErrorKind)>,
}

#[derive(Clone, Copy, Debug)]
enum LayerKind {
    Environment,
    Flags,
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

impl SettingLayer {
    /// Creates an empty layer of flags. A flag without a value is set to `true`.
    #[must_use]
    pub fn flags() -> Self {
        Self { kind: LayerKind::Flags, alone: false, values: Vec::new(), wrong: Vec::new() }
    }

    /// Reads the layer of the environment.
    #[must_use]
    pub fn from_environment(edge: &dyn SourceEnv) -> Self {
        let value = |setting: FlagSetting| Some((setting, edge.variable(&setting.variable())?));
        let values = FlagSetting::ALL.into_iter().filter_map(value).collect();
        Self { kind: LayerKind::Environment, alone: false, values, wrong: variables::check(edge) }
    }

    /// Reports the invalid variables.
    pub(super) fn report(&self, report: &mut ConfigReport) {
        for (name, problem) in &self.wrong {
            report.error(&ValueOrigin::Variable(name.clone()), problem.clone());
        }
    }

    /// Adds a value of a setting, if there is one.
    #[must_use]
    pub(crate) fn set(mut self, setting: FlagSetting, value: Option<impl Into<String>>) -> Self {
        self.values.extend(value.map(|value| (setting, value.into())));
        self
    }

    /// Replaces the listeners of the file with one on a free loopback port, and turns the admin
    /// interface off.
    #[must_use]
    pub(crate) fn alone(self) -> Self {
        let layer =
            self.set(FlagSetting::Listen, Some("127.0.0.1:0")).set(FlagSetting::AdminListen, Some("off"));
        Self { alone: true, ..layer }
    }

    /// Returns whether the listeners and the admin interface of the file are ignored.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Returns the values of a setting in this layer.
    fn get(&self, setting: FlagSetting) -> Vec<SpannedValue<String>> {
        let at = match self.kind {
            LayerKind::Environment => ValueOrigin::Variable(setting.variable()),
            LayerKind::Flags => ValueOrigin::Flag(setting.flag()),
        };
        let given = |value: &String| SpannedValue { value: value.clone(), at: at.clone() };
        let wanted = self.values.iter().filter(|(known, _)| *known == setting);
        wanted.map(|(_, value)| given(value)).collect()
    }
}

/// Returns the values of the last layer that sets `setting`, or an empty list if no layer does.
pub(super) fn topmost(layers: &[SettingLayer], setting: FlagSetting) -> Vec<SpannedValue<String>> {
    let mut values = layers.iter().rev().map(|layer| layer.get(setting));
    values.find(|values| !values.is_empty()).unwrap_or_default()
}
