//! `proxy.toml.example` shows every key, loads without changes, and has the defaults that it
//! states.

use super::{World, load, load_in, loaded};
use crate::config::{ProxyConfig, schema};

const EXAMPLE: &str = include_str!("../../../proxy.toml.example");

#[test]
fn the_example_loads_as_it_is_and_says_what_the_defaults_are() {
    let example = loaded(EXAMPLE);
    let defaults = loaded("[upstream]\nregion = \"cn-hangzhou\"");
    // The origins and the file differ.
    let bare = |config: ProxyConfig| format!("{:?}", ProxyConfig { facts: Vec::new(), file: None, ..config });
    assert!(example.warnings.is_empty());
    assert_eq!(bare(example), bare(defaults));
}

#[test]
fn the_example_has_every_key() {
    let has = |key: &str| {
        let begins = |line: &str| {
            let line = line.strip_prefix('#').unwrap_or(line);
            line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" ="))
        };
        EXAMPLE.lines().any(begins)
    };
    for schema in schema::ALL {
        for key in schema.keys {
            // These sections are written as inline tables.
            let shown = match schema.name {
                "match" | "tls of [[listen]]" => EXAMPLE.contains(&format!("{key} = \"")),
                _ => has(key),
            };
            assert!(shown, "{key} of {}", schema.name);
        }
    }
    assert!(has("strict_file_modes") && has("match = { host = \"files.example.com\", bucket"));
    for section in schema::ROOT.keys.iter().filter(|key| !has(key)) {
        let headers = [format!("[{section}]"), format!("[[{section}]]"), format!("[{section}.")];
        assert!(headers.iter().any(|header| EXAMPLE.contains(header)), "{section}");
    }
}

#[test]
fn what_the_example_only_shows_is_understood_too() {
    let uncommented = |line: &'static str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting,
        _ => line,
    };
    let text: Vec<_> = EXAMPLE.lines().map(uncommented).collect();
    let world = World {
        variables: [("LOGS_ACCESS_KEY_ID", "STS.x")].into(),
        files: [
            ("/run/secrets/logs-access-key-secret", ("x", false)),
            ("/run/secrets/logs-security-token", ("x", false)),
            ("ca.pem", ("x", false)),
            ("/run/secrets/admin-token", ("x", false)),
            ("listener.pem", ("x", false)),
            ("listener-key.pem", ("x", false)),
            ("clients.pem", ("x", false)),
        ]
        .into(),
    };
    let config = load_in(&world, &text.join("\n"), &[]);
    assert!(config.is_ok_and(|config| config.warnings.is_empty()));
    assert!(load(&text.join("\n")).is_err(), "the settings were not uncommented");
}
