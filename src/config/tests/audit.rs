//! `[audit]`: destinations, the key of hashes, and their mistakes.

use super::{UPSTREAM, World, load_in, mistakes};
use crate::telemetry::{AuditFailureMode, AuditFormat, AuditSinkAddress, KeyVisibility};

const KEY: &str = "a-planted-key-of-hashes-of-40-characters";

fn world() -> World {
    World {
        variables: [("KEY", KEY), ("SHORT", "0123456789abcdef0123456789abcde")].into(),
        ..World::default()
    }
}

#[test]
fn each_destination_is_read_and_the_defaults_lose_nothing() {
    let rows = [
        ("file:/var/log/audit", AuditSinkAddress::File("/var/log/audit".into())),
        ("stdout", AuditSinkAddress::Stdout),
        ("unix:/run/audit.sock", AuditSinkAddress::Unix("/run/audit.sock".into())),
        ("tcp:collector:601", AuditSinkAddress::Tcp("collector:601".to_owned())),
        ("tcp:[::1]:601", AuditSinkAddress::Tcp("[::1]:601".to_owned())),
        ("syslog", AuditSinkAddress::Syslog("/dev/log".into())),
        ("syslog:/run/log", AuditSinkAddress::Syslog("/run/log".into())),
    ];
    for (sink, expected) in rows {
        let text = format!("{UPSTREAM}[audit]\nsink = {sink:?}\n");
        let audit = load_in(&world(), &text, &[]).expect("valid").audit.expect("an audit log");
        assert_eq!(audit.sink, expected);
        assert_eq!((audit.format, audit.on_failure), (AuditFormat::Json, AuditFailureMode::Block));
        assert!(matches!(audit.keys, KeyVisibility::Plain));
    }
    assert!(load_in(&world(), UPSTREAM, &[]).expect("valid").audit.is_none());
}

#[test]
fn mistakes_name_the_key_and_the_remedy() {
    let rows = [
        ("sink = \"/var/log/audit\"", "audit.sink: ", "write \"file:PATH\""),
        ("sink = \"file:\"", "audit.sink: ", "is no destination"),
        ("sink = \"tcp:collector\"", "audit.sink: ", "tcp:HOST:PORT"),
        ("sink = \"tcp::601\"", "audit.sink: ", "tcp:HOST:PORT"),
        ("sink = \"stdout:\"", "audit.sink: ", "is no destination"),
        ("keys = \"none\"", "audit.sink: ", "write sink = \"file:PATH\", or remove [audit]"),
        ("sink = \"stdout\"\nkeys = \"hash\"", "audit.hash_key: ", "openssl rand -hex 32"),
        ("sink = \"stdout\"\nkeys = \"hash\"\nhash_key = \"env:SHORT\"", "audit.hash_key: ", "32 bytes"),
        ("sink = \"stdout\"\nkeys = \"hashed\"", "audit.keys: ", "hash"),
        ("sink = \"stdout\"\non_failure = \"wait\"", "audit.on_failure: ", "block"),
    ];
    for (lines, place, words) in rows {
        let text = format!("{UPSTREAM}[audit]\n{lines}\n");
        let found = mistakes(load_in(&world(), &text, &[]));
        let fits = |mistake: &String| mistake.contains(place) && mistake.contains(words);
        assert!(found.len() == 1 && found.iter().all(fits), "{text}\n{found:#?}");
    }
}

#[test]
fn the_key_of_hashes_is_shown_nowhere() {
    let text = format!("{UPSTREAM}[audit]\nsink = \"stdout\"\nkeys = \"hash\"\nhash_key = {KEY:?}\n");
    let config = load_in(&world(), &text, &[]).expect("valid");
    assert!(!format!("{config:?}").contains(KEY), "{config:?}");
    let shown: Vec<&str> = config
        .effective_settings
        .iter()
        .filter(|setting| setting.key == "audit.hash_key")
        .map(|setting| setting.value.as_str())
        .collect();
    assert_eq!(shown, ["\"[hidden]\""]);
}
