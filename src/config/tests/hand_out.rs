//! `[hand_out]`, `serve` and `credentials_not_before`: masters, lifetimes, and the listeners for keys.

use std::time::Duration;

use super::{UPSTREAM, World, load_in, loaded, mistakes, refused};
use crate::caller::{KeyRecipient, ListenerContent};
use crate::config::ProxyConfig;
use crate::time::Timestamp;

const TOKEN: &str = "0123456789abcdef0123456789abcdef01234567";
/// The settings to pass on the keys of another proxy.
const PASSING: &str = "[hand_out]\ncredentials = \"central\"\n[credentials.central]\ntype = \"uri\"\nurl = \"http://127.0.0.1:1/\"\n";
/// A listener for objects.
const LISTEN: &str = "[[listen]]\nidentify = [\"token\"]\n";
const MASTER: &str = "a-planted-master-of-36-characters-00";

/// A caller with a token, on the lines 3 to 6.
fn caller(more: &str) -> String {
    format!("[[caller]]\nname = \"a\"\nallow = \"read\"\ntoken = \"env:TOKEN\"\n{more}")
}

/// A listener for keys on the lines 7 to 9, with its other lines, and a master.
fn with(listen: &str) -> String {
    let hand_out = "[hand_out]\nmaster = [\"env:MASTER\"]\n";
    format!("{UPSTREAM}{}[[listen]]\nserve = \"credentials\"\n{listen}\n{hand_out}", caller(""))
}

fn world() -> World {
    World {
        variables: [("TOKEN", TOKEN), ("MASTER", MASTER), ("SHORT", "0123456789abcdef0123456789abcde")]
            .into(),
        ..World::default()
    }
}

#[track_caller]
fn accepted(text: &str) -> ProxyConfig {
    load_in(&world(), text, &[]).unwrap_or_else(|errors| panic!("{text}\nis rejected:\n{errors}"))
}

/// Asserts that a text has one error, with these words.
#[track_caller]
fn rejected(text: &str, place: &str, words: &str) {
    let mistakes = mistakes(load_in(&world(), text, &[]));
    let fits = |mistake: &String| mistake.starts_with(place) && mistake.contains(words);
    assert!(mistakes.len() == 1 && mistakes.iter().all(fits), "{text}\n{mistakes:#?}");
    assert!(!mistakes[0].contains(MASTER), "{mistakes:?}");
}

#[test]
fn a_listener_for_keys_is_read_with_its_masters() {
    let config = accepted(&with("identify = [\"token\"]"));
    assert_eq!(config.listen[0].content, ListenerContent::HandedOutKeys);
    let hand_out = config.hand_out.as_deref().expect("masters");
    let now = Timestamp::from_unix_s(1_000);
    assert_eq!(hand_out.issue(recipient("a"), now, None).map(|key| key.expires.unix_s()), Ok(4_600));
    assert!(!format!("{config:?}").contains(MASTER));
    let shown = config.effective_settings.iter().find(|setting| setting.key == "hand_out.master");
    assert_eq!(shown.map(|setting| setting.value.as_str()), Some("[\"env:MASTER\"]"));
    let inline = with("identify = [\"token\"]").replace("env:MASTER", MASTER);
    let config = accepted(&inline);
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(!format!("{:?}", config.effective_settings).contains(MASTER));
    let objects = loaded(UPSTREAM);
    assert!(objects.listen[0].content == ListenerContent::Objects && objects.hand_out.is_none());
}

#[test]
fn masters_are_long_and_at_most_two() {
    let with = |lines: &str| format!("{UPSTREAM}{}[hand_out]\n{lines}\n{LISTEN}", caller(""));
    for (lines, place, words) in [
        ("", "proxy.toml:7: hand_out.master", "openssl rand -hex 32"),
        ("master = []", "proxy.toml:8: hand_out.master", "openssl rand -hex 32"),
        ("master = [\"env:SHORT\"]", "proxy.toml:8: hand_out.master", "fewer than 32"),
        ("master = [\"env:GONE\"]", "proxy.toml:8: hand_out.master", "\"GONE\" is not set"),
        (
            "master = [\"env:MASTER\", \"env:MASTER\", \"env:MASTER\"]",
            "proxy.toml:8: hand_out.master",
            "maximum is two",
        ),
    ] {
        rejected(&with(lines), place, words);
    }
    accepted(&with("master = [\"env:MASTER\", \"env:MASTER\"]"));
}

#[test]
fn a_lifetime_is_between_a_minute_and_12_hours() {
    let with = |lifetime: &str| {
        let hand_out = format!("[hand_out]\nmaster = [\"env:MASTER\"]\nlifetime = \"{lifetime}\"\n");
        format!("{UPSTREAM}{}{hand_out}{LISTEN}", caller(""))
    };
    for (lifetime, expected) in [("1m", Duration::from_secs(60)), ("12h", Duration::from_secs(43_200))] {
        let config = accepted(&with(lifetime));
        let key = config.hand_out.expect("masters").issue(recipient("a"), Timestamp::from_unix_s(0), None);
        let expires = key.expect("a key").expires.unix_s();
        assert_eq!(Ok(expires), i64::try_from(expected.as_secs()));
    }
    for lifetime in ["59s", "0s", "721m", "24h"] {
        rejected(&with(lifetime), "proxy.toml:9: hand_out.lifetime", "from 1m to 12h");
    }
}

#[test]
fn a_listener_for_credentials_identifies_by_no_key() {
    for kinds in ["[\"key\"]", "[\"token\", \"key\"]"] {
        let text = with(&format!("identify = {kinds}"));
        rejected(&text, "proxy.toml:9: listen.identify", "cannot serve to obtain other keys");
    }
}

#[test]
fn a_listener_for_keys_has_masters_and_callers_or_credentials_to_pass_on() {
    let text = with("identify = [\"token\"]");
    let (without_masters, _) = text.split_once("[hand_out]").expect("masters");
    rejected(without_masters, "proxy.toml:8: listen.serve", "no master");
    let listen = "[[listen]]\nserve = \"credentials\"\n";
    let masters = "[hand_out]\nmaster = [\"0123456789abcdef0123456789abcdef\"]\n";
    refused(&format!("{UPSTREAM}{listen}{masters}"), "proxy.toml:4: listen.serve", "no callers");
    let passing = format!("{UPSTREAM}{listen}{PASSING}");
    let content = &loaded(&passing).listen[0].content;
    assert_eq!(*content, ListenerContent::PassedOnKeys("central".to_owned()));
    refused(
        &passing.replace("= \"central\"", "= \"other\""),
        "proxy.toml:6: hand_out.credentials",
        "expected one of central",
    );
    refused(
        &passing.replace("serve = \"credentials\"", "serve = \"keys\""),
        "proxy.toml:4: listen.serve",
        "objects, credentials",
    );
}

#[test]
fn keys_travel_unencrypted_only_where_that_is_wanted() {
    let listen = |more: &str| {
        let listen = "[[listen]]\naddress = \"10.0.0.1:80\"\nserve = \"credentials\"\nunsafe_open = true";
        format!("{UPSTREAM}{listen}\n{more}{PASSING}")
    };
    refused(&listen(""), "proxy.toml:4: listen.address", "keys would be sent unencrypted");
    loaded(&listen("unsafe_plain = true\n"));
    let tokens = with("identify = [\"token\"]\naddress = \"10.0.0.1:80\"");
    rejected(&tokens, "proxy.toml:10: listen.address", "tokens would be sent unencrypted");
    accepted(&with("identify = [\"token\"]\naddress = \"10.0.0.1:80\"\nunsafe_plain = true"));
    accepted(&with("identify = [\"token\"]\naddress = \"unix:/run/keys\""));
    let objects = |more: &str| {
        let text = with("identify = [\"token\"]\naddress = \"127.0.0.1:80\"");
        format!("{text}[[listen]]\naddress = \"10.0.0.1:80\"\nidentify = [\"key\"]\n{more}")
    };
    let errors = mistakes(load_in(&world(), &objects(""), &[])).concat();
    assert!(
        errors.contains("listen.address") && errors.contains("keys would be sent unencrypted"),
        "{errors}"
    );
    accepted(&objects("unsafe_plain = true\n"));
}

#[test]
fn credentials_not_before_is_a_time() {
    let with = |time: &str| {
        format!("{UPSTREAM}{}", caller(&format!("credentials_not_before = \"{time}\"\n")))
            + "[[listen]]\nidentify = [\"token\"]\n"
    };
    let callers = accepted(&with("2026-11-30T00:00:00Z")).callers.expect("callers");
    let expected = Timestamp::parse_rfc3339("2026-11-30T00:00:00Z");
    assert_eq!(callers[0].credentials_not_before, expected);
    for time in ["2026-11-30", "now", "2026-11-30T00:00:00"] {
        rejected(&with(time), "proxy.toml:7: caller.credentials_not_before", "2026-11-30T00:00:00Z");
    }
}

#[test]
fn an_id_of_a_static_key_is_no_handed_out_id() {
    let key = "key = [{ id = \"HO.0123\", secret = \"env:TOKEN\" }]\n";
    let text = format!("{UPSTREAM}{}[[listen]]\nidentify = [\"key\"]\n", caller(key));
    rejected(&text, "proxy.toml:7: caller.key.id", "HO.");
}

#[test]
fn revoked_ids_of_handed_out_keys_are_no_mistake() {
    let text = format!("revoked = [\"HO.0123\"]\n{}", with("identify = [\"token\"]"));
    assert!(accepted(&text).warnings.is_empty());
}

/// A caller of the main file.
fn recipient(name: &str) -> KeyRecipient<'_> {
    KeyRecipient { name, ..KeyRecipient::default() }
}
