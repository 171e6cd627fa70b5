//! The effective settings with their origins, for display and for comparing two configurations.
//! Secrets are redacted; a reference to a secret is shown.

use std::collections::{HashMap, HashSet};
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::fingerprint::ValueFingerprint;
use super::flag_setting::FlagSetting;
use super::layer::topmost;
use super::origin::ValueOrigin;
use super::section::ConfigDocument;
use super::settings::{SingleSetting, single_settings};

/// An effective setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveSetting {
    /// The key with its sections. Repeated sections are numbered from 0: `listen[0].address`.
    pub(crate) key: String,
    /// The value in the syntax of the file, redacted if it may be secret.
    pub(crate) value: String,
    /// The origin of the value; `None` for a default.
    pub(crate) origin: Option<ValueOrigin>,
    /// The sources of the value, if it is a reference or a list of them.
    pub(crate) references: Vec<ValueReference>,
    /// Detects a change of the value, including one that `value` redacts.
    mark: ValueFingerprint,
}

/// The source that a setting refers to instead of holding its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueReference {
    /// An environment variable, `env:NAME`.
    Variable(String),
    /// A systemd credential, `credential:NAME`.
    SystemdCredential,
}

/// A difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// The key of the setting.
    pub(crate) key: String,
    /// True if the change takes effect only after a restart.
    pub(crate) needs_restart: bool,
    kind: ChangeKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ChangeKind {
    /// The setting is new and has this value.
    Added(String),
    /// The setting was removed and had this value.
    Removed(String),
    /// The first value was replaced with the second.
    Replaced(String, String),
    /// A redacted part of the value has changed.
    Hidden,
}

impl ValueReference {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("env:") {
            return Some(Self::Variable(name.to_owned()));
        }
        text.starts_with("credential:").then_some(Self::SystemdCredential)
    }
}

impl EffectiveSetting {
    /// Returns the origin for display.
    #[must_use]
    pub(crate) fn shown_origin(&self) -> String {
        self.origin.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string)
    }
}

impl fmt::Display for SettingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, kind, needs_restart: _ } = self;
        match kind {
            ChangeKind::Added(value) => write!(f, "{key} added: {value}"),
            ChangeKind::Removed(value) => write!(f, "{key} removed (was {value})"),
            ChangeKind::Replaced(was, is) => write!(f, "{key} changed from {was} to {is}"),
            ChangeKind::Hidden => write!(f, "{key} changed (value hidden)"),
        }
    }
}

/// Returns all settings: those of the file, overridden by flags and environment, and the defaults
/// of the rest.
pub(super) fn all(table: &DeTable<'_>, document: &ConfigDocument<'_>) -> Vec<EffectiveSetting> {
    let mut effective = Vec::new();
    walk(table, "", document, &mut effective);
    effective.sort_by_key(|setting| setting.start);
    let mut effective: Vec<EffectiveSetting> = effective.into_iter().map(|setting| setting.setting).collect();
    let settings = single_settings();
    let mut over = Vec::new();
    for flag in FlagSetting::ALL {
        let Some(setting) = settings.iter().find(|setting| setting.spec.flag == Some(flag)) else { continue };
        let values = topmost(document.layers, flag);
        let Some(first) = values.first() else { continue };
        let texts: Vec<&str> = values.iter().map(|given| given.value.as_str()).collect();
        let value = if matches!(texts[..], ["true" | "false"]) {
            texts.concat()
        } else {
            format!("{:?}", texts.join(","))
        };
        let key = setting.path.clone();
        let mark = ValueFingerprint::new(&value);
        let references = Vec::from_iter(ValueReference::parse(texts[0]));
        over.push(EffectiveSetting { key, value, origin: Some(first.at.clone()), references, mark });
    }
    effective.retain(|setting| !over.iter().any(|over| over.key == setting.key));
    effective.extend(over);
    let given: HashSet<&str> = effective.iter().map(|setting| setting.key.as_str()).collect();
    let absent = settings.iter().filter(|setting| !given.contains(setting.path.as_str()));
    let absent = absent.filter(|setting| setting.spec.default.is_value());
    let default = |setting: &SingleSetting| {
        let value = setting.spec.default.to_string();
        let mark = ValueFingerprint::new(&value);
        EffectiveSetting { key: setting.path.clone(), value, origin: None, references: Vec::new(), mark }
    };
    let defaults: Vec<EffectiveSetting> = absent.map(default).collect();
    effective.extend(defaults);
    effective
}

/// Returns the settings whose values differ. Differences in origin are ignored.
#[must_use]
pub fn changes(before: &[EffectiveSetting], after: &[EffectiveSetting]) -> Vec<SettingChange> {
    let was = by_key(before);
    let is = by_key(after);
    let settings = single_settings();
    let restarts: HashSet<&str> = settings
        .iter()
        .filter(|setting| setting.spec.needs_restart)
        .map(|setting| setting.path.as_str())
        .collect();
    let change =
        |key: &str, kind| SettingChange { key: key.to_owned(), needs_restart: restarts.contains(key), kind };
    let mut changes = Vec::new();
    for setting in after {
        let value = setting.value.clone();
        let kind = match was.get(setting.key.as_str()) {
            None => ChangeKind::Added(value),
            Some(was) if was.value != setting.value => ChangeKind::Replaced(was.value.clone(), value),
            Some(was) if was.mark != setting.mark => ChangeKind::Hidden,
            Some(_) => continue,
        };
        changes.push(change(&setting.key, kind));
    }
    let gone = before.iter().filter(|setting| !is.contains_key(setting.key.as_str()));
    changes.extend(gone.map(|setting| change(&setting.key, ChangeKind::Removed(setting.value.clone()))));
    changes
}

/// Maps settings by key. Of two with the same key, the first is used.
fn by_key(settings: &[EffectiveSetting]) -> HashMap<&str, &EffectiveSetting> {
    settings.iter().rev().map(|setting| (setting.key.as_str(), setting)).collect()
}

/// A setting of the file.
struct WrittenSetting {
    /// The offset of the value in the file.
    start: usize,
    setting: EffectiveSetting,
}

/// Collects the values of a table.
fn walk(table: &DeTable<'_>, path: &str, document: &ConfigDocument<'_>, settings: &mut Vec<WrittenSetting>) {
    for (name, value) in table {
        let name: &str = name.get_ref();
        let key = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match value.get_ref() {
            DeValue::Table(inner) => walk(inner, &key, document, settings),
            DeValue::Array(items)
                if !items.is_empty() && items.iter().all(|item| item.get_ref().is_table()) =>
            {
                let tables = items.iter().filter_map(|item| item.get_ref().as_table());
                for (index, inner) in tables.enumerate() {
                    walk(inner, &format!("{key}[{index}]"), document, settings);
                }
            }
            other @ (DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)) => {
                let span = value.span();
                let origin = Some(document.origin(Some(document.line(&span)), String::new()));
                let references = references(name, other);
                let value = shown(name, other);
                // A string is either shown completely or redacted completely.
                let is_shown = matches!(other, DeValue::String(_)) && value != HIDDEN;
                let mark = if is_shown {
                    ValueFingerprint::new(&value)
                } else {
                    ValueFingerprint::new(&whole(other))
                };
                let setting = EffectiveSetting { key, value, origin, references, mark };
                settings.push(WrittenSetting { start: span.start, setting });
            }
        }
    }
}

/// Returns the sources of a value. The words of a command, for example, are not references.
fn references(name: &str, value: &DeValue<'_>) -> Vec<ValueReference> {
    let items = value.as_array().filter(|_| name == MASTER).map(|items| items.iter().map(Spanned::get_ref));
    let texts = value.as_str().into_iter().chain(items.into_iter().flatten().filter_map(DeValue::as_str));
    texts.filter_map(ValueReference::parse).collect()
}

fn shown(name: &str, value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if is_confidential(name, text) => HIDDEN.to_owned(),
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        // The arguments of a command may be secret.
        DeValue::Array(items) if name == "command" => match items.first() {
            Some(program) => format!("[{}, …]", shown("", program.get_ref())),
            None => "[]".to_owned(),
        },
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| shown(name, item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(_) => "{…}".to_owned(),
    }
}

/// Returns a value without redaction, for its fingerprint.
fn whole(value: &DeValue<'_>) -> Zeroizing<String> {
    Zeroizing::new(match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| whole(item.get_ref()));
            items.fold(String::new(), |all, item| all + &item + ",")
        }
        other @ (DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_)) => shown("", other),
    })
}

/// Returns whether a string may contain a secret. A reference to a secret does not.
fn is_confidential(name: &str, text: &str) -> bool {
    let is_reference = ["file:", "env:", "credential:"].iter().any(|kind| text.starts_with(kind));
    match name {
        "access_key_id" | "access_key_secret" | "security_token" | "token" | "secret" | "hash_key"
        | MASTER => !is_reference,
        // A URL may contain a key.
        "url" => text.contains(['?', '@']),
        "external_id" => true,
        _ => false,
    }
}

/// The key whose value is a list of references to secrets.
const MASTER: &str = "master";
const HIDDEN: &str = "\"[hidden]\"";
