//! `[[caller]]`, `revoked` and `identify`: names, keys, rights, and what they must not contradict.

use std::sync::Arc;

use super::{UPSTREAM, World, load, load_in, loaded, mistakes, refused, warned};
use crate::address::UpstreamId;
use crate::caller::{CallerSettings, IdentityKinds};
use crate::config::{ProxyConfig, SettingLayer, caller_changes};
use crate::policy::CallerRights;

/// A secret of 40 characters.
const SECRET: &str = "0123456789abcdef0123456789abcdef01234567";

/// A listener that identifies clients, on the lines 3 and 4.
const LISTEN: &str = "[[listen]]\nidentify = [\"key\"]\n";

/// Returns a configuration whose callers begin on line 5.
fn with(callers: &str) -> String {
    format!("{UPSTREAM}{LISTEN}{callers}")
}

fn callers(text: &str) -> Vec<CallerSettings> {
    let callers = loaded(text).callers.expect("callers");
    callers.into_iter().map(|caller| Arc::into_inner(caller).expect("the configuration is gone")).collect()
}

/// Returns a caller with all rights and these other settings, on three lines.
fn caller(name: &str, settings: &str) -> String {
    format!("[[caller]]\nname = \"{name}\"\nallow = \"everything\"\n{settings}\n")
}

/// Returns a caller on four lines, whose key has this id and a valid secret.
fn caller_with(name: &str, id: &str) -> String {
    caller(name, &format!("key = [{{ id = \"{id}\", secret = \"{SECRET}\" }}]"))
}

fn world() -> World {
    World {
        variables: [("OLD", SECRET), ("NEW", "a-new-secret-of-40-characters-0123456789")].into(),
        files: [("key", (SECRET, false)), ("exposed", (SECRET, true))].into(),
    }
}

#[track_caller]
fn accepted(text: &str) -> ProxyConfig {
    load_in(&world(), text, &[]).unwrap_or_else(|errors| panic!("{text}\nis rejected:\n{errors}"))
}

fn names(config: &ProxyConfig) -> Vec<&str> {
    config.callers.iter().flatten().map(|caller| caller.name.as_str()).collect()
}

fn ids(config: &ProxyConfig) -> Vec<&str> {
    config.callers.iter().flatten().flat_map(|caller| &caller.keys).map(|key| key.id.as_str()).collect()
}

#[test]
fn callers_are_read_with_their_rights_and_keys() {
    let config = accepted(&with(
        "[[caller]]\nname = \"team-a\"\nallow = \"everything\"\n\
         key = [{ id = \"a\", secret = \"env:OLD\" }, { id = \"a\", secret = \"env:NEW\" }]\n\
         [[caller]]\nname = \"Team.B_2\"\nallow = \"read\"\nopen = true\n\
         [[caller.key]]\nid = \"b-1\"\nsecret = \"file:key\"\n",
    ));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(config.listen[0].identify, IdentityKinds { key: true, ..IdentityKinds::default() });
    let Some([a, b]) = config.callers.as_deref() else { panic!("{:?}", config.callers) };
    assert_eq!((a.name.as_str(), a.rights.clone(), a.is_open), ("team-a", CallerRights::everything(), false));
    let keys: Vec<_> = a.keys.iter().map(|key| (key.id.as_str(), key.secret.expose())).collect();
    assert_eq!(keys, [("a", SECRET), ("a", "a-new-secret-of-40-characters-0123456789")]);
    assert_eq!((b.name.as_str(), b.rights.clone(), b.is_open), ("Team.B_2", CallerRights::read(), true));
    assert_eq!((b.keys[0].id.as_str(), b.keys[0].secret.expose()), ("b-1", SECRET));
    assert!(!format!("{config:?}").contains(SECRET));
}

#[test]
fn a_caller_without_allow_may_do_nothing_and_causes_a_warning() {
    let text = format!("{UPSTREAM}[[caller]]\nname = \"a\"\nopen = true\n");
    warned(&text, "proxy.toml:3: caller.allow", "may do nothing");
    assert_eq!(callers(&text)[0].rights, CallerRights::nothing());
    refused(&format!("{text}allow = \"all\"\n"), "proxy.toml:6: caller.allow", "everything, read");
}

#[test]
fn a_caller_has_a_name_that_no_other_has() {
    for name in ["", "a b", "a/b", "ä", &"a".repeat(65)] {
        refused(&with(&caller_with(name, "a")), "proxy.toml:6: caller.name", "invalid caller name");
    }
    assert_eq!(callers(&with(&caller_with(&"a".repeat(64), "a"))).len(), 1);
    let nameless = caller_with("a", "a").replace("name = \"a\"\n", "");
    refused(&with(&nameless), "proxy.toml:5: caller.name", "missing; write name");
    let twice = format!("{}{}", caller_with("a", "a"), caller_with("a", "b"));
    refused(&with(&twice), "proxy.toml:10: caller.name", "already has this name (proxy.toml:6: caller.name)");
}

#[test]
fn a_caller_has_an_identity() {
    for settings in ["", "open = false", "key = []"] {
        refused(&with(&caller("a", settings)), "proxy.toml:5: caller", "the caller has no identity; set key");
    }
    let mistyped = with(&caller("a", "key = \"a\""));
    refused(&mistyped, "proxy.toml:8: caller.key", "a list of sections [[caller.key]]");
}

#[test]
fn the_lifetime_of_presigned_urls_is_limited_in_whole_seconds() {
    let settings = |text: &str| {
        let key = format!("key = [{{ id = \"a-1\", secret = \"{SECRET}\" }}]");
        with(&caller("a", &format!("presign_max = \"{text}\"\n{key}")))
    };
    let limit = |text: &str| callers(&settings(text))[0].presign_max.map(|max| max.as_secs());
    assert_eq!((limit("1h"), limit("168h")), (Some(3600), Some(604_800)));
    refused(&settings("0s"), "proxy.toml:8: caller.presign_max", "must be greater than 0");
    refused(&settings("900ms"), "proxy.toml:8: caller.presign_max", "must be greater than 0");
    refused(&settings("1d"), "proxy.toml:8: caller.presign_max", "invalid duration");
}

#[test]
fn at_most_one_caller_is_open() {
    let open = |name: &str| caller(name, "open = true");
    let text = with(&format!("{}{}", open("a"), open("b")));
    refused(&text, "proxy.toml:12: caller.open", "already open (proxy.toml:8: caller.open)");
}

#[test]
fn an_id_belongs_to_one_caller_and_is_none_of_alibaba_cloud() {
    let text = with(&format!("{}{}", caller_with("a", "x"), caller_with("b", "x")));
    refused(
        &text,
        "proxy.toml:12: caller.key.id",
        "already has a key with this id (proxy.toml:8: caller.key.id)",
    );
    for id in ["", "a b", "a:b", "a/b", &"a".repeat(129)] {
        refused(&with(&caller_with("a", id)), "proxy.toml:8: caller.key.id", "invalid id");
    }
    assert_eq!(callers(&with(&caller_with("a", &"a".repeat(128)))).len(), 1);
    for id in ["LTAI5tExampleKeyId", "STS.NExampleKeyId", "TMP.3KExampleKeyId"] {
        let text = with(&caller_with("a", id));
        refused(&text, "proxy.toml:8: caller.key.id", "begins like an access key id of Alibaba Cloud");
        assert!(!mistakes(load(&text)).concat().contains(id));
    }
}

#[test]
fn an_id_of_configured_credentials_is_rejected_behind_a_reference_too() {
    let mut world = world();
    world.variables.insert("ID", "PrivateCloudKeyId");
    world.files.insert("id", ("PrivateCloudKeyId\n", false));
    for reference in ["PrivateCloudKeyId", "env:ID", "file:id"] {
        let text = format!(
            "{}[credentials.logs]\ntype = \"static\"\naccess_key_id = \"{reference}\"\naccess_key_secret = \"x\"\n",
            with(&caller_with("a", "PrivateCloudKeyId"))
        );
        let shown = mistakes(load_in(&world, &text, &[]));
        let [only] = &shown[..] else { panic!("{shown:?}") };
        let words = "proxy.toml:8: caller.key.id: the id is the access key id of the credentials \"logs\"";
        assert!(only.starts_with(words) && !only.contains("Private"), "{only}");
    }
}

#[test]
fn a_caller_has_at_most_two_keys_and_they_differ() {
    let keys = |pairs: &[(&str, &str)]| {
        let key = |(id, secret): &(&str, &str)| format!("{{ id = \"{id}\", secret = \"{secret}\" }}");
        let keys: Vec<String> = pairs.iter().map(key).collect();
        with(&caller("a", &format!("key = [{}]", keys.join(",\n"))))
    };
    let other = SECRET.to_ascii_uppercase();
    let three = keys(&[("a", SECRET), ("b", SECRET), ("c", SECRET)]);
    refused(&three, "proxy.toml:8: caller.key", "has 3 keys");
    refused(&keys(&[("a", SECRET), ("a", SECRET)]), "proxy.toml:9: caller.key", "the same secret");
    let referred = keys(&[("a", "env:OLD"), ("a", "file:key")]);
    let shown = mistakes(load_in(&world(), &referred, &[]));
    assert!(shown.len() == 1 && shown[0].contains("the same secret"), "{shown:?}");
    for pairs in
        [[("a", SECRET), ("a", &other)], [("a", SECRET), ("b", SECRET)], [("a", SECRET), ("b", &other)]]
    {
        assert_eq!(callers(&keys(&pairs))[0].keys.len(), 2);
    }
}

#[test]
fn a_secret_is_long_and_printable_and_never_shown() {
    let key = |id: &str, secret: &str| {
        with(&caller("a", &format!("key = [{{ id = \"{id}\", secret = \"{secret}\" }}]")))
    };
    let rows = [
        ("26-characters-of-a-secret-", "fewer than 27 characters"),
        ("a secret with blanks in it that is long enough", "white space"),
        ("ein-Geheimnis-mit-Umlauten-äöü-das-lang-genug-ist", "another invalid character"),
        ("a-secret-with-a-tab-\\t-in-it-that-is-long-enough", "another invalid character"),
        ("", "is empty"),
        ("LTAI5tAnAccessKeyIdInThePlaceOfASecret", "begins like an access key id"),
        ("the-id-is-the-secret-and-long-enough", "the same as the access key id"),
    ];
    for (secret, words) in rows {
        let text = key("the-id-is-the-secret-and-long-enough", secret);
        refused(&text, "proxy.toml:8: caller.key.secret", words);
        assert!(secret.is_empty() || !mistakes(load(&text)).concat().contains(secret), "{secret}");
    }
    assert_eq!(callers(&key("a", "27-characters-of-a-secret-7")).len(), 1);
    // The secret is checked beside an invalid id.
    assert_eq!(mistakes(load(&key("a b", "short"))).len(), 2);
    let missing = with(&caller("a", "key = [{}]"));
    let shown = mistakes(load(&missing));
    assert!(shown.len() == 2 && shown[0].contains("write id"), "{shown:?}");
    assert!(shown[1].starts_with("proxy.toml:8: caller.key.secret: missing; write"), "{shown:?}");
    let misspelt = with(&caller("a", &format!("key = [{{ id = \"a\", secrte = \"{SECRET}\" }}]")));
    let shown = mistakes(load(&misspelt));
    assert!(shown.len() == 2 && !shown.concat().contains(SECRET), "{shown:?}");
}

#[test]
fn a_secret_is_referred_to_as_those_of_credentials() {
    let key = |secret: &str| with(&caller("a", &format!("key = [{{ id = \"a\", secret = \"{secret}\" }}]")));
    warned(&key(SECRET), "proxy.toml:8: caller.key.secret", "is stored in the configuration file itself");
    refused(&key("env:NONE"), "proxy.toml:8: caller.key.secret", "\"NONE\" is not set");
    refused(&key("file:"), "proxy.toml:8: caller.key.secret", "empty reference");
    let warnings = accepted(&key("file:exposed")).warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("is readable by other users"), "{warnings:?}");
    let strict = format!("strict_file_modes = true\n{}", key("file:exposed"));
    let shown = mistakes(load_in(&world(), &strict, &[]));
    assert!(shown.len() == 1 && shown[0].contains("strict_file_modes is set"), "{shown:?}");
    // A reload notices a change of these files.
    let config = accepted(&key("file:key"));
    assert_eq!(config.files.iter().map(|file| file.path.to_str()).collect::<Vec<_>>(), [Some("key")]);
}

#[test]
fn revoked_keys_and_callers_are_left_out_even_if_their_secrets_are_gone() {
    let callers = "[[caller]]\nname = \"a\"\nallow = \"read\"\n\
                   key = [{ id = \"a-1\", secret = \"env:GONE\" }, { id = \"a-2\", secret = \"env:NEW\" }]\n\
                   [[caller]]\nname = \"b\"\nkey = [{ id = \"b-1\", secret = \"file:gone\" }]\n\
                   [[caller]]\nname = \"c\"\nallow = \"read\"\nkey = [{ id = \"c-1\", secret = \"env:OLD\" }]\n";
    let text = format!("revoked = [\"a-1\", \"b\", \"b-1\"]\n{}", with(callers));
    let config = accepted(&text);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!((names(&config), ids(&config)), (vec!["a", "c"], vec!["a-2", "c-1"]));
    // The rules for names and ids apply to them too.
    let shown = mistakes(load_in(&world(), &text.replace("c-1", "b-1"), &[]));
    assert!(shown.len() == 1 && shown[0].contains("already has a key with this id"), "{shown:?}");
}

#[test]
fn a_caller_that_has_only_a_token_can_be_revoked() {
    let text = with(&caller("a", "token = \"env:GONE\""));
    assert!(names(&accepted(&format!("revoked = [\"a\"]\n{text}"))).is_empty());
}

#[test]
fn a_revoked_name_that_nothing_has_is_a_warning() {
    let text = format!("revoked = [\"x\",\n\"a\"]\n{}", with(&caller_with("a", "a-1")));
    let config = accepted(&text);
    let warnings: Vec<&String> =
        config.warnings.iter().filter(|w| !w.contains("caller.key.secret")).collect();
    let [only] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(only.starts_with("proxy.toml:1: revoked: entry 1 is neither"), "{only}");
    assert_eq!(config.callers.map(|callers| callers.len()), Some(0));
}

#[test]
fn no_listener_is_open_because_its_last_caller_was_revoked() {
    let open =
        format!("revoked = [\"a\"]\n{UPSTREAM}[[caller]]\nname = \"a\"\nallow = \"read\"\nopen = true\n");
    let config = loaded(&open);
    assert!(config.callers.is_some_and(|callers| callers.is_empty()) && !config.listen[0].is_open);
    let keys = format!("revoked = [\"a\"]\n{}", with(&caller_with("a", "a-1")));
    let config = loaded(&keys);
    assert!(
        config.callers.is_some_and(|callers| callers.is_empty())
            && !config.listen[0].is_open
            && config.listen[0].identify.key
    );
}

#[test]
fn a_listener_identifies_clients_where_there_are_callers() {
    let listen = |settings: &str, callers: &str| format!("{UPSTREAM}[[listen]]\n{settings}\n{callers}");
    let callers = caller_with("a", "a-1");
    refused(
        &listen("identify = [\"key\"]", ""),
        "proxy.toml:4: listen.identify",
        "there are no callers to identify",
    );
    for settings in ["", "identify = []"] {
        let text = listen(settings, &callers);
        let shown = mistakes(load(&text));
        let [only] = &shown[..] else { panic!("{shown:?}") };
        assert!(only.contains("set identify, such as [\"key\"], or set open = true"), "{only}");
    }
    refused(&format!("{UPSTREAM}{callers}"), "proxy.toml: listen.identify", "would reject all requests");
    for (kinds, words) in [
        ("\"key\", \"key\"", "\"key\" is listed twice"),
        ("\"token\", \"token\"", "\"token\" is listed twice"),
        ("\"jwt\", \"jwt\"", "\"jwt\" is listed twice"),
        ("\"keys\"", "expected one of key"),
    ] {
        refused(&listen(&format!("identify = [{kinds}]"), &callers), "proxy.toml:4: listen.identify", words);
    }
    let open = caller("b", "open = true");
    let config = loaded(&listen("", &format!("{callers}{open}")));
    assert!(config.listen[0].is_open && config.listen[0].identify == IdentityKinds::default());
    assert!(loaded(UPSTREAM).listen[0].is_open);
}

#[test]
fn only_a_listener_for_unidentified_clients_needs_unsafe_open() {
    let listen = |settings: &str, callers: &str| {
        format!(
            "{UPSTREAM}[[listen]]\naddress = \"0.0.0.0:8770\"\nidentify = [\"key\"]\n{settings}\n{callers}"
        )
    };
    let callers = caller_with("a", "a-1").replace(SECRET, "env:OLD");
    for settings in ["", "unsafe_open = true"] {
        let config = accepted(&listen(settings, &callers));
        assert!(config.warnings.is_empty() && !config.listen[0].is_open, "{:?}", config.warnings);
    }
    let open = format!("{callers}{}", caller("b", "open = true"));
    let shown = mistakes(load_in(&world(), &listen("", &open), &[]));
    assert!(shown.len() == 1 && shown[0].contains("set unsafe_open = true"), "{shown:?}");
    let warnings = accepted(&listen("unsafe_open = true", &open)).warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("any client that can connect"), "{warnings:?}");
}

#[test]
fn the_removal_of_the_last_caller_opens_a_listener_only_where_it_could_start_open() {
    let text = |settings: &str, callers: &str| format!("{UPSTREAM}[[listen]]\n{settings}\n{callers}");
    let callers = caller_with("a", "a-1").replace(SECRET, "env:OLD");
    let identify = "identify = [\"key\"]";
    for (address, is_rejected) in
        [("0.0.0.0:8770", true), ("0.0.0.0:8770\"\nunsafe_open = true #\"", false), ("127.0.0.1:8770", false)]
    {
        let address = format!("address = \"{address}\"");
        accepted(&text(&format!("{address}\n{identify}"), &callers));
        if is_rejected {
            let errors = mistakes(load_in(&world(), &text(&address, ""), &[])).concat();
            assert!(errors.contains("set unsafe_open = true"), "{errors}");
        } else {
            assert!(accepted(&text(&address, "")).listen[0].is_open, "{address}");
        }
        let errors = mistakes(load_in(&world(), &text(&format!("{address}\n{identify}"), ""), &[])).concat();
        assert!(errors.contains("listen.identify"), "{address} {errors}");
    }
}

#[test]
fn a_caller_whose_identities_no_listener_accepts_is_reported() {
    let token = caller("b", &format!("token = \"{SECRET}\""));
    let callers = format!("{}{token}", caller_with("a", "a-1"));
    let listen = |identify: &str| {
        let text = format!("{UPSTREAM}[[listen]]\nidentify = [{identify}]\n{callers}");
        let warnings = accepted(&text).warnings;
        warnings.into_iter().filter(|warning| warning.contains("no listener accepts")).collect::<Vec<_>>()
    };
    let warnings = listen("\"key\"");
    assert!(warnings.len() == 1 && warnings[0].contains("identity of b;"), "{warnings:?}");
    assert!(listen("\"key\", \"token\"").is_empty());
}

#[test]
fn a_change_of_callers_is_reported_by_name_and_without_their_secrets() {
    let configured = |callers: &str| accepted(&with(callers)).callers.expect("callers");
    let key = |secret: &str| caller("a", &format!("key = [{{ id = \"a-1\", secret = \"{secret}\" }}]"));
    let before = configured(&key(SECRET));
    let changes = |callers: &str| caller_changes(&before, &configured(callers));
    assert_eq!(changes(&format!("# moved\n{}", key(SECRET))), Vec::<String>::new());
    assert_eq!(changes(&key(&SECRET.to_ascii_uppercase())), ["caller a changed"]);
    let less = key(SECRET).replace("everything", "read");
    assert_eq!(changes(&less), ["caller a changed: allow read instead of everything"]);
    let other = caller("b", "open = true");
    assert_eq!(changes(&other), ["caller b added: allow everything", "caller a removed"]);
    let config = accepted(&with(&key(SECRET)));
    assert!(!config.effective_settings.iter().any(|setting| setting.key.starts_with("caller")));
    assert!(!format!("{config:?}").contains(SECRET));
}

#[test]
fn a_proxy_that_ignores_the_listeners_of_the_file_ignores_its_callers() {
    let text =
        format!("revoked = [\"x\"]\n{}", with("[[caller]]\nkey = [{ id = \"a\", secret = \"env:NONE\" }]\n"));
    let config =
        load_in(&World::default(), &text, &[SettingLayer::flags().alone()]).expect("a configuration");
    assert!(config.callers.is_none() && config.warnings.is_empty() && config.listen[0].is_open);
}

#[test]
fn tokens_are_long_unique_and_encrypted_on_the_way() {
    let token = |name: &str, token: &str| caller(name, &format!("token = \"{token}\""));
    let config = accepted(&with(&token("a", "file:key")));
    let callers = config.callers.expect("callers");
    assert!(callers[0].token.as_ref().is_some_and(|token| token.expose() == SECRET));
    let rows = [
        (token("a", &SECRET[..26]), "proxy.toml:8: caller.token", "the token has fewer than 27 characters"),
        (token("a", &format!("{SECRET} b")), "proxy.toml:8: caller.token", "other than printable ASCII"),
        (
            token("a", SECRET) + &token("b", SECRET),
            "proxy.toml:12: caller.token",
            "another caller already has this token (proxy.toml:8",
        ),
    ];
    for (text, place, words) in rows {
        refused(&with(&text), place, words);
    }
    let listen = |more: &str| {
        let listen = "[[listen]]\naddress = \"10.0.0.1:80\"\nidentify = [\"token\"]\n";
        format!("{UPSTREAM}{listen}{more}{}", token("a", SECRET))
    };
    refused(
        &listen(""),
        "proxy.toml:4: listen.address",
        "tokens would be sent unencrypted over the network to 10.0.0.1:80",
    );
    assert!(loaded(&listen("unsafe_plain = true\n")).listen[0].identify.token);
}

#[test]
fn a_route_for_a_caller_names_one_and_has_no_bucket_of_its_own() {
    let route = |lines: &str| with(&format!("{}[[route]]\n{lines}\n", caller_with("team-a", "a-1")));
    let config = loaded(&route("match.caller = \"team-*\"\nregion = \"cn-beijing\""));
    let wanted = config.routing_table.wanted(UpstreamId(1)).expect("a route");
    assert_eq!(wanted.to_string(), "caller team-*");
    refused(
        &route("match.caller = \"team-b\"\nregion = \"cn-beijing\""),
        "proxy.toml:10: route.match.caller",
        "no caller has a name that matches",
    );
    refused(
        &route("match.caller = \"team-a\"\nregion = \"cn-hangzhou\"\nbucket = \"only\""),
        "proxy.toml:12: route.bucket",
        "cannot have a bucket of its own",
    );
}
