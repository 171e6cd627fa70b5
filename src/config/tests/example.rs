//! `proxy.toml.example` shows every key, loads without changes, and has the defaults that it
//! states.

use std::collections::BTreeMap;
use std::mem::take;

use super::{World, load, load_in, loaded};
use crate::config::provider_settings::PROVIDERS;
use crate::config::schema::{DefaultValue, SectionSchema, SettingSpec, ValueKind};
use crate::config::settings::ROOT;
use crate::config::{ProxyConfig, duration, size};

const EXAMPLE: &str = include_str!("../../../proxy.toml.example");
/// RFC 8037, A.2.
const POLICY: &str = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:GetObject","Resource":"acs:oss:*:*:team-data/*"}]}"#;

const KEY_SET: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

#[test]
fn the_example_loads_as_it_is_and_says_what_the_defaults_are() {
    let example = loaded(EXAMPLE);
    let defaults = loaded("[upstream]\nregion = \"cn-hangzhou\"");
    // The origins and the file differ.
    let bare = |config: ProxyConfig| {
        format!("{:?}", ProxyConfig { effective_settings: Vec::new(), file: None, ..config })
    };
    assert!(example.warnings.is_empty());
    assert_eq!(bare(example), bare(defaults));
}

#[test]
fn the_example_has_every_key_with_its_type_its_default_and_its_flag_and_no_other() {
    let mut mistakes = Vec::new();
    let mut shown: BTreeMap<&str, Vec<ShownSetting>> = BTreeMap::new();
    for setting in shown_settings() {
        shown.entry(setting.section).or_default().push(setting);
    }
    let has_section = |spec: &SettingSpec| !matches!(spec.kind, ValueKind::TextOrTable(_));
    let sections = ROOT.settings().filter(|spec| has_section(spec));
    let sections = sections.filter_map(|spec| Some((spec.section()?.name, spec.section()?)));
    let providers = PROVIDERS.iter().map(|provider| (provider.kind, provider.schema));
    let known: Vec<(&str, &SectionSchema)> = sections.chain(providers).chain([("", &ROOT)]).collect();
    for (name, schema) in &known {
        let inside = shown.remove(name).unwrap_or_default();
        for setting in &inside {
            match schema.setting(setting.key) {
                Some(spec) => mistakes.extend(setting.mistakes(spec)),
                None => mistakes.push(format!("{name}: remove {}", setting.key)),
            }
        }
        // The sections themselves are compared as such.
        let is_key = |spec: &SettingSpec| spec.section().is_none() || !has_section(spec);
        let keys = schema.settings().filter(|spec| !name.is_empty() || is_key(spec));
        for spec in keys.filter(|spec| !matches!(spec.kind, ValueKind::Providers)) {
            let settings: Vec<_> = inside.iter().filter(|setting| setting.key == spec.key).collect();
            if settings.is_empty() {
                mistakes.push(format!("{name}: add {} = {}", spec.key, spec.default));
            } else if let ValueKind::Table(schema) | ValueKind::TextOrTable(schema) = spec.kind {
                let is_shown = |key: &str| settings.iter().any(|setting| setting.table_has(key));
                let missing = schema.settings().filter(|spec| !is_shown(spec.key));
                mistakes.extend(missing.map(|inner| format!("{name}: add {} to {}", inner.key, spec.key)));
            }
        }
    }
    assert!(shown.is_empty(), "sections that do not exist: {:?}", shown.keys());
    assert!(mistakes.is_empty(), "proxy.toml.example:\n{}", mistakes.join("\n"));
}

/// A setting of the example.
struct ShownSetting {
    /// The section in the syntax of the file; for credentials, their type.
    section: &'static str,
    key: &'static str,
    value: &'static str,
    is_comment: bool,
    /// The comment above the setting.
    comment: String,
}

/// Returns the settings of the example, including those in comments.
fn shown_settings() -> Vec<ShownSetting> {
    let mut all: Vec<ShownSetting> = Vec::new();
    let mut section = "";
    let mut comment = String::new();
    for line in EXAMPLE.lines() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        let is_key = |key: &str| {
            !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b))
        };
        if bare.starts_with('[') {
            section = bare;
        } else if let Some((key, value)) = bare.split_once(" = ").filter(|(key, _)| is_key(key)) {
            if section.starts_with("[credentials.") && key == "type" {
                section = value.trim_matches('"');
            }
            let is_comment = line.starts_with('#');
            all.push(ShownSetting { section, key, value, is_comment, comment: take(&mut comment) });
        } else if !line.is_empty() {
            comment.push_str(line);
            continue;
        }
        comment.clear();
    }
    all
}

impl ShownSetting {
    /// Returns whether the value is a table with this key.
    fn table_has(&self, key: &str) -> bool {
        let table: toml::Table = format!("value = {}", self.value).parse().expect("TOML");
        table["value"].as_table().is_some_and(|table| table.contains_key(key))
    }

    /// Returns what differs from the table of settings.
    fn mistakes(&self, spec: &SettingSpec) -> Vec<String> {
        let Self { section, key, value, is_comment, comment } = self;
        let mut mistakes = Vec::new();
        let table: toml::Table = format!("{key} = {value}").parse().expect("TOML");
        if !fits(spec, &table[*key]) {
            mistakes.push(format!(
                "{section}: {key} = {value} is not a {}",
                super::reference::type_name(spec.kind)
            ));
        }
        let is_example = matches!(spec.default, DefaultValue::EmptyList) && *is_comment;
        if spec.default.is_value() && !is_example && *value != spec.default.to_string() {
            let mark = if *is_comment { "#" } else { "" };
            mistakes.push(format!("{section}: write {mark}{key} = {}", spec.default));
        }
        match spec.flag {
            Some(flag) if !comment.contains(&format!("({}", flag.flag())) => {
                mistakes.push(format!("{section}: name ({}) above {key}", flag.flag()));
            }
            None if comment.contains("(--") => mistakes.push(format!("{section}: {key} has no flag")),
            Some(_) | None => {}
        }
        mistakes
    }
}

/// Returns whether a value has the type of a key. A table must have no other keys.
fn fits(spec: &SettingSpec, value: &toml::Value) -> bool {
    match spec.kind {
        ValueKind::Text => value.is_str(),
        ValueKind::Boolean => value.is_bool(),
        ValueKind::Number => value.is_integer(),
        ValueKind::Duration => value.as_str().is_some_and(|text| duration::parse(text).is_ok()),
        ValueKind::Size => value.as_str().is_some_and(|text| size::parse(text).is_ok()),
        ValueKind::TextList => value.as_array().is_some_and(|items| items.iter().all(toml::Value::is_str)),
        ValueKind::Table(schema) => has_only_keys(schema, value),
        ValueKind::TextOrTable(schema) => value.is_str() || has_only_keys(schema, value),
        ValueKind::TextOrTableList(_) if value.is_str() => true,
        ValueKind::TableList(schema) | ValueKind::TextOrTableList(schema) => {
            let has_all = |item: &toml::Value| {
                has_only_keys(schema, item)
                    && item.as_table().is_some_and(|table| table.len() == schema.settings().count())
            };
            value.as_array().is_some_and(|items| items.iter().all(has_all))
        }
        ValueKind::Providers => false,
    }
}

/// Returns whether a value is a table of keys of a section.
fn has_only_keys(schema: &SectionSchema, value: &toml::Value) -> bool {
    let is_known =
        |(key, value): (&String, &toml::Value)| schema.setting(key).is_some_and(|spec| fits(spec, value));
    value.as_table().is_some_and(|table| table.iter().all(is_known))
}

#[test]
fn what_the_example_only_shows_is_understood_too() {
    let uncommented = |line: &'static str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting,
        _ => line,
    };
    let mut text: Vec<_> = EXAMPLE.lines().map(uncommented).collect();
    // Of several forms of a setting, the first one applies.
    let key = |line: &&'static str| line.split_once(" = ").map(|(key, _)| key);
    text.dedup_by(|line, before| key(line).is_some() && key(line) == key(before));
    let world = World {
        variables: [
            ("LOGS_ACCESS_KEY_ID", "STS.x"),
            ("TEAM_A_SECRET", "0123456789abcdef0123456789abcdef01234567"),
            ("SEALING_MASTER", "the-master-of-32-bytes-for-tests"),
            ("HAND_OUT_MASTER", "0123456789abcdef0123456789abcdef01234567"),
        ]
        .into(),
        files: [
            ("/run/secrets/logs-access-key-secret", ("x", false)),
            ("/run/secrets/logs-security-token", ("x", false)),
            ("ca.pem", ("x", false)),
            ("/run/secrets/admin-token", ("x", false)),
            ("/run/secrets/team-a-token", ("0123456789abcdef0123456789abcdef76543210", false)),
            ("/etc/oss-signing-proxy/jwks.json", (KEY_SET, false)),
            ("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt", ("x", false)),
            ("/etc/oss-signing-proxy/team-a.json", (POLICY, false)),
            ("listener.pem", ("x", false)),
            ("listener-key.pem", ("x", false)),
            ("clients.pem", ("x", false)),
            ("clients-crl.pem", ("x", false)),
            ("callers.toml", ("# none", false)),
            ("callers.d/team-b.toml", ("# none", false)),
            ("ceiling.toml", ("allow = \"read\"", false)),
        ]
        .into(),
    };
    let config = load_in(&world, &text.join("\n"), &[]);
    assert!(config.is_ok_and(|config| config.warnings.is_empty()));
    assert!(load(&text.join("\n")).is_err(), "the settings were not uncommented");
}
