//! `jwt` of `[[caller]]`: issuers, audiences, subjects, and where the keys of issuers are.

use super::{UPSTREAM, World, load, load_in, mistakes};
use crate::caller::{IdentityKinds, JwtKeyOrigin};
use crate::config::ProxyConfig;

/// RFC 8037, A.2.
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Tokens with keys in a file.
const WITH_FILE: &str = "issuer = \"https://i\", audience = \"a\", subject = \"s:*\", jwks_file = \"keys\"";
/// The same tokens with keys at a URL.
const WITH_URL: &str =
    "issuer = \"https://i\", audience = \"a\", subject = \"s:*\", jwks_url = \"https://i/keys\"";

fn world() -> World {
    World {
        files: [("keys", (KEYS, true)), ("same", (KEYS, true)), ("broken", ("{}", true)), ("ca", ("", true))]
            .into(),
        ..World::default()
    }
}

/// Returns a configuration with a caller for each of `tokens`. Their `jwt` are on the lines 8, 12
/// and so on.
fn with(tokens: &[&str]) -> String {
    let caller = |(index, tokens): (usize, &&str)| {
        format!("[[caller]]\nname = \"team-{index}\"\nallow = \"read\"\njwt = {{ {tokens} }}\n")
    };
    let callers: String = tokens.iter().enumerate().map(caller).collect();
    format!("{UPSTREAM}[[listen]]\nidentify = [\"jwt\"]\n{callers}")
}

#[track_caller]
fn accepted(text: &str) -> ProxyConfig {
    load_in(&world(), text, &[]).unwrap_or_else(|errors| panic!("{text}\nis rejected:\n{errors}"))
}

/// Asserts that the configuration has exactly one error.
#[track_caller]
fn rejected(tokens: &[&str], place: &str, words: &str) {
    let shown = mistakes(load_in(&world(), &with(tokens), &[]));
    let [only] = &shown[..] else { panic!("{tokens:?}: {shown:#?}") };
    assert!(only.starts_with(&format!("{place}: ")) && only.contains(words), "{tokens:?}: {only}");
}

#[test]
fn tokens_are_read_with_keys_from_a_file_or_a_url() {
    let config = accepted(&with(&[WITH_FILE]));
    assert!(config.warnings.is_empty() && config.key_sets.is_empty(), "{:?}", config.warnings);
    assert_eq!(config.listen[0].identify, IdentityKinds { jwt: true, ..IdentityKinds::default() });
    // A reload notices a change of the file.
    assert_eq!(config.files.iter().map(|file| file.path.to_str()).collect::<Vec<_>>(), [Some("keys")]);
    let callers = config.callers.expect("callers");
    let jwt = callers[0].jwt.as_ref().expect("tokens");
    assert_eq!((jwt.issuer.as_str(), jwt.audience.as_str()), ("https://i", "a"));
    assert_eq!(jwt.subject.to_string(), "s:*");
    assert!(matches!(&jwt.keys, JwtKeyOrigin::Fixed(keys) if keys.key_count() == 1));

    let more = format!("{WITH_URL}, jwks_ca_file = \"ca\", jwks_token_file = \"token\"");
    let config = accepted(&with(&[&more, &more.replace("s:*", "t")]));
    let [keys] = &config.key_sets[..] else { panic!("{:?}", config.key_sets) };
    assert_eq!((keys.issuer.as_str(), keys.url.to_string()), ("https://i", "https://i".to_owned()));
    assert_eq!(
        (keys.ca_file.as_deref(), keys.token_file.as_deref()),
        (Some("ca".as_ref()), Some("token".as_ref()))
    );
    let callers = config.callers.expect("callers");
    assert!(
        callers.iter().all(|caller| caller.jwt.as_ref().is_some_and(|jwt| jwt.keys == JwtKeyOrigin::Fetched))
    );
}

#[test]
fn mistakes_in_tokens_are_reported_where_they_are() {
    let changed = |from: &str, to: &str| WITH_FILE.replacen(from, to, 1);
    let url = |url: &str| WITH_URL.replacen("https://i/keys", url, 1);
    let more = |key: &str| format!("{WITH_FILE}, {key} = \"ca\"");
    let rows = [
        (changed("issuer = \"https://i\", ", ""), "caller.jwt.issuer", "missing; write issuer"),
        (changed("audience = \"a\", ", ""), "caller.jwt.audience", "missing; write audience"),
        (changed("subject = \"s:*\", ", ""), "caller.jwt.subject", "missing; write subject"),
        (changed("\"a\"", "\"\""), "caller.jwt.audience", "must not be empty"),
        (changed("\"a\"", "\"a\\n\""), "caller.jwt.audience", "control characters"),
        (changed("s:*", &"s".repeat(513)), "caller.jwt.subject", "longer than 512 bytes"),
        (changed(", jwks_file = \"keys\"", ""), "caller.jwt", "set either jwks_file or jwks_url"),
        (format!("{WITH_FILE}, jwks_url = \"https://i\""), "caller.jwt", "set either jwks_file or jwks_url"),
        (changed("\"keys\"", "\"gone\""), "caller.jwt.jwks_file", "cannot use the keys in \"gone\""),
        (changed("\"keys\"", "\"broken\""), "caller.jwt.jwks_file", "it is not a JWK set"),
        (more("jwks_ca_file"), "caller.jwt.jwks_ca_file", "applies only to jwks_url"),
        (more("jwks_token_file"), "caller.jwt.jwks_token_file", "applies only to jwks_url"),
        (url("http://i/keys"), "caller.jwt.jwks_url", "could be replaced"),
        (url("http://100.100.100.200/keys"), "caller.jwt.jwks_url", "could be replaced"),
        (url("i/keys"), "caller.jwt.jwks_url", "is not a valid URL"),
        (url("https://user@i/keys"), "caller.jwt.jwks_url", "contains an @"),
        (format!("{WITH_URL}, jwks_ca_file = \"gone\""), "caller.jwt.jwks_ca_file", "cannot read \"gone\""),
        (format!("{WITH_FILE}, jwks = \"keys\""), "caller.jwt.jwks", "unknown key"),
    ];
    for (tokens, key, words) in rows {
        rejected(&[&tokens], &format!("proxy.toml:8: {key}"), words);
    }
    accepted(&with(&[&url("http://127.0.0.1:1/keys")]));
    accepted(&with(&[&url("http://localhost:1/keys")]));
}

#[test]
fn no_two_callers_have_the_same_tokens_and_an_issuer_has_the_same_keys_for_all() {
    rejected(
        &[WITH_FILE, WITH_FILE],
        "proxy.toml:12: caller.jwt",
        "another caller already has these tokens (proxy.toml:8",
    );
    for other in [WITH_URL.to_owned(), WITH_FILE.replace("\"keys\"", "\"same\"")] {
        let other = other.replace("s:*", "t");
        rejected(
            &[WITH_FILE, &other],
            "proxy.toml:12: caller.jwt",
            "this issuer with other keys (proxy.toml:8",
        );
    }
    for (from, to) in [("s:*", "s:a"), ("\"a\"", "\"b\"")] {
        accepted(&with(&[WITH_FILE, &WITH_FILE.replace(from, to)]));
    }
    let other = WITH_URL.replace("\"https://i\"", "\"https://j\"");
    assert_eq!(accepted(&with(&[WITH_FILE, &other])).key_sets.len(), 1);
}

#[test]
fn json_web_tokens_are_encrypted_on_the_way() {
    let text = with(&[WITH_FILE]).replace("[[listen]]\n", "[[listen]]\naddress = \"10.0.0.1:80\"\n");
    let shown = mistakes(load_in(&world(), &text, &[]));
    assert!(shown.len() == 1 && shown[0].contains("tokens would be sent unencrypted"), "{shown:?}");
    accepted(&text.replace("identify", "unsafe_plain = true\nidentify"));
}

#[test]
fn the_files_of_a_revoked_caller_are_not_read() {
    let tokens = WITH_FILE.replace("\"keys\"", "\"gone\"");
    let text = format!("revoked = [\"team-0\"]\n{}", with(&[&tokens]));
    assert_eq!(load(&text).expect("a configuration").callers.map(|callers| callers.len()), Some(0));
    // This holds for tokens of other kinds too.
    let token = text.replace(&format!("jwt = {{ {tokens} }}"), "token = \"file:gone\"");
    assert_eq!(load(&token).expect("a configuration").callers.map(|callers| callers.len()), Some(0));
}
