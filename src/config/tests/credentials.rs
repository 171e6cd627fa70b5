//! `[credentials.NAME]`: types, references to secrets, and the redaction of secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::{UPSTREAM, World, load, load_in, loaded, mistakes, refused};
use crate::config::{ConfigFile, ProxyConfig};
use crate::credentials::{ChainConfig, EnvConfig, NamedSpec, ProviderSpec, SourceEnv, StaticKeyConfig};
use crate::time::{Clock, Timestamp};

fn fixed(secret: &str) -> String {
    format!(
        "{UPSTREAM}[credentials.default]\ntype = \"static\"\naccess_key_id = \"LTAI5t\"\naccess_key_secret = \"{secret}\""
    )
}

#[track_caller]
fn secret_of(config: &ProxyConfig) -> &str {
    let [only] = &config.credentials[..] else { panic!("{:?}", config.credentials) };
    only.spec.config::<StaticKeyConfig>().expect("a static key").secret.expose()
}

#[test]
fn a_chain_signs_unless_something_else_is_said() {
    let config = loaded(UPSTREAM);
    assert!(
        matches!(&config.credentials[..], [NamedSpec { name, spec }] if name == "default" && spec.config::<ChainConfig>().is_some())
    );
    let role =
        "[credentials.role]\ntype = \"assume_role\"\nsource = \"default\"\nrole_arn = \"acs:ram::1:role/r\"";
    let config = loaded(&format!("{UPSTREAM}credentials = \"role\"\n{role}"));
    assert!(
        matches!(&config.credentials[..], [NamedSpec { spec: ProviderSpec::AssumeRole { .. }, .. }, NamedSpec { name, spec }] if name == "default" && spec.config::<ChainConfig>().is_some())
    );
    let config = loaded(&format!("{UPSTREAM}[credentials.default]\ntype = \"env\""));
    assert!(
        matches!(&config.credentials[..], [NamedSpec { name, spec }] if name == "default" && spec.config::<EnvConfig>().is_some())
    );
}

#[test]
fn secrets_are_found_by_reference() {
    let world = World {
        variables: [("SECRET", "from-variable"), ("CREDENTIALS_DIRECTORY", "/run/credentials/x")].into(),
        files: [("s/ecret", ("from-file", false)), ("/run/credentials/x/oss", ("from-systemd", false))]
            .into(),
    };
    let rows =
        [("env:SECRET", "from-variable"), ("file:s/ecret", "from-file"), ("credential:oss", "from-systemd")];
    for (reference, expected) in rows {
        let config = load_in(&world, &fixed(reference), &[]).expect("a configuration");
        assert_eq!(secret_of(&config), expected);
        assert!(config.warnings.is_empty());
    }
}

#[test]
fn a_reference_to_nothing_is_refused() {
    let rows = [
        ("env:NONE", "\"NONE\" is not set"),
        ("file:none", "cannot read the file \"none\""),
        ("env:", "empty reference"),
        ("file:", "empty reference"),
        ("credential:", "empty reference"),
        ("credential:oss", "CREDENTIALS_DIRECTORY"),
        ("credential:../oss", "without a directory"),
    ];
    for (reference, words) in rows {
        let place = "proxy.toml:6: credentials.default.access_key_secret";
        refused(&fixed(reference), place, words);
    }
    let world = World { files: [("empty", ("", false))].into(), ..World::default() };
    let shown = mistakes(load_in(&world, &fixed("file:empty"), &[]));
    assert!(shown[0].contains("is empty"), "{shown:?}");
}

#[test]
fn the_identity_of_a_request_for_credentials_is_complete_and_has_tls_where_it_needs_it() {
    let uri = |scheme: &str, lines: &str| {
        format!(
            "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.x]\ntype = \"uri\"\nurl = \"{scheme}://127.0.0.1:1/\"\n{lines}"
        )
    };
    let pair = "client_cert_file = \"c\"\nclient_key_file = \"k\"";
    let both = "authorization_file = \"a\"\nbearer_token_file = \"b\"";
    loaded(&uri("http", "bearer_token_file = \"b\""));
    loaded(&uri("https", pair));
    for (scheme, lines, key, words) in [
        ("http", both, "bearer_token_file", "not both"),
        ("http", pair, "client_cert_file", "requires TLS"),
        ("https", "client_cert_file = \"c\"", "client_key_file", "set client_key_file"),
        ("https", "client_key_file = \"k\"", "client_cert_file", "set client_cert_file"),
    ] {
        let shown = mistakes(load(&uri(scheme, lines)));
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert!(shown[0].contains(&format!("credentials.x.{key}: ")), "{shown:?}");
        assert!(shown[0].contains(words), "{shown:?}");
    }
}

#[test]
fn an_inline_secret_works_with_a_warning_that_does_not_show_it() {
    let config =
        loaded(&format!("{}\nsecurity_token = \"hunter3\"", fixed("hunter2").replace("LTAI5t", "STS.5t")));
    assert_eq!(secret_of(&config), "hunter2");
    let places: Vec<_> = config.warnings.iter().filter_map(|w| w.split(": ").nth(1)).collect();
    assert_eq!(places, ["credentials.default.access_key_secret", "credentials.default.security_token"]);
    assert!(!format!("{config:?}").contains("hunter"));
}

#[test]
fn no_mistake_shows_a_secret() {
    let text = format!(
        "{}\nsecurity_tokn = \"hunter3\"\n[credentials.other]\ntype = \"env\"\naccess_key_secret = \"hunter4\"",
        fixed("hunter2")
    );
    let shown = mistakes(load(&text));
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(!shown.concat().contains("hunter"), "{shown:?}");
}

#[test]
fn a_file_that_others_can_read_is_warned_about_or_refused() {
    let world = World { files: [("s", ("hunter2", true))].into(), ..World::default() };
    let config = load_in(&world, &fixed("file:s"), &[]).expect("a configuration");
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].contains("is readable by other users"));
    let strict = format!("strict_file_modes = true\n{}", fixed("file:s"));
    let shown = mistakes(load_in(&world, &strict, &[]));
    assert_eq!(shown.len(), 1);
    assert!(shown[0].contains("strict_file_modes is set"), "{shown:?}");
}

#[test]
fn a_source_has_a_type_and_the_keys_of_it() {
    let source = |settings: &str| format!("{UPSTREAM}[credentials.logs]\n{settings}");
    let rows = [
        ("", "3: credentials.logs.type", "missing; write type"),
        ("type = \"cloud_sso\"", "4: credentials.logs.type", "not supported by this build"),
        ("type = \"process\"", "3: credentials.logs.command", "it is run without a shell"),
        ("type = \"process\"\ncommand = \"a b\"", "5: credentials.logs.command", "a list of strings"),
        ("type = \"chain\"\norder = \"x\"", "5: credentials.logs.order", "alibaba"),
        ("type = \"chain\"\npin_identity = \"x\"", "5: credentials.logs.pin_identity", "invalid identity"),
        (
            "type = \"assume_role\"\nrole_arn = \"acs:ram::1:role/r\"\nsource = \"nobody\"\n[credentials.nobody]\ntype = \"anonymous\"",
            "6: credentials.logs.source",
            "cannot assume a role",
        ),
        ("type = \"vault\"", "4: credentials.logs.type", "chain, static, env"),
        ("type = \"env\"\nprofile = \"x\"", "5: credentials.logs.profile", "unknown key"),
        (
            "type = \"static\"\naccess_key_id = \"x\"",
            "3: credentials.logs.access_key_secret",
            "missing; write",
        ),
    ];
    for (settings, place, words) in rows {
        refused(&source(settings), &format!("proxy.toml:{place}"), words);
    }
    refused(
        &format!("{UPSTREAM}[credentials.\"a b\"]\ntype = \"env\""),
        "proxy.toml:3: credentials.a b",
        "invalid credentials name",
    );
}

#[test]
fn sts_is_asked_in_the_region_of_the_upstream_and_inside_the_vpc_if_that_is_internal() {
    for (upstream, expected) in [
        ("region = \"cn-beijing\"", ("cn-beijing", false)),
        ("region = \"cn-beijing\"\ninternal = true", ("cn-beijing", true)),
        ("endpoint = \"https://oss-cn-beijing-internal.aliyuncs.com\"", ("cn-beijing", true)),
        ("endpoint = \"https://oss-cn-beijing.aliyuncs.com\"", ("cn-beijing", false)),
    ] {
        let mut config = loaded(&format!("[upstream]\n{upstream}"));
        let place = config.credentials[0].spec.sts_endpoint_mut().expect("a source that may ask STS");
        let of_oss = place.of_oss.as_ref().map(|oss| (oss.region.as_str(), oss.is_internal));
        assert_eq!(of_oss, Some(expected), "{upstream}");
    }
    let route = "[upstream]\nregion = \"cn-beijing\"\n[[route]]\nmatch = { bucket = \"logs\" }\nregion = \"cn-shenzhen\"\n\
                 internal = true\ncredentials = \"logs\"\n[credentials.logs]\ntype = \"oidc\"";
    let mut config = loaded(route);
    let logs = config.credentials.iter_mut().find(|known| known.name == "logs").expect("logs");
    let place = logs.spec.sts_endpoint_mut().expect("a place");
    assert!(place.of_oss.as_ref().is_some_and(|oss| oss.region.as_str() == "cn-shenzhen" && oss.is_internal));
}

#[test]
fn unknown_credentials_are_answered_with_the_known_ones() {
    let text = format!("{UPSTREAM}credentials = \"lgos\"\n[credentials.logs]\ntype = \"env\"");
    assert_eq!(
        mistakes(load(&text)),
        ["proxy.toml:3: upstream.credentials: unknown credentials \"lgos\"; expected one of logs, default"]
    );
}

/// An environment with one variable, for tests with real files.
struct Variable;

impl Clock for Variable {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(0)
    }
}

impl SourceEnv for Variable {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "SECRET").then(|| "from-variable".to_owned())
    }
}

#[test]
fn the_real_world_reads_files_and_their_modes() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    fs::write(&path, "hunter2\r\n").expect("a file");
    let edge: Arc<dyn SourceEnv> = Arc::new(Variable);
    let load =
        |text: &str| ProxyConfig::load(Some(ConfigFile { path: "proxy.toml".as_ref(), text }), &[], &*edge);
    let text = fixed(&format!("file:{}", path.display()));
    for (mode, warnings) in [(0o600, 0), (0o640, 1), (0o604, 1)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        let config = load(&text).expect("a configuration");
        assert_eq!((secret_of(&config), config.warnings.len()), ("hunter2", warnings));
    }
    let config = load(&fixed("env:SECRET")).expect("a configuration");
    assert_eq!(secret_of(&config), "from-variable");
    for bytes in [vec![b'x'; 64 * 1024 + 1], vec![0xff]] {
        fs::write(&path, bytes).expect("a file");
        assert!(load(&text).is_err());
    }
    let text = format!("{UPSTREAM}ca_file = \"{}\"", directory.path().display());
    assert!(mistakes(load(&text))[0].contains("cannot read"), "a directory is no file");
}

#[test]
fn credentials_that_need_themselves_are_reported_and_those_that_lead_to_them_are_not() {
    let role = |name: &str, source: &str| {
        format!(
            "[credentials.{name}]\ntype = \"assume_role\"\nsource = \"{source}\"\nrole_arn = \"acs:ram::1:role/r\"\n"
        )
    };
    let sections =
        [("a", "b"), ("b", "c"), ("c", "d"), ("d", "b"), ("alone", "alone"), ("e", "a"), ("f", "key")]
            .map(|(name, source)| role(name, source));
    let text = format!("{UPSTREAM}{}[credentials.key]\ntype = \"env\"", sections.concat());
    let shown = mistakes(load(&text));
    let names: Vec<&str> = shown.iter().filter_map(|text| text.split('"').nth(1)).collect();
    assert_eq!(names, ["b", "c", "d", "alone"], "{shown:#?}");
    assert!(shown.iter().all(|text| text.contains("depend on themselves")), "{shown:#?}");
}
