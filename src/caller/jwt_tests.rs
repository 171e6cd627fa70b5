//! Tests of JSON Web Tokens: which identify a caller, and why others are rejected.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::derived_keys::DerivedKeys;
use super::directory::CallerDirectory;
use super::identity_error::IdentityError;
use super::jwt_error::JwtError;
use super::jwt_key_set::{InvalidKeySet, JwtKeySet};
use super::jwt_settings::{JwtKeyOrigin, JwtSettings};
use super::jwt_test_key::{ALGORITHMS, KEYS, base64, set_of};
use super::settings::{CallerSettings, IdentityKinds};
use super::subject_pattern::SubjectPattern;
use super::test_request::{NOW, TestRequest};
use super::verified_tokens::VerifiedTokens;
use super::{ConnectionPeer, IdentityContext, JwtKeySource};
use crate::oss::SigningProduct;
use crate::secret::Secret;
use crate::time::Timestamp;

const ISSUER: &str = "https://kubernetes.default.svc";
const OTHER_ISSUER: &str = "https://accounts.example.com";
const AUDIENCE: &str = "oss-proxy";
const SUBJECT: &str = "system:serviceaccount:team-a:app";

/// Callers of two issuers: one with fixed keys, and one whose keys are fetched.
fn directory() -> CallerDirectory {
    let caller = |name: &str, issuer: &str, subject: &str| {
        let keys = if issuer == ISSUER { JwtKeyOrigin::Fixed(KEYS.set()) } else { JwtKeyOrigin::Fetched };
        let jwt = JwtSettings {
            issuer: issuer.to_owned(),
            audience: AUDIENCE.to_owned(),
            subject: SubjectPattern::parse(subject).expect("a pattern"),
            keys,
        };
        CallerSettings { name: name.to_owned(), jwt: Some(jwt), ..CallerSettings::default() }
    };
    let with_token = CallerSettings {
        name: "static".to_owned(),
        token: Some(Secret::from("static.token.of-30-characters")),
        ..CallerSettings::default()
    };
    CallerDirectory::new(Some(&[
        caller("team-a", ISSUER, "system:serviceaccount:team-a:*"),
        caller("team-b", ISSUER, "system:serviceaccount:team-b:app"),
        caller("overlap", ISSUER, "system:serviceaccount:*:batch"),
        caller("other", OTHER_ISSUER, "user-*"),
        with_token,
    ]))
}

const JWT: IdentityKinds =
    IdentityKinds { key: false, certificate: false, uid: false, token: false, jwt: true };

fn identify(
    authorization: &str,
    kinds: IdentityKinds,
    jwt_keys: &dyn JwtKeySource,
) -> Result<String, IdentityError> {
    identify_with(authorization, kinds, jwt_keys, &VerifiedTokens::default())
}

fn identify_with(
    authorization: &str,
    kinds: IdentityKinds,
    jwt_keys: &dyn JwtKeySource,
    verified_tokens: &VerifiedTokens,
) -> Result<String, IdentityError> {
    let request = TestRequest::new("GET", "a", "").header("authorization", authorization);
    let directory = &directory();
    let keys = &DerivedKeys::default();
    let product = SigningProduct::Oss;
    request.identify_in(IdentityContext {
        directory,
        kinds,
        peer: &ConnectionPeer::default(),
        product,
        keys,
        verified_tokens,
        jwt_keys,
        // An upstream has moved the time of signatures, which no lifetime depends on.
        signature_clock: &Timestamp::from_unix_s(NOW.unix_s() - 40_000),
        clock_now: NOW,
    })
}

/// Identifies a client with a token.
fn identified(token: &str) -> Result<String, JwtError> {
    match identify(&format!("Bearer {token}"), JWT, &HashMap::<Box<str>, Arc<JwtKeySet>>::new()) {
        Ok(caller) => Ok(caller),
        Err(IdentityError::Jwt(error)) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE, "exp": NOW.unix_s() + 600, "nbf": NOW.unix_s() })
}

/// Returns the claims with one of them replaced; `null` removes it.
fn with(name: &str, value: Value) -> String {
    let mut claims = claims();
    let all = claims.as_object_mut().expect("claims");
    if value.is_null() {
        all.remove(name);
    } else {
        all.insert(name.to_owned(), value);
    }
    claims.to_string()
}

fn header(algorithm: &str) -> String {
    json!({ "alg": algorithm, "kid": algorithm, "typ": "JWT" }).to_string()
}

fn token(claims: &str) -> String {
    KEYS.token("EdDSA", &header("EdDSA"), claims)
}

#[test]
fn a_token_of_each_algorithm_identifies_its_caller_as_bearer_token_and_as_password() {
    let none = HashMap::<Box<str>, Arc<JwtKeySet>>::new();
    for algorithm in ALGORITHMS {
        let token = KEYS.token(algorithm, &header(algorithm), &claims().to_string());
        assert_eq!(identified(&token), Ok("team-a".to_owned()), "{algorithm}");
        let basic = format!("Basic {}", STANDARD.encode(format!("any:{token}")));
        assert_eq!(identify(&basic, JWT, &none), Ok("team-a".to_owned()), "{algorithm}");
    }
    let team_b = with("sub", json!("system:serviceaccount:team-b:app"));
    assert_eq!(identified(&token(&team_b)), Ok("team-b".to_owned()));
}

#[test]
fn claims_decide_which_caller_it_is() {
    let now = NOW.unix_s();
    let accepted = Ok("team-a".to_owned());
    let rows = [
        ("aud", json!([AUDIENCE]), accepted.clone()),
        ("aud", json!(["other", AUDIENCE]), accepted.clone()),
        ("aud", json!([AUDIENCE, AUDIENCE]), accepted.clone()),
        ("aud", json!([]), Err(JwtError::Audience)),
        ("aud", json!("oss-proxy-2"), Err(JwtError::Audience)),
        ("aud", json!("OSS-proxy"), Err(JwtError::Audience)),
        ("aud", Value::Null, Err(JwtError::Missing("aud"))),
        ("exp", Value::Null, Err(JwtError::Missing("exp"))),
        ("iss", Value::Null, Err(JwtError::Missing("iss"))),
        ("sub", Value::Null, Err(JwtError::Missing("sub"))),
        ("nbf", Value::Null, accepted.clone()),
        ("iss", json!("https://kubernetes.default.svc/"), Err(JwtError::Issuer)),
        ("iss", json!("https://Kubernetes.default.svc"), Err(JwtError::Issuer)),
        ("sub", json!("system:serviceaccount:team-c:app"), Err(JwtError::Subject)),
        ("sub", json!("system:serviceaccount:team-a:app:x"), Err(JwtError::Subject)),
        ("sub", json!("system:serviceaccount:team-b:app2"), Err(JwtError::Subject)),
        ("sub", json!("system:serviceaccount:team-a:batch"), Err(JwtError::Ambiguous)),
        ("sub", json!("system:serviceaccount:team-c:batch"), Ok("overlap".to_owned())),
        ("exp", json!(now as f64 + 0.5), accepted.clone()),
        ("exp", json!(1e300), accepted.clone()),
        ("exp", json!(now - 60), accepted.clone()),
        ("nbf", json!(now + 60), accepted),
        ("nbf", json!(now + 61), Err(JwtError::NotYetValid { server_time: NOW })),
    ];
    for (name, value, expected) in rows {
        assert_eq!(identified(&token(&with(name, value.clone()))), expected, "{name} {value}");
    }
    for value in [json!(now - 61), json!(0), json!(-1), json!(-1e300)] {
        let result = identified(&token(&with("exp", value.clone())));
        assert!(matches!(result, Err(JwtError::Expired { .. })), "{value}: {result:?}");
    }
    for (name, value) in [
        ("exp", json!("1702744257")),
        ("exp", json!([1])),
        ("aud", json!(1)),
        ("aud", json!([1])),
        ("aud", json!({})),
        ("sub", json!(["a"])),
        ("nbf", json!(true)),
    ] {
        let result = identified(&token(&with(name, value.clone())));
        assert!(matches!(result, Err(JwtError::Malformed(_))), "{name} {value}: {result:?}");
    }
}

#[test]
fn a_token_without_a_signature_or_with_one_of_a_shared_secret_is_rejected() {
    let claims = claims().to_string();
    for name in ["none", "None", "NONE", "HS256", "HS512", "RS512", "PS256", "ES384", "", "rs256"] {
        let made = KEYS.token(
            "EdDSA",
            &header("EdDSA").replace("\"alg\":\"EdDSA\"", &format!("\"alg\":\"{name}\"")),
            &claims,
        );
        assert_eq!(identified(&made), Err(JwtError::Algorithm), "{name}");
        let (signed, _) = made.rsplit_once('.').expect("three parts");
        assert_eq!(identified(&format!("{signed}.")), Err(JwtError::Algorithm), "{name}");
    }
    // The public key as a shared secret.
    for public in ["RS256", "ES256", "EdDSA"] {
        for secret in [KEYS.jwk(public).to_string(), KEYS.jwk(public)["x"].to_string()] {
            let header = json!({ "alg": "HS256", "kid": public }).to_string();
            let signed = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            let forged = format!("{signed}.{}", base64(hmac::sign(&key, signed.as_bytes()).as_ref()));
            assert_eq!(identified(&forged), Err(JwtError::Algorithm), "{public}");
        }
    }
}

#[test]
fn a_key_verifies_no_algorithm_but_its_own() {
    let claims = claims().to_string();
    for signer in ALGORITHMS {
        for named in ALGORITHMS {
            for key in ALGORITHMS {
                let header = json!({ "alg": named, "kid": key }).to_string();
                let expected = match (named == key, signer == named) {
                    (false, _) => Err(JwtError::Algorithm),
                    (true, false) => Err(JwtError::Signature),
                    (true, true) => Ok("team-a".to_owned()),
                };
                assert_eq!(
                    identified(&KEYS.token(signer, &header, &claims)),
                    expected,
                    "{signer} {named} {key}"
                );
            }
        }
    }
}

#[test]
fn a_header_is_read_once_and_names_no_key_of_its_own() {
    let claims = claims().to_string();
    let of_header = |header: &str| identified(&KEYS.token("EdDSA", header, &claims));
    let foreign =
        json!({ "alg": "EdDSA", "kid": "EdDSA", "jku": "http://127.0.0.1/", "jwk": KEYS.jwk("RS256") });
    assert_eq!(of_header(&foreign.to_string()), Ok("team-a".to_owned()), "keys in the header are ignored");
    for header in [
        "{\"alg\":\"none\",\"alg\":\"EdDSA\",\"kid\":\"EdDSA\"}",
        "{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\",\"kid\":\"EdDSA\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"EdDSA\",\"kid\":\"EdDSA\"}",
        "{\"alg\":\"EdDSA\",\"kid\":\"EdDSA\",\"crit\":[\"b64\"],\"b64\":false}",
        "{\"alg\":\"EdDSA\",\"kid\":\"EdDSA\",\"crit\":[]}",
        "{\"alg\":\"EdDSA\",\"kid\":\"EdDSA\",\"typ\":\"logout+jwt\"}",
        "{\"alg\":\"EdDSA\",\"kid\":7}",
        "{\"alg\":[\"EdDSA\"],\"kid\":\"EdDSA\"}",
        "{\"kid\":\"EdDSA\"}",
        "{\"alg\":\"EdDSA\"",
        "[]",
        "[\"EdDSA\",\"EdDSA\",null,null]",
        "\"EdDSA\"",
        "",
    ] {
        let result = of_header(header);
        assert!(matches!(result, Err(JwtError::Malformed(_))), "{header}: {result:?}");
    }
    for kind in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        let header = json!({ "alg": "EdDSA", "kid": "EdDSA", "typ": kind }).to_string();
        assert_eq!(of_header(&header), Ok("team-a".to_owned()), "{kind}");
    }
    let doubled = claims.replacen('{', "{\"sub\":\"system:serviceaccount:team-b:app\",", 1);
    let list = json!([ISSUER, SUBJECT, AUDIENCE, NOW.unix_s() + 600, NOW.unix_s()]).to_string();
    for claims in [doubled, list] {
        assert!(matches!(identified(&token(&claims)), Err(JwtError::Malformed(_))), "{claims}");
    }
}

#[test]
fn a_token_in_another_form_is_rejected() {
    let good = token(&claims().to_string());
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("{good}") };
    let huge = format!("{header}.{}.{signature}", "A".repeat(16 * 1024));
    for text in [
        format!("{header}.{payload}"),
        format!("{good}.{signature}"),
        format!("{good}="),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}.{signature} "),
        format!("{header}.{payload}.+{}", &signature[1..]),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        "..".to_owned(),
        "a".to_owned(),
        huge,
    ] {
        let result = identified(text.trim_end_matches('\n'));
        let is_trimmed = text.ends_with(' ');
        assert!(is_trimmed || matches!(result, Err(JwtError::Malformed(_))), "{text}: {result:?}");
    }
}

#[test]
fn a_token_with_other_bytes_than_utf_8_is_rejected_even_where_they_are_ignored() {
    let signature = base64(&[0; 64]);
    let ignored = |text: &str| [text.trim_end_matches('}').as_bytes(), b",\"x\":\"\xff\"}"].concat();
    let (header, claims) = (header("EdDSA"), claims().to_string());
    for (header, claims) in
        [(ignored(&header), claims.clone().into_bytes()), (header.into_bytes(), ignored(&claims))]
    {
        let result = identified(&format!("{}.{}.{signature}", base64(&header), base64(&claims)));
        assert!(matches!(result, Err(JwtError::Malformed(_))), "{result:?}");
    }
}

#[test]
fn without_a_key_id_only_an_unambiguous_key_verifies() {
    let claims = claims().to_string();
    for algorithm in ALGORITHMS {
        let header = json!({ "alg": algorithm }).to_string();
        assert_eq!(
            identified(&KEYS.token(algorithm, &header, &claims)),
            Ok("team-a".to_owned()),
            "{algorithm}"
        );
    }
    let unknown = json!({ "alg": "EdDSA", "kid": "next" }).to_string();
    let expected = Err(JwtError::UnknownKey { issuer: ISSUER.into() });
    assert_eq!(identified(&KEYS.token("EdDSA", &unknown, &claims)), expected);
    // Two keys of one algorithm.
    let mut second = KEYS.jwk("EdDSA");
    second["kid"] = json!("second");
    let fetched = HashMap::from([(OTHER_ISSUER.into(), set_of(&[KEYS.jwk("EdDSA"), second]))]);
    let mut claims = super::jwt_tests::claims();
    claims["iss"] = json!(OTHER_ISSUER);
    claims["sub"] = json!("user-1");
    let sent = |header: Value| {
        let token = KEYS.token("EdDSA", &header.to_string(), &claims.to_string());
        identify(&format!("Bearer {token}"), JWT, &fetched)
    };
    let unknown = Err(JwtError::UnknownKey { issuer: OTHER_ISSUER.into() }.into());
    assert_eq!(sent(json!({ "alg": "EdDSA" })), unknown);
    assert_eq!(sent(json!({ "alg": "EdDSA", "kid": "second" })), Ok("other".to_owned()));
}

#[test]
fn keys_that_are_fetched_verify_the_tokens_of_their_issuer_only() {
    let mut claims = claims();
    claims["iss"] = json!(OTHER_ISSUER);
    claims["sub"] = json!("user-1");
    let made = token(&claims.to_string());
    let lacking = identified(&made).expect_err("no keys");
    assert_eq!(
        (&lacking, lacking.lacking_keys()),
        (&JwtError::NoKeys { issuer: OTHER_ISSUER.into() }, Some(OTHER_ISSUER))
    );
    let sent = |fetched: &dyn JwtKeySource| identify(&format!("Bearer {made}"), JWT, fetched);
    assert_eq!(sent(&HashMap::from([(OTHER_ISSUER.into(), KEYS.set())])), Ok("other".to_owned()));
    let rsa = HashMap::from([(OTHER_ISSUER.into(), set_of(&[KEYS.jwk("RS256")]))]);
    assert_eq!(sent(&rsa), Err(JwtError::UnknownKey { issuer: OTHER_ISSUER.into() }.into()));
}

#[test]
fn a_signature_is_verified_once_while_the_keys_are_the_same() {
    let verified = VerifiedTokens::default();
    let mut claims = claims();
    claims["iss"] = json!(OTHER_ISSUER);
    claims["sub"] = json!("user-1");
    let sent = |token: &str, keys: &Arc<JwtKeySet>| {
        let fetched = HashMap::from([(OTHER_ISSUER.into(), Arc::clone(keys))]);
        let result = identify_with(&format!("Bearer {token}"), JWT, &fetched, &verified);
        (result.is_ok(), verified.computed())
    };
    let made = token(&claims.to_string());
    let keys = KEYS.set();
    assert_eq!((sent(&made, &keys), sent(&made, &keys)), ((true, 1), (true, 1)));
    // Another token, with the same claims and a wrong signature.
    let forged = KEYS.token("ES256", &header("EdDSA"), &claims.to_string());
    assert_eq!((sent(&forged, &keys), sent(&forged, &keys)), ((false, 2), (false, 3)));
    // Other keys under the same id.
    let mut other = KEYS.jwk("EdDSA");
    other["x"] = json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert_eq!(sent(&made, &set_of(&[other])), (false, 4));
    assert_eq!(sent(&made, &set_of(&[KEYS.jwk("RS256")])), (false, 4));
    // The time is checked again.
    claims["exp"] = json!(NOW.unix_s() - 61);
    assert!(!sent(&token(&claims.to_string()), &keys).0);
    for number in 0..5_000 {
        claims["exp"] = json!(NOW.unix_s() + number);
        assert!(sent(&token(&claims.to_string()), &keys).0);
    }
    assert_eq!(verified.len(), 4 * 1024);
}

#[test]
fn a_listener_accepts_the_kinds_of_tokens_that_it_lists() {
    let none = HashMap::<Box<str>, Arc<JwtKeySet>>::new();
    let made = token(&claims().to_string());
    let tokens = IdentityKinds { token: true, ..IdentityKinds::default() };
    let both = IdentityKinds { token: true, ..JWT };
    let jwt = |kinds| identify(&format!("Bearer {made}"), kinds, &none);
    let fixed = |kinds| identify("Bearer static.token.of-30-characters", kinds, &none);
    assert_eq!((jwt(tokens), jwt(both)), (Err(IdentityError::UnknownToken), Ok("team-a".to_owned())));
    assert_eq!((fixed(tokens), fixed(both)), (Ok("static".to_owned()), Ok("static".to_owned())));
    assert!(matches!(fixed(JWT), Err(IdentityError::Jwt(JwtError::Malformed(_)))));
    assert_eq!(identify("Bearer other", both, &none), Err(IdentityError::UnknownToken));
    assert!(matches!(
        identify(&format!("Bearer {made}"), IdentityKinds { key: true, ..IdentityKinds::default() }, &none),
        Err(IdentityError::Malformed(_))
    ));
}

#[test]
fn keys_for_other_uses_and_of_other_types_are_ignored() {
    let good = KEYS.jwk("RS256");
    let changed = |algorithm: &str, name: &str, value: Value| {
        let mut key = KEYS.jwk(algorithm);
        key[name] = value;
        key
    };
    let other = [
        changed("RS256", "use", json!("enc")),
        changed("RS256", "alg", json!("RS512")),
        changed("RS256", "alg", json!("HS256")),
        changed("RS256", "key_ops", json!(["encrypt"])),
        changed("RS256", "kty", json!("oct")),
        changed("RS256", "n", json!(base64(&[0xff; 128]))),
        changed("RS256", "n", json!("")),
        changed("RS256", "e", json!("AA")),
        changed("ES256", "crv", json!("P-384")),
        changed("ES256", "alg", json!("RS256")),
        changed("ES256", "x", json!(base64(&[1; 32]))),
        changed("ES256", "y", json!(base64(&[1; 31]))),
        changed("EdDSA", "crv", json!("X25519")),
        changed("EdDSA", "x", json!("AAAA")),
        json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "RS256" }),
        json!({}),
    ];
    for key in other {
        let alone = JwtKeySet::parse(json!({ "keys": [&key] }).to_string().as_bytes());
        assert_eq!(alone, Err(InvalidKeySet::NoKey), "{key}");
        let beside = json!({ "keys": [&key, &good] }).to_string();
        assert_eq!(JwtKeySet::parse(beside.as_bytes()).map(|keys| keys.key_count()), Ok(1), "{key}");
    }
    for key in [
        changed("RS256", "use", json!("sig")),
        changed("RS256", "alg", json!("RS256")),
        changed("RS256", "key_ops", json!(["verify"])),
        changed("RS256", "x5c", json!(["MII"])),
        changed("EdDSA", "alg", json!("Ed25519")),
    ] {
        assert_eq!(set_of(&[key]).key_count(), 1);
    }
    for text in [
        "",
        "[]",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":[1]}",
        "{\"keys\":[{\"kty\":1}]}",
        "\u{feff}{\"keys\":[]}",
        "{\"keys\":[],\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"kty\":\"EC\"}]}",
        "<html>",
    ] {
        assert_eq!(JwtKeySet::parse(text.as_bytes()), Err(InvalidKeySet::Form), "{text}");
    }
    assert_eq!(JwtKeySet::parse(b"{\"keys\":[]}"), Err(InvalidKeySet::NoKey));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_token_with_any_other_character_is_rejected(at in 0..10_000_usize, to in 0_u8..64, algorithm in 0..3_usize) {
        let algorithm = ALGORITHMS[algorithm];
        let good = KEYS.token(algorithm, &header(algorithm), &claims().to_string());
        let at = at % good.len();
        let to = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[usize::from(to)];
        let mut other = good.clone().into_bytes();
        other[at] = to;
        let other = String::from_utf8(other).expect("ASCII");
        prop_assert_eq!(identified(&other).is_ok(), other == good, "{}", other);
    }

    #[test]
    fn no_bytes_cause_a_panic(token in proptest::collection::vec("[ -~]{0,40}", 0..5)) {
        prop_assert!(identified(&token.join(".")).is_err());
    }
}
