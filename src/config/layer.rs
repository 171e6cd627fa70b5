//! Settings from flags and the environment, which override the file.

use super::diagnostics::ConfigReport;
use super::flag_setting::FlagSetting;
use super::origin::{SpannedValue, ValueOrigin};
use super::variables::{self, InvalidVariable};
use crate::credentials::SourceEnv;

/// A layer of settings that overrides the file.
#[derive(Clone, Debug)]
pub struct SettingLayer {
    kind: LayerKind,
    alone: bool,
    values: Vec<LayerValue>,
    wrong: Vec<InvalidVariable>,
}

#[derive(Clone, Debug)]
struct LayerValue {
    setting: FlagSetting,
    value: String,
}

#[derive(Clone, Copy, Debug)]
enum LayerKind {
    Environment,
    Flags,
}

impl SettingLayer {
    /// Creates an empty layer of flags. A flag without a value is set to `true`.
    #[must_use]
    pub(crate) fn flags() -> Self {
        Self { kind: LayerKind::Flags, alone: false, values: Vec::new(), wrong: Vec::new() }
    }

    /// Reads the layer of the environment.
    #[must_use]
    pub fn from_environment(env: &dyn SourceEnv) -> Self {
        let value =
            |setting: FlagSetting| Some(LayerValue { setting, value: env.variable(&setting.variable())? });
        let values = FlagSetting::ALL.into_iter().filter_map(value).collect();
        Self { kind: LayerKind::Environment, alone: false, values, wrong: variables::check(env) }
    }

    /// Reports the invalid variables.
    pub(super) fn report(&self, report: &mut ConfigReport) {
        for invalid in &self.wrong {
            report.error(&ValueOrigin::Variable(invalid.name.clone()), invalid.problem.clone());
        }
    }

    /// Adds a value of a setting, if there is one.
    #[must_use]
    pub(crate) fn set(mut self, setting: FlagSetting, value: Option<impl Into<String>>) -> Self {
        self.values.extend(value.map(|value| LayerValue { setting, value: value.into() }));
        self
    }

    /// Replaces the listeners of the file with one on a free loopback port, and one for the keys of
    /// another proxy if the file passes them on. Turns the admin interface off.
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
        let given = self.values.iter().filter(|given| given.setting == setting);
        given.map(|given| SpannedValue { value: given.value.clone(), at: at.clone() }).collect()
    }
}

/// Returns the values of the last layer that sets `setting`, or an empty list if no layer does.
pub(super) fn topmost(layers: &[SettingLayer], setting: FlagSetting) -> Vec<SpannedValue<String>> {
    let mut values = layers.iter().rev().map(|layer| layer.get(setting));
    values.find(|values| !values.is_empty()).unwrap_or_default()
}
