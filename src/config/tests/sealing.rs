//! `[sealing]` and the values `sealed:…`: where they open, and where they do not.

use super::{UPSTREAM, World, load_in, mistakes};
use crate::config::{ProxyConfig, ValueReference};
use crate::sealing::{MasterKey, SealedPlace};
use crate::secret::Secret;

const SECRET: &str = "0123456789abcdef0123456789abcdef01234567";
const MASTER: &str = "the-master-of-32-bytes-for-tests";
const OLD: &str = "another-master-of-32-bytes-for-t";

fn world() -> World {
    World {
        variables: [("MASTER", MASTER), ("OLD", OLD), ("SHORT", &MASTER[1..])].into(),
        files: [("master", (MASTER, false))].into(),
    }
}

fn sealed(master: &str, place: SealedPlace<'_>) -> String {
    let master = MasterKey::new(&Secret::from(master)).expect("a master");
    place.seal(&Secret::from(SECRET), &master).expect("a sealed value")
}

fn key<'a>(caller: &'a str, id: &'a str) -> SealedPlace<'a> {
    SealedPlace::Key { caller, id }
}

/// Returns a configuration with these masters on line 4, and a caller whose secret is on line 9 and
/// whose token, if it is not empty, on line 10.
fn with(masters: &str, secret: &str, token: &str) -> String {
    let token = if token.is_empty() { String::new() } else { format!("token = \"{token}\"\n") };
    format!(
        "{UPSTREAM}[sealing]\nmaster = {masters}\n[[listen]]\nidentify = [\"key\"]\n[[caller]]\n\
         name = \"team-a\"\nkey = [{{ id = \"a-1\", secret = \"{secret}\" }}]\n{token}allow = \"read\"\n"
    )
}

#[track_caller]
fn accepted(text: &str) -> ProxyConfig {
    load_in(&world(), text, &[]).unwrap_or_else(|errors| panic!("{text}\nis rejected:\n{errors}"))
}

#[track_caller]
fn refused(text: &str, place: &str, words: &str) {
    let shown = mistakes(load_in(&world(), text, &[]));
    let [only] = &shown[..] else { panic!("{text}\n{shown:#?}") };
    assert!(only.starts_with(&format!("proxy.toml:{place}: ")) && only.contains(words), "{only}");
    assert!(!only.contains(SECRET) && !only.contains(MASTER), "{only}");
}

#[test]
fn sealed_secrets_and_tokens_open_with_any_of_the_masters() {
    let masters = ["[\"env:MASTER\"]", "[\"file:master\"]", "[\"env:OLD\", \"env:MASTER\"]"];
    for masters in masters {
        let token = sealed(MASTER, SealedPlace::Token { caller: "team-a" });
        let config = accepted(&with(masters, &sealed(MASTER, key("team-a", "a-1")), &token));
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        let callers = config.callers.expect("callers");
        assert_eq!(callers[0].keys[0].secret.expose(), SECRET);
        assert_eq!(callers[0].token.as_ref().map(Secret::expose), Some(SECRET));
    }
    // Without a sealed value, no master is needed.
    accepted(&with("[]", &format!("env:{}", "OLD"), ""));
}

#[test]
fn a_sealed_value_does_not_open_elsewhere() {
    let masters = "[\"env:MASTER\"]";
    let right = sealed(MASTER, key("team-a", "a-1"));
    let words = "does not belong here";
    for wrong in [
        sealed(OLD, key("team-a", "a-1")),
        sealed(MASTER, key("team-b", "a-1")),
        sealed(MASTER, key("team-a", "a-2")),
        sealed(MASTER, SealedPlace::Token { caller: "team-a" }),
    ] {
        refused(&with(masters, &wrong, ""), "9: caller.key.secret", words);
    }
    refused(&with(masters, &right, &right), "10: caller.token", words);
    refused(
        &with(masters, &right, &sealed(MASTER, SealedPlace::Token { caller: "b" })),
        "10: caller.token",
        words,
    );
    for broken in ["sealed:", &right[..40], &format!("{right}="), "sealed:AAAA"] {
        refused(&with(masters, broken, ""), "9: caller.key.secret", "incomplete or altered");
    }
    refused(&with("[]", &right, ""), "9: caller.key.secret", "set master = [\"env:NAME\"] in [sealing]");
    // A short secret is reported as everywhere.
    let master = MasterKey::new(&Secret::from(MASTER)).expect("a master");
    let short = key("team-a", "a-1").seal(&Secret::from("short"), &master).expect("a sealed value");
    refused(&with(masters, &short, ""), "9: caller.key.secret", "fewer than 27 characters");
}

#[test]
fn a_master_is_a_reference_to_32_bytes() {
    let right = sealed(MASTER, key("team-a", "a-1"));
    // A sealed value is not reported as well: the missing master may open it.
    refused(&with("[\"env:SHORT\"]", &right, ""), "4: sealing.master", "fewer than 32 bytes");
    refused(&with("[\"env:NONE\"]", &right, ""), "4: sealing.master", "\"NONE\" is not set");
    refused(&with(&format!("[\"{MASTER}\"]"), &right, ""), "4: sealing.master", "not be in the file itself");
    refused(
        &with("[\"sealed:AAAA\"]", &right, ""),
        "4: sealing.master",
        "only the secrets and tokens of callers",
    );
    refused(&with("\"env:MASTER\"", &right, ""), "4: sealing.master", "a list of strings");
}

#[test]
fn only_secrets_of_callers_are_sealed() {
    let credentials = "[credentials.default]\ntype = \"static\"\naccess_key_id = \"x\"\n\
                       access_key_secret = \"sealed:AAAA\"\n";
    refused(&format!("{UPSTREAM}{credentials}"), "6: credentials.default.access_key_secret", "can be sealed");
}

#[test]
fn a_master_is_never_shown_and_its_variable_is_known_to_be_read() {
    let config = accepted(&with("[\"env:MASTER\", \"env:OLD\"]", &sealed(OLD, key("team-a", "a-1")), ""));
    let master = config.effective_settings.iter().find(|setting| setting.key == "sealing.master");
    let master = master.expect("the setting");
    assert_eq!(master.value, "[\"env:MASTER\", \"env:OLD\"]");
    let variable = |name: &str| ValueReference::Variable(name.to_owned());
    assert_eq!(master.references, [variable("MASTER"), variable("OLD")]);
    let text = with(&format!("[\"{MASTER}\"]"), "env:OLD", "");
    let outline = ProxyConfig::outline(
        Some(crate::config::ConfigFile { path: std::path::Path::new("proxy.toml"), text: &text }),
        &[],
        &world(),
    );
    assert!(!format!("{outline:?}").contains(MASTER));
}
