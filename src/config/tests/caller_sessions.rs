//! `{caller}` in the session names of roles.

use super::{UPSTREAM, World, load_in, loaded, refused};
use crate::address::UpstreamId;
use crate::config::{ProxyConfig, SettingLayer};

/// Returns callers of these names, whose listener identifies them.
fn callers(names: &[&str]) -> String {
    let caller = |(index, name): (usize, &&str)| {
        format!("[[caller]]\nname = \"{name}\"\nallow = \"read\"\ntoken = \"{index:0>40}\"\n")
    };
    let callers: String = names.iter().enumerate().map(caller).collect();
    format!("[[listen]]\nidentify = [\"token\"]\n{callers}")
}

/// A role with a session name that begins on line 7 of a file.
fn role(session: &str) -> String {
    format!(
        "{UPSTREAM}[credentials.role]\ntype = \"assume_role\"\nsource = \"default\"\n\
         role_arn = \"acs:ram::1:role/r\"\nsession_name = \"{session}\"\n"
    )
}

const ROUTE: &str = "[[route]]\nmatch.caller = \"team-*\"\ncredentials = \"role\"\n";
const AT: &str = "proxy.toml:7: credentials.role.session_name";

/// Returns the names and the session names of all credentials that have one.
fn sessions(config: &ProxyConfig) -> Vec<(&str, &str)> {
    let named = config.credentials.iter();
    let mut all: Vec<_> =
        named.filter_map(|named| Some((named.name.as_str(), named.spec.session_name()?))).collect();
    all.sort_unstable();
    all
}

#[test]
fn each_caller_of_a_route_has_a_session_of_its_name() {
    let text = format!("{}{}{ROUTE}", role("proxy-{caller}"), callers(&["team-a", "team-b", "other"]));
    let config = loaded(&text);
    assert_eq!(
        sessions(&config),
        [("role", "proxy-none"), ("role@team-a", "proxy-team-a"), ("role@team-b", "proxy-team-b")]
    );
    let upstream = &config.upstreams[1];
    assert_eq!(upstream.credentials, "role");
    let own = |caller: &str| upstream.caller_credentials.get(caller).map(String::as_str);
    assert_eq!(
        (own("team-a"), own("team-b"), own("other")),
        (Some("role@team-a"), Some("role@team-b"), None)
    );
    assert!(config.upstreams[0].caller_credentials.is_empty());
    assert!(config.routing_table.wanted(UpstreamId(1)).is_some());
}

#[test]
fn without_a_caller_in_a_route_all_callers_have_sessions_but_revoked_ones() {
    let text = format!(
        "revoked = [\"team-b\"]\n{}credentials = \"pod\"\n[credentials.pod]\ntype = \"oidc\"\nsession_name = \"{{caller}}\"\n{}",
        UPSTREAM,
        callers(&["team-a", "team-b"])
    );
    assert_eq!(sessions(&loaded(&text)), [("pod", "none"), ("pod@team-a", "team-a")]);
}

#[test]
fn session_names_that_are_equal_once_they_are_cleaned_are_rejected() {
    // The names differ beyond the maximum length only.
    let long = "x".repeat(50);
    let names = [format!("team-{long}-a"), format!("team-{long}-b")];
    let text = format!("{}{}{ROUTE}", role("sixteen-letters-{caller}"), callers(&[&names[0], &names[1]]));
    refused(&text, AT, &format!("as is that of \"{}\"", names[0]));
    let text = format!(
        "{}{}[[route]]\nmatch.caller = \"*\"\ncredentials = \"role\"\n",
        role("{caller}"),
        callers(&["none"])
    );
    refused(&text, AT, "as is that of requests without a caller");
}

#[test]
fn more_sessions_than_sts_can_serve_are_rejected() {
    let names: Vec<String> = (0..101).map(|number| format!("team-{number}")).collect();
    let of = |count: usize| {
        let names: Vec<&str> = names[..count].iter().map(String::as_str).collect();
        format!("{}{}{ROUTE}", role("{caller}"), callers(&names))
    };
    assert_eq!(sessions(&loaded(&of(100))).len(), 101);
    refused(&of(101), AT, "101 callers");
}

#[test]
fn a_caller_in_a_session_name_requires_callers_and_a_session() {
    refused(
        &format!("{}[[route]]\nmatch.bucket = \"b\"\ncredentials = \"role\"\n", role("{caller}")),
        AT,
        "there are none",
    );
    for kind in ["chain", "env"] {
        let text = format!(
            "{UPSTREAM}[credentials.default]\ntype = \"{kind}\"\nsession_name = \"{{caller}}\"\n{}",
            callers(&["team-a"])
        );
        refused(&text, "proxy.toml:5: credentials.default.session_name", "assume_role or oidc");
    }
    let second =
        "[credentials.second]\ntype = \"assume_role\"\nsource = \"role\"\nrole_arn = \"acs:ram::1:role/s\"\n";
    let text = format!("{}{second}{}{ROUTE}", role("{caller}"), callers(&["team-a"]));
    refused(&text, AT, "assume another role");
}

#[test]
fn a_command_whose_listener_has_no_callers_uses_the_name_of_none() {
    let text = format!(
        "{}{}[[route]]\nmatch.bucket = \"b\"\ncredentials = \"role\"\n",
        role("{caller}"),
        callers(&["team-a"])
    );
    let layers = [SettingLayer::flags().alone()];
    let config = load_in(&World::default(), &text, &layers).expect("a configuration");
    assert_eq!(sessions(&config), [("role", "none")]);
}

#[test]
fn callers_that_a_broken_file_had_before_keep_their_sessions() {
    let main = format!(
        "callers_dir = \"teams\"\n{}[[listen]]\nidentify = [\"token\"]\n[[caller]]\nname = \"other\"\nallow = \"read\"\n\
         token = \"another-token-of-40-characters-012345678\"\n[[route]]\nmatch.caller = \"team-a\"\ncredentials = \"role\"\n",
        role("{caller}")
    );
    let team = "[[caller]]\nname = \"team-a\"\nallow = \"read\"\ntoken = \"0123456789abcdef0123456789abcdef01234567\"\n";
    let load = |team: &'static str| {
        let world = World { files: [("teams/a.toml", (team, false))].into(), ..World::default() };
        load_in(&world, &main, &[]).unwrap_or_else(|errors| panic!("{main}\n{errors}"))
    };
    let running = load(team);
    assert_eq!(sessions(&running), [("role", "none"), ("role@team-a", "team-a")]);
    let broken = load("no TOML");
    assert_eq!(sessions(&broken), [("role", "none")]);
    let kept = broken.after(&running.caller_sources).expect("a configuration");
    assert_eq!(sessions(&kept), sessions(&running));
    assert_eq!(kept.upstreams[1].caller_credentials["team-a"], "role@team-a");
}
