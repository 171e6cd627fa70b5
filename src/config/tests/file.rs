//! The form of the file: syntax, unknown keys, types, timeouts and log.

use std::time::Duration;

use super::{UPSTREAM, load, loaded, mistakes, refused};
use crate::telemetry::{AccessLogging, LogFormat, LogLevel};

#[test]
fn all_mistakes_are_shown_at_once_each_with_its_line() {
    let text = r#"strict_file_mode = true

[[listen]]
address = "0.0.0.0:8770"
domains = ["ok.example", "bad_*", "localhost"]
tls = { cert_file = "x", key = "y" }

[upstream]
regoin = "cn-hangzhou"
bucket = "No"

[limits]
queue = "5s"

[timeouts]
connect = "5"
first_byte = "60"

[log]
access = "yes"
"#;
    let places: Vec<String> = mistakes(load(text))
        .iter()
        .map(|mistake| mistake.splitn(4, ':').take(3).collect::<Vec<_>>().join(":"))
        .collect();
    assert_eq!(
        places,
        [
            "proxy.toml:1: strict_file_mode",
            "proxy.toml:4: listen.address",
            "proxy.toml:5: listen.domains",
            "proxy.toml:5: listen.domains",
            "proxy.toml:6: listen.tls",
            "proxy.toml:6: listen.tls.cert_file",
            "proxy.toml:6: listen.tls.key",
            "proxy.toml:9: upstream.regoin",
            "proxy.toml:10: upstream.bucket",
            "proxy.toml:13: limits.queue",
            "proxy.toml:16: timeouts.connect",
            "proxy.toml:17: timeouts.first_byte",
            "proxy.toml:20: log.access",
        ]
    );
}

#[test]
fn a_misspelt_key_is_answered_with_the_one_that_was_meant() {
    let text = "[upstream]\nregion = \"cn-hangzhou\"\n\n\nadressing = \"path\"";
    assert_eq!(
        mistakes(load(text)),
        ["proxy.toml:5: upstream.adressing: unknown key; did you mean addressing?"]
    );
}

#[test]
fn a_key_in_the_wrong_section_is_answered_with_the_right_one() {
    let text = format!("endpoint = \"https://x.example\"\n{UPSTREAM}");
    refused(&text, "proxy.toml:1: endpoint", "belongs to [upstream]");
    let text = format!("{UPSTREAM}colour = \"red\"");
    refused(&text, "proxy.toml:3: upstream.colour", "unknown key; expected one of region,");
}

#[test]
fn keys_of_later_builds_are_refused_as_such() {
    let rows = [("[[route]]\nmatch.prefix = \"a/\"", "route.match.prefix")];
    for (text, key) in rows {
        let mistakes = mistakes(load(&format!("{UPSTREAM}{text}")));
        let expected = format!("proxy.toml:4: {key}: not supported by this build; remove it");
        assert!(mistakes.contains(&expected), "{mistakes:#?}");
    }
}

#[test]
fn what_is_no_toml_is_reported_with_its_lines_and_nothing_of_its_text() {
    let text = "[upstream]\nregion = \"cn-hangzhou\"\naccess_key_secret = hunter2hunter2\nbucket = \"hunter2";
    let mistakes = mistakes(load(text));
    assert!(mistakes[0].starts_with("proxy.toml:3: "), "{mistakes:?}");
    assert!(!mistakes.concat().contains("hunter2"), "{mistakes:?}");
}

#[test]
fn a_key_that_is_given_twice_is_refused() {
    let text = "[upstream]\nregion = \"cn-hangzhou\"\nregion = \"us-west-1\"";
    refused(text, "proxy.toml:3", "duplicate key; a line must be KEY = VALUE");
}

#[test]
fn a_value_of_the_wrong_type_is_told_what_is_wanted() {
    let rows = [
        ("region = 5", "upstream.region", "a string in quotes"),
        ("region = \"cn-hangzhou\"\ninternal = \"true\"", "upstream.internal", "without quotes"),
    ];
    for (text, key, words) in rows {
        let text = format!("[upstream]\n{text}");
        let line = text.lines().count();
        refused(&text, &format!("proxy.toml:{line}: {key}"), words);
    }
    let rows = [
        ("upstream = 1", "upstream", "a section [upstream]"),
        ("listen = \"x\"", "listen", "a list of sections [[listen]]"),
        ("listen = [{domains = \"x\"}]", "listen.domains", "a list of strings"),
        ("listen = [{domains = [1]}]", "listen.domains", "a list of strings"),
        ("credentials.logs = \"x\"", "credentials.logs", "a section"),
        ("[listen]", "listen", "[[listen]]"),
    ];
    for (text, key, words) in rows {
        let shown = mistakes(load(text));
        let place = format!("proxy.toml:1: {key}: ");
        let found = |line: &String| line.starts_with(&place) && line.contains(words);
        assert!(shown.iter().any(found), "{shown:#?}");
    }
}

#[test]
fn a_key_with_a_line_break_in_it_stays_on_one_line() {
    let shown = mistakes(load(&format!("{UPSTREAM}\"a\\nb\" = 1")));
    assert_eq!(shown.len(), 1);
    assert!(shown[0].starts_with("proxy.toml:3: upstream.a\\nb: "), "{shown:?}");
}

#[test]
fn timeouts_have_defaults_and_are_never_zero_but_for_the_drain() {
    let timeouts = loaded(UPSTREAM).timeouts;
    let connection = [timeouts.connect, timeouts.queue, timeouts.idle, timeouts.drain].map(|t| t.as_secs());
    assert_eq!(connection, [5, 5, 50, 25]);
    assert_eq!([timeouts.first_byte, timeouts.stall].map(|t| t.as_secs()), [60, 60]);
    let text = format!("{UPSTREAM}[timeouts]\nconnect = \"500ms\"\ndrain = \"0s\"");
    let timeouts = loaded(&text).timeouts;
    assert_eq!(timeouts.connect, Duration::from_millis(500));
    assert_eq!(timeouts.drain, Duration::ZERO);
    let text = format!("{UPSTREAM}[timeouts]\nconnect = \"0s\"");
    refused(&text, "proxy.toml:4: timeouts.connect", "greater than 0");
}

#[test]
fn limits_are_whole_numbers_and_at_least_one() {
    let limits = loaded(UPSTREAM).limits;
    assert_eq!((limits.upstream_connections, limits.upstream_dials), (256, 32));
    assert_eq!((limits.client_connections, limits.requests), (10_000, 4096));
    assert_eq!((limits.header_bytes, limits.body), (65_536, 5_368_709_120));
    let text = format!("{UPSTREAM}[limits]\nheader_bytes = \"8KiB\"\nbody = \"1B\"");
    let limits = loaded(&text).limits;
    assert_eq!((limits.header_bytes, limits.body), (8192, 1));
    for (key, value, words) in [
        ("header_bytes", "\"257KiB\"", "must be from 8KiB to 256KiB"),
        ("header_bytes", "\"8191B\"", "must be from 8KiB to 256KiB"),
        ("body", "\"5GB\"", "invalid size"),
        ("body", "5", "string in quotes"),
    ] {
        let text = format!("{UPSTREAM}[limits]\n{key} = {value}");
        refused(&text, &format!("proxy.toml:4: limits.{key}"), words);
    }
    let text = format!("{UPSTREAM}[limits]\nupstream_connections = 1\nupstream_dials = 1_000_000");
    let limits = loaded(&text).limits;
    assert_eq!((limits.upstream_connections, limits.upstream_dials), (1, 1_000_000));
    for wrong in ["0", "-1", "1_000_001", "1.5", "\"8\""] {
        let text = format!("{UPSTREAM}[limits]\nupstream_connections = {wrong}");
        refused(&text, "proxy.toml:4: limits.upstream_connections", "whole number");
    }
}

#[test]
fn the_log_is_set_by_its_words() {
    let log = loaded(UPSTREAM).log;
    assert_eq!((log.format, log.level, log.access), (LogFormat::Auto, LogLevel::Info, AccessLogging::Yes));
    let text = format!("{UPSTREAM}[log]\nformat = \"json\"\nlevel = \"debug\"\naccess = false");
    let log = loaded(&text).log;
    assert_eq!((log.format, log.level, log.access), (LogFormat::Json, LogLevel::Debug, AccessLogging::No));
    let text = format!("{UPSTREAM}[log]\nlevel = \"warning\"");
    refused(&text, "proxy.toml:4: log.level", "invalid value \"warning\"; expected one of error, warn, info");
}

#[test]
fn a_mistake_is_on_the_line_where_its_value_begins() {
    // Each text has one unknown key or invalid value.
    for (text, line) in [
        ("first = 1\n[upstream]\nregion = \"cn-hangzhou\"\n", 1),
        ("\n\n[upstream]\nregion = \"cn-hangzhou\"\n[log]\nformat = \"no\"", 6),
        ("[upstream]\nregion = \"cn-hangzhou\"\n[log]\nformat = \"no\"\n", 4),
        ("[upstream]\r\nregion = \"cn-hangzhou\"\r\n[log]\r\n\r\nformat = \"no\"\r\n", 5),
        ("# ünïcödé\n[upstream]\nregion = \"cn-hangzhou\"\n[log]\nformat = \"no\"", 5),
        ("upstream = { region = \"cn-hangzhou\" }\nlog = { level = \"info\", format = \"no\" }", 2),
        (
            "[upstream]\nregion = \"cn-hangzhou\"\n[[listen]]\ndomains = [\n  \"ok.example\",\n  \"no.*\",\n]\n",
            6,
        ),
        // A text of several lines, before the error and as the error.
        ("[upstream]\nregion = '''cn-hangzhou'''\n[log]\nfile = \"\"\"\n\n\nx\"\"\"\nformat = \"no\"\n", 8),
        ("[upstream]\nregion = \"cn-hangzhou\"\n[log]\nformat = \"\"\"\n\nno\n\"\"\"\n", 4),
        // A missing key is reported at the head of its section.
        ("[upstream]\nregion = \"cn-hangzhou\"\n\n[[route]]\nregion = \"cn-beijing\"\n", 4),
    ] {
        let mistakes = mistakes(load(text));
        let is_there = mistakes.iter().all(|mistake| mistake.starts_with(&format!("proxy.toml:{line}: ")));
        assert!(mistakes.len() == 1 && is_there, "{text}\nline {line}:\n{mistakes:#?}");
    }
}

#[test]
fn a_renamed_key_is_an_error_with_the_present_name() {
    for (old, present) in [("core_files", "core_dumps"), ("inspectable", "dumpable")] {
        let errors = load(&format!("{UPSTREAM}[process]\n{old} = true\n")).expect_err(old).to_string();
        assert!(errors.contains(&format!("process.{old}: this key was renamed to {present}")), "{errors}");
    }
}
