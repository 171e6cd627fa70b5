//! The table of settings agrees with the code that reads the settings: types, defaults and flags.

use std::fmt::Write as _;

use super::{UPSTREAM, load, loaded};
use crate::config::caller_schema::{CALLER_KEY, CALLER_LIMITS, CALLERS_DIR};
use crate::config::provider_settings::PROVIDERS;
use crate::config::schema::{SettingSpec, ValueKind};
use crate::config::settings::{MATCH, ROOT, TLS, single_settings};
use crate::config::{FlagSetting, duration};
use crate::credentials::AssumeRoleParams;

const REFERENCE: &str = include_str!("../../../docs/reference.md");

/// The keys without which the reader of a type of credentials does not reach all others.
fn required(kind: &str) -> &'static [&'static str] {
    match kind {
        "static" => &["access_key_id = \"LTAI5tExampleKeyId\"", "access_key_secret = \"secret\""],
        "file" => &["path = \"/keys\""],
        "assume_role" => &["source = \"default\"", "role_arn = \"acs:ram::1:role/r\""],
        "uri" => &["url = \"https://h.example/\""],
        "process" => &["command = [\"/bin/x\"]"],
        _ => &[],
    }
}

/// Returns a section of credentials with the required keys, except for `key`.
fn credentials(kind: &str, key: &str) -> String {
    let mut text = "[credentials.x]\n".to_owned();
    if key != "type" {
        writeln!(text, "type = \"{kind}\"").expect("a text");
    }
    for line in required(kind).iter().filter(|line| !line.starts_with(&format!("{key} ="))) {
        writeln!(text, "{line}").expect("a text");
    }
    text
}

/// Returns values in the syntax of the file that do not have the type of a key.
fn mistyped(spec: &SettingSpec) -> Vec<&'static str> {
    let own = match spec.kind {
        ValueKind::Text
        | ValueKind::Duration
        | ValueKind::Size
        | ValueKind::TextOrTable(_)
        | ValueKind::TextOrTableList(_) => "\"x\"",
        ValueKind::Boolean => "true",
        ValueKind::Number => "5",
        ValueKind::TextList => "[\"x\"]",
        ValueKind::Table(_) => "{}",
        ValueKind::TableList(_) => "[{}]",
        ValueKind::Providers => return Vec::new(),
    };
    let other = ["true", "5", "[\"x\"]", "\"x\""].into_iter().filter(|value| *value != own);
    let is_parsed = matches!(spec.kind, ValueKind::Duration | ValueKind::Size);
    other.chain(is_parsed.then_some("\"x\"")).collect()
}

/// Asserts that a text has an error at this key.
#[track_caller]
fn rejected_at(path: &str, text: &str) {
    let shown = load(text).err().map(|errors| errors.to_string()).unwrap_or_default();
    assert!(shown.contains(&format!(": {path}: ")), "{text}\nhas no error at {path}:\n{shown}");
}

#[test]
fn every_key_has_the_type_that_the_table_says() {
    for spec in ROOT.settings() {
        for value in mistyped(spec) {
            rejected_at(spec.key, &format!("{} = {value}\n", spec.key));
        }
        let is_repeated = matches!(spec.kind, ValueKind::TableList(_));
        let header = if is_repeated { format!("[[{}]]", spec.key) } else { format!("[{}]", spec.key) };
        for inner in spec.section().into_iter().flat_map(|schema| schema.settings()) {
            for value in mistyped(inner) {
                let path = format!("{}.{}", spec.key, inner.key);
                rejected_at(&path, &format!("{header}\n{} = {value}\n", inner.key));
            }
        }
    }
    for spec in CALLERS_DIR.settings() {
        for value in mistyped(spec) {
            let path = format!("callers_dir.{}", spec.key);
            rejected_at(&path, &format!("callers_dir = {{ {} = {value} }}\n", spec.key));
        }
    }
    let tables = [("listen", "tls", TLS), ("route", "match", MATCH), ("caller", "limits", CALLER_LIMITS)];
    for (section, key, schema) in tables {
        for spec in schema.settings() {
            for value in mistyped(spec) {
                let path = format!("{section}.{key}.{}", spec.key);
                rejected_at(&path, &format!("[[{section}]]\n{key} = {{ {} = {value} }}\n", spec.key));
            }
        }
    }
    for spec in CALLER_KEY.settings() {
        for value in mistyped(spec) {
            let path = format!("caller.key.{}", spec.key);
            rejected_at(&path, &format!("[[caller]]\nkey = [{{ {} = {value} }}]\n", spec.key));
        }
    }
}

#[test]
fn every_key_of_credentials_has_the_type_that_the_table_says() {
    for provider in &PROVIDERS {
        for spec in provider.schema.settings() {
            for value in mistyped(spec) {
                let path = format!("credentials.x.{}", spec.key);
                let section = credentials(provider.kind, spec.key);
                rejected_at(&path, &format!("{UPSTREAM}{section}{} = {value}\n", spec.key));
            }
        }
    }
}

#[test]
fn the_defaults_of_credentials_in_the_table_are_those_that_hold() {
    for provider in &PROVIDERS {
        let mut text = format!("{UPSTREAM}{}", credentials(provider.kind, ""));
        let without = loaded(&text).credentials;
        for spec in provider.schema.settings().filter(|spec| spec.default.is_value()) {
            if spec.key == "duration" {
                // The provider itself replaces a missing duration.
                let real = AssumeRoleParams::default().to_role("acs:ram::1:role/r".to_owned()).duration;
                assert_eq!(spec.default.as_text().map(duration::parse), Some(Ok(real)));
                continue;
            }
            writeln!(text, "{} = {}", spec.key, spec.default).expect("a text");
        }
        assert_eq!(format!("{:?}", loaded(&text).credentials), format!("{without:?}"), "{text}");
    }
}

#[test]
fn every_flag_overrides_one_key_which_the_reference_names() {
    let settings = single_settings();
    for flag in FlagSetting::ALL {
        let keys: Vec<&str> = settings
            .iter()
            .filter(|setting| setting.spec.flag == Some(flag))
            .map(|setting| setting.spec.key)
            .collect();
        let [key] = keys[..] else { panic!("{flag:?} overrides {keys:?}") };
        let row = format!("| `{}` | `{}` | `{key}`", flag.flag(), flag.variable());
        assert!(REFERENCE.contains(&row), "docs/reference.md has no row that begins with {row}");
    }
}
