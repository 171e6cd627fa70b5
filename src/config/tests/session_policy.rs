//! Session policies of callers.

use std::collections::BTreeMap;

use super::{UPSTREAM, World, load_in, loaded, mistakes, refused};
use crate::config::ProxyConfig;
use crate::credentials::{OidcConfig, ProviderSpec};

/// Returns a caller with these lines, whose listener identifies it by its token.
fn caller(name: &str, lines: &str) -> String {
    format!("[[caller]]\nname = \"{name}\"\ntoken = \"{name:0>40}\"\n{lines}\n")
}

/// An upstream whose default credentials are a role, with a listener.
const ROLE: &str = "[upstream]
region = \"cn-hangzhou\"
credentials = \"role\"
[[listen]]
identify = [\"token\"]
[credentials.role]
type = \"assume_role\"
source = \"default\"
role_arn = \"acs:ram::1:role/r\"
";
const PLAIN: &str = "[[listen]]\nidentify = [\"token\"]\n[credentials.default]\ntype = \"static\"\naccess_key_id = \"LTAIexample\"\naccess_key_secret = \"example\"\n";
const BELOW_A: &str =
    "allow = [{ group = [\"delete\"], bucket = \"team-data\", prefix = \"a/\" }]\nsession_policy = true";
const BELOW_B: &str =
    "allow = [{ group = [\"delete\"], bucket = \"team-data\", prefix = \"b/\" }]\nsession_policy = true";
const POLICY_A: &str = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["oss:DeleteObject"],"Resource":"acs:oss:*:*:team-data/a/*"}]}"#;

/// Returns the policy with which a specification assumes its role.
fn policy_of(spec: &ProviderSpec) -> Option<&str> {
    match spec {
        ProviderSpec::AssumeRole { role, .. } => role.role.policy.as_deref(),
        ProviderSpec::Provider(_) | ProviderSpec::Anonymous => {
            spec.config::<OidcConfig>().and_then(|pod| pod.role.policy.as_deref())
        }
    }
}

/// Returns the policies of the credentials that sign for each caller at an upstream.
fn policies(config: &ProxyConfig, upstream: usize) -> BTreeMap<&str, Option<&str>> {
    let policy =
        |name: &str| policy_of(&config.credentials.iter().find(|one| one.name == *name).expect(name).spec);
    let named = config.upstreams[upstream].caller_credentials.iter();
    named.map(|(caller, name)| (caller.as_str(), policy(name))).collect()
}

#[test]
fn callers_with_the_same_rights_share_credentials_with_these_rights() {
    let callers = [
        caller("team-a", BELOW_A),
        caller("team-a2", BELOW_A),
        caller("team-b", BELOW_B),
        caller("other", "allow = \"everything\""),
        caller("nothing", "session_policy = true\nallow = []"),
    ];
    let text = format!("{ROLE}{}", callers.concat());
    let config = loaded(&text);
    let found = policies(&config, 0);
    assert_eq!(found["team-a"], Some(POLICY_A));
    assert_eq!(found["team-b"], Some(POLICY_A.replace("/a/", "/b/").as_str()));
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), ["team-a", "team-a2", "team-b"]);
    let names = &config.upstreams[0].caller_credentials;
    assert_eq!(names["team-a"], names["team-a2"]);
    assert!(names["team-a"].starts_with("role@policy-") && names["team-a"] != names["team-b"], "{names:?}");
    let plain = config.credentials.iter().find(|one| one.name == "role").expect("the role");
    assert_eq!((policy_of(&plain.spec), config.credentials.len()), (None, 4));
    // A reload finds the credentials under their names.
    assert_eq!(loaded(&text).upstreams[0].caller_credentials, *names);
}

#[test]
fn all_documents_of_a_caller_are_one_policy() {
    let deny = r#"policy = ['''{ "Version": "1", "Statement": [
        { "Effect": "Deny", "Action": "oss:*", "Resource": "acs:oss:*:*:team-data/a/secret/*" } ] }''']"#;
    let config = loaded(&format!("{ROLE}{}", caller("team-a", &format!("{BELOW_A}\n{deny}"))));
    let expected = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["oss:DeleteObject"],"Resource":"acs:oss:*:*:team-data/a/*"},{"Effect":"Deny","Action":"oss:*","Resource":"acs:oss:*:*:team-data/a/secret/*"}]}"#;
    assert_eq!(policies(&config, 0)["team-a"], Some(expected));
    let everything =
        loaded(&format!("{ROLE}{}", caller("x", "allow = \"everything\"\nsession_policy = true")));
    let expected = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    assert_eq!(policies(&everything, 0)["x"], Some(expected));
}

#[test]
fn a_caller_in_a_session_name_and_a_session_policy_apply_together() {
    let role = format!("{ROLE}session_name = \"{{caller}}\"\n");
    let config = loaded(&format!("{role}{}{}", caller("team-a", BELOW_A), caller("b", "allow = \"read\"")));
    assert_eq!(policies(&config, 0), BTreeMap::from([("team-a", Some(POLICY_A)), ("b", None)]));
    assert_eq!(config.upstreams[0].caller_credentials["team-a"], "role@team-a");
    let pod = "[upstream]\nregion = \"cn-hangzhou\"\ncredentials = \"pod\"\n[[listen]]\nidentify = [\"token\"]\n[credentials.pod]\ntype = \"oidc\"\n";
    assert_eq!(
        policies(&loaded(&format!("{pod}{}", caller("team-a", BELOW_A))), 0)["team-a"],
        Some(POLICY_A)
    );
}

#[test]
fn credentials_that_are_no_role_are_rejected_where_the_caller_may_reach_them() {
    let text = format!("{UPSTREAM}{PLAIN}{}", caller("team-a", BELOW_A));
    refused(
        &text,
        "proxy.toml:13: caller.session_policy",
        "signed with the credentials \"default\", which take no session policy; use the type assume_role or oidc",
    );
    for kind in ["ecs", "chain", "env", "anonymous"] {
        let text = format!(
            "{UPSTREAM}[[listen]]\nidentify = [\"token\"]\n[credentials.default]\ntype = \"{kind}\"\n{}",
            caller("team-a", BELOW_A)
        );
        refused(&text, "proxy.toml:11: caller.session_policy", "which take no session policy");
    }
    let route = |wanted: &str| {
        format!(
            "{UPSTREAM}{PLAIN}[credentials.role]\ntype = \"assume_role\"\nsource = \"default\"\nrole_arn = \"acs:ram::1:role/r\"\n\
             {}[[route]]\nmatch = {{ {wanted} }}\ncredentials = \"role\"\n",
            caller("team-a", BELOW_A)
        )
    };
    let config = loaded(&route("caller = \"team-*\""));
    assert_eq!(policies(&config, 1)["team-a"], Some(POLICY_A));
    assert!(config.upstreams[0].caller_credentials.is_empty());
    for wanted in ["caller = \"team-*\", bucket = \"team-*\"", "bucket = \"team-*\""] {
        refused(&route(wanted), "proxy.toml:17: caller.session_policy", "credentials \"default\"");
    }
}

#[test]
fn a_policy_of_the_credentials_is_never_replaced() {
    let role = format!("{ROLE}policy = '''{{\"Version\": \"1\", \"Statement\": []}}'''\n");
    let text = format!("{role}{}", caller("team-a", BELOW_A));
    refused(&text, "proxy.toml:15: caller.session_policy", "have a policy already");
}

#[test]
fn a_policy_that_sts_would_reject_or_that_means_something_else_is_rejected() {
    let keys: Vec<String> =
        (0..40).map(|key| format!("\"acs:oss:*:*:team-data/folder-{key:0>20}/*\"")).collect();
    let long = |count: usize| {
        format!(
            "policy = ['''{{\"Version\":\"1\",\"Statement\":[{{\"Effect\":\"Allow\",\"Action\":\"oss:GetObject\",\"Resource\":[{}]}}]}}''']\nsession_policy = true",
            keys[..count].join(",")
        )
    };
    assert_eq!(policies(&loaded(&format!("{ROLE}{}", caller("a", &long(35)))), 0).len(), 1);
    let text = format!("{ROLE}{}", caller("a", &long(40)));
    // A resource is 53 characters with its quotes, and the rest of the document 87.
    let length = 87 + 40 * 53 + 39;
    refused(
        &text,
        "proxy.toml:14: caller.session_policy",
        &format!("would have {length} characters, and STS accepts at most 2048"),
    );
    let condition = r#"policy = ['''{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:GetObject","Resource":"*","Condition":{"IpAddress":{"acs:SourceIp":"10.0.0.0/8"}}}]}''']
session_policy = true"#;
    let text = format!("{ROLE}{}", caller("a", condition));
    refused(
        &text,
        "proxy.toml:14: caller.session_policy",
        "the condition acs:SourceIp in policy 1 is about the client here, but about this proxy at OSS",
    );
}

#[test]
fn a_file_of_a_team_has_no_session_policy() {
    let team = "[[caller]]\nname = \"team-a\"\nallow = \"read\"\nsession_policy = true\ntoken = \"0123456789abcdef0123456789abcdef01234567\"\n";
    let main = format!("callers_dir = \"teams\"\n{ROLE}");
    let world = World { files: [("teams/a.toml", (team, false))].into(), ..World::default() };
    let config = load_in(&world, &main, &[]).expect("a configuration");
    let broken = config.caller_sources.broken();
    assert!(
        broken[0].fault.contains("teams/a.toml:4: caller.session_policy: a file of callers_dir cannot set"),
        "{broken:?}"
    );
}

#[test]
fn more_policies_than_sts_can_serve_are_rejected() {
    let of = |count: usize| {
        let one =
            |number: usize| caller(&format!("team-{number}"), &BELOW_A.replace("a/", &format!("{number}/")));
        format!("{ROLE}{}", (0..count).map(one).collect::<String>())
    };
    assert_eq!(loaded(&of(100)).credentials.len(), 102);
    let mistakes = mistakes(super::load(&of(101)));
    assert!(
        mistakes.len() == 1 && mistakes[0].contains("would have sessions with more than 100 policies"),
        "{mistakes:?}"
    );
}
