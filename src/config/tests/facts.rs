//! Effective settings: their values and origins, redaction, and changes.

use std::fmt::Write as _;

use super::{UPSTREAM, World, load_in, loaded};
use crate::config::settings::single_settings;
use crate::config::{EffectiveSetting, FlagSetting, SettingLayer, ValueReference, changes};

fn described(before: &[EffectiveSetting], after: &[EffectiveSetting]) -> Vec<String> {
    changes(before, after).iter().map(ToString::to_string).collect()
}

fn find<'a>(facts: &'a [EffectiveSetting], key: &str) -> &'a EffectiveSetting {
    facts.iter().find(|fact| fact.key == key).unwrap_or_else(|| panic!("{key}: {facts:#?}"))
}

#[test]
fn each_setting_is_told_with_where_it_was_given() {
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:1\"\ndomains = [\"a.example\", \"b.example\"]\n{UPSTREAM}[[route]]\nmatch = {{ bucket = \"logs-*\" }}\nregion = \"ap-southeast-1\"\n"
    );
    let flags = SettingLayer::flags()
        .set(FlagSetting::Listen, Some("127.0.0.1:2"))
        .set(FlagSetting::ReadOnly, Some("true"));
    let facts = load_in(&World::default(), &text, &[flags]).expect("a configuration").effective_settings;
    for (key, value, origin) in [
        ("listen[0].address", "\"127.0.0.1:2\"", "--listen"),
        ("listen[0].read_only", "true", "--read-only"),
        ("listen[0].domains", "[\"a.example\", \"b.example\"]", "proxy.toml:3"),
        ("route[0].match.bucket", "\"logs-*\"", "proxy.toml:7"),
        ("timeouts.stall", "\"60s\"", "default"),
    ] {
        let fact = find(&facts, key);
        assert_eq!((fact.value.as_str(), &*fact.shown_origin()), (value, origin), "{key}");
    }
}

#[test]
fn of_a_secret_only_its_reference_is_told() {
    let text = format!(
        "{UPSTREAM}[credentials.default]\ntype = \"static\"\naccess_key_id = \"LTAI5tPlanted\"\naccess_key_secret = \"env:KEY\"\n\
         [credentials.u]\ntype = \"uri\"\nurl = \"https://h.example/?key=planted\"\n[credentials.p]\ntype = \"process\"\ncommand = [\"/bin/get\", \"planted\"]\n"
    );
    let mut world = World::default();
    world.variables.insert("KEY", "planted-secret");
    let facts = load_in(&world, &text, &[]).expect("a configuration").effective_settings;
    assert_eq!(find(&facts, "credentials.default.access_key_secret").value, "\"env:KEY\"");
    let references = &find(&facts, "credentials.default.access_key_secret").references;
    assert_eq!(*references, [ValueReference::Variable("KEY".to_owned())]);
    assert_eq!(find(&facts, "credentials.p.command").value, "[\"/bin/get\", …]");
    let all = format!("{facts:?}").to_ascii_lowercase();
    assert!(!all.contains("planted"), "{all}");
}

#[test]
fn the_difference_of_two_configurations_is_told() {
    let before =
        loaded(&format!("{UPSTREAM}bucket = \"photos\"\n[timeouts]\nstall = \"5s\"\n")).effective_settings;
    let after = loaded(&format!("# moved\n{UPSTREAM}internal = true\n[timeouts]\nstall = \"6s\"\n"))
        .effective_settings;
    assert_eq!(
        described(&before, &after),
        [
            "upstream.internal changed from false to true",
            "timeouts.stall changed from \"5s\" to \"6s\"",
            "upstream.bucket removed (was \"photos\")"
        ]
    );
    assert!(changes(&after, &after).is_empty());
}

#[test]
fn what_is_another_and_not_shown_is_told_to_be_another() {
    let with = |secret: &str| {
        let text = format!(
            "{UPSTREAM}[admin]\ntoken = \"token-{secret}\"\n[credentials.default]\ntype = \"static\"\naccess_key_id = \"LTAI5tExampleKeyId\"\n\
             access_key_secret = \"env:KEY\"\n[credentials.p]\ntype = \"process\"\ncommand = [\"/bin/get\", \"{secret}\"]\n"
        );
        let mut world = World::default();
        world.variables.insert("KEY", "a-secret");
        load_in(&world, &text, &[]).expect("a configuration").effective_settings
    };
    assert!(changes(&with("one"), &with("one")).is_empty());
    assert_eq!(
        described(&with("one"), &with("other")),
        ["admin.token changed (value hidden)", "credentials.p.command changed (value hidden)"]
    );
}

#[test]
fn the_defaults_that_are_told_are_those_that_hold() {
    let settings = single_settings();
    let mut text = String::new();
    for section in [
        "strict_file_modes",
        "revoked",
        "listen[0]",
        "admin",
        "upstream",
        "limits",
        "timeouts",
        "log",
        "process",
    ] {
        match section {
            "strict_file_modes" | "revoked" => {}
            "listen[0]" => text.push_str("[[listen]]\n"),
            _ => writeln!(text, "[{section}]").expect("a text"),
        }
        for setting in settings.iter().filter(|setting| setting.spec.default.is_value()) {
            if setting.path.starts_with(section) {
                writeln!(text, "{} = {}", setting.spec.key, setting.spec.default).expect("a text");
            }
        }
        if section == "upstream" {
            text.push_str("region = \"cn-hangzhou\"\n");
        }
    }
    let told = loaded(&text);
    let real = loaded(UPSTREAM);
    assert_eq!((told.limits, told.timeouts), (real.limits, real.timeouts), "{text}");
    assert_eq!((told.log, told.listen, told.process), (real.log, real.listen, real.process));
    assert_eq!(
        format!("{:?}{:?}", told.admin, told.upstreams),
        format!("{:?}{:?}", real.admin, real.upstreams)
    );
}

#[test]
fn changes_of_what_is_read_at_the_start_alone_need_a_restart() {
    let before = loaded(UPSTREAM).effective_settings;
    let after = loaded(&format!(
        "{UPSTREAM}[log]\nfile = \"/tmp/a.log\"\nformat = \"json\"\n[process]\ncore_dumps = true\n"
    ));
    let changes = changes(&before, &after.effective_settings);
    let restarts: Vec<&str> =
        changes.iter().filter(|change| change.needs_restart).map(|change| change.key.as_str()).collect();
    assert_eq!((changes.len(), restarts), (3, vec!["log.file", "process.core_dumps"]));
}
