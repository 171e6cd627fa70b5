//! Handed-out keys: which verify, where, how long, and what makes them useless.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::caller_origin::CallerOrigin;
use super::derived_keys::DerivedKeys;
use super::directory::CallerDirectory;
use super::hand_out::{HandOutError, HandedOutKey, KeyHandOut, KeyRecipient, is_handed_out};
use super::identity_error::IdentityError;
use super::remove_client_signature;
use super::settings::{CallerKey, CallerSettings, IdentityKinds};
use super::test_request::{KEY_ID, NOW, SECRET, SignedForm, TestRequest};
use crate::policy::CallerRights;
use crate::sealing::MasterKey;
use crate::secret::Secret;
use crate::sign::SigningIdentity;
use crate::time::Timestamp;

const FIRST: &str = "first-master-0123456789abcdef0123";
const SECOND: &str = "second-master-0123456789abcdef012";
const LIFETIME: Duration = Duration::from_secs(3600);

fn hand_out(masters: &[&str]) -> KeyHandOut {
    let master = |text: &&str| MasterKey::new(&Secret::from(*text)).expect("a master");
    KeyHandOut::new(masters.iter().map(master).collect(), LIFETIME, HashSet::new())
}

fn caller(name: &str) -> CallerSettings {
    CallerSettings { name: name.to_owned(), rights: CallerRights::everything(), ..CallerSettings::default() }
}

/// A directory with the callers `one`, which has a static key too, and `two`.
fn directory(masters: &[&str]) -> CallerDirectory {
    let key = CallerKey { id: KEY_ID.to_owned(), secret: Secret::from(SECRET) };
    directory_of(masters, &[CallerSettings { keys: vec![key], ..caller("one") }, caller("two")])
}

fn directory_of(masters: &[&str], callers: &[CallerSettings]) -> CallerDirectory {
    CallerDirectory::new(Some(callers)).handing_out(Some(Arc::new(hand_out(masters))))
}

fn issued(caller: &str) -> HandedOutKey {
    hand_out(&[FIRST]).issue(recipient(caller), NOW, None).expect("a key")
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_unix_s(NOW.unix_s() + seconds)
}

fn get() -> TestRequest {
    TestRequest::new("GET", "a/b+c", "x-oss-process=image/info").header("x-oss-meta-a", "b")
}

fn signed(form: SignedForm, at: Timestamp, key: &HandedOutKey) -> TestRequest {
    let HandedOutKey { id, secret, token, .. } = key;
    get().signed_as(form, at, SigningIdentity { id, secret, token: Some(token) })
}

fn judged(sent: &TestRequest, directory: &CallerDirectory, now: Timestamp) -> Result<String, IdentityError> {
    sent.identify_with(directory, &DerivedKeys::default(), now)
}

fn unexpected(id: &str) -> Result<String, IdentityError> {
    Err(IdentityError::UnexpectedToken { id: id.to_owned() })
}

#[test]
fn a_handed_out_key_signs_for_its_caller_in_each_form_and_leaves_no_token() {
    for name in ["one", "two"] {
        let key = issued(name);
        assert!(is_handed_out(&key.id) && key.expires == later(3600), "{}", key.id);
        assert!(key.secret.expose().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!((key.id.len(), key.secret.expose().len()), (27, 48));
        for form in SignedForm::ALL {
            let mut sent = signed(form, NOW, &key);
            assert_eq!(judged(&sent, &directory(&[FIRST]), NOW), Ok(name.to_owned()), "{form:?}");
            remove_client_signature(&mut sent.headers, &mut sent.query);
            let mut left = format!("{:?}", sent.headers);
            sent.query.write(&mut left);
            assert!(!left.contains(key.token.expose()) && !left.contains("token"), "{left}");
        }
    }
    assert_ne!(issued("one").id, issued("one").id);
}

#[test]
fn the_token_may_be_in_the_header_of_sdks_that_do_not_sign_it() {
    let key = issued("one");
    let plain = get().signed_with(SignedForm::V1Header, NOW, &key.id, key.secret.expose());
    let with = |name: &str| plain.clone().header(name, key.token.expose());
    assert_eq!(judged(&with("security-token"), &directory(&[FIRST]), NOW), Ok("one".to_owned()));
    // It signs each header of OSS.
    let added = judged(&with("x-oss-security-token"), &directory(&[FIRST]), NOW);
    assert!(matches!(added, Err(IdentityError::Mismatch(_))), "{added:?}");
    let both = with("security-token").header("x-oss-security-token", key.token.expose());
    assert_eq!(judged(&both, &directory(&[FIRST]), NOW), unexpected(&key.id));
}

#[test]
fn a_handed_out_id_without_its_token_or_with_another_is_unknown() {
    let key = issued("one");
    let other = issued("one");
    let stranger = hand_out(&[SECOND]).issue(recipient("one"), NOW, None).expect("a key");
    for form in SignedForm::ALL {
        let bare = get().signed_with(form, NOW, &key.id, key.secret.expose());
        assert_eq!(judged(&bare, &directory(&[FIRST]), NOW), unexpected(&key.id), "{form:?}");
        let garbage = Secret::from("garbage");
        let huge = Secret::new("A".repeat(4096));
        for token in [&other.token, &stranger.token, &garbage, &huge] {
            let identity = SigningIdentity { id: &key.id, secret: &key.secret, token: Some(token) };
            let sent = get().signed_as(form, NOW, identity);
            assert_eq!(judged(&sent, &directory(&[FIRST]), NOW), unexpected(&key.id), "{form:?}");
        }
        // The secret of another key does not fit either.
        let identity = SigningIdentity { id: &key.id, secret: &other.secret, token: Some(&key.token) };
        let sent = get().signed_as(form, NOW, identity);
        let mismatch = judged(&sent, &directory(&[FIRST]), NOW);
        assert!(matches!(mismatch, Err(IdentityError::Mismatch(_))), "{form:?} {mismatch:?}");
    }
}

#[test]
fn a_static_key_with_a_handed_out_token_is_rejected() {
    let key = issued("one");
    for form in SignedForm::ALL {
        let secret = &Secret::from(SECRET);
        let sent =
            get().signed_as(form, NOW, SigningIdentity { id: KEY_ID, secret, token: Some(&key.token) });
        assert_eq!(judged(&sent, &directory(&[FIRST]), NOW), unexpected(KEY_ID), "{form:?}");
    }
}

#[test]
fn a_mismatch_shows_no_token() {
    let key = issued("one");
    for form in SignedForm::ALL {
        let mut sent = signed(form, NOW, &key);
        sent.set("x-oss-meta-a", "changed");
        let Err(error @ IdentityError::Mismatch(_)) = judged(&sent, &directory(&[FIRST]), NOW) else {
            panic!("{form:?}");
        };
        let elements = format!("{:?}", error.elements());
        assert!(elements.contains("changed") && elements.contains("***"), "{elements}");
        assert!(!elements.contains(key.token.expose()), "{elements}");
    }
}

#[test]
fn a_key_is_valid_until_its_end_and_no_request_after_it() {
    let key = issued("one");
    for form in [SignedForm::V1Header, SignedForm::V4Header] {
        for (seconds, is_valid) in [(0, true), (3599, true), (3600, false), (86_400, false)] {
            let sent = signed(form, later(seconds), &key);
            let result = judged(&sent, &directory(&[FIRST]), later(seconds));
            let expired = IdentityError::TokenExpired { expires: later(3600), server_time: later(seconds) };
            assert_eq!(
                result,
                if is_valid { Ok("one".to_owned()) } else { Err(expired) },
                "{form:?} {seconds}"
            );
        }
    }
    let error = IdentityError::TokenExpired { expires: NOW, server_time: NOW };
    assert_eq!(error.to_string(), "The security token you provided has expired.");
}

#[test]
fn no_upstream_revives_a_key_by_moving_the_time_of_signatures() {
    let key = issued("one");
    let (directory, keys) = (directory(&[FIRST]), DerivedKeys::default());
    let sent = signed(SignedForm::V4Header, NOW, &key);
    let valid = sent.identify_at_two_times(&directory, &keys, NOW, NOW);
    assert_eq!(valid, Ok("one".to_owned()));
    let expired = sent.identify_at_two_times(&directory, &keys, NOW, key.expires);
    assert!(matches!(expired, Err(IdentityError::TokenExpired { .. })), "{expired:?}");
}

#[test]
fn a_key_ends_with_the_identity_of_the_client_and_none_is_made_after_it() {
    let issue = |ends| hand_out(&[FIRST]).issue(recipient("one"), NOW, Some(later(ends)));
    for (ends, expires) in [(60, 60), (3600, 3600), (86_400, 3600)] {
        let key = issue(ends).expect("a key");
        assert_eq!(key.expires, later(expires));
        let at = later(expires);
        let sent = signed(SignedForm::V4Header, at, &key);
        assert!(matches!(judged(&sent, &directory(&[FIRST]), at), Err(IdentityError::TokenExpired { .. })));
    }
    for ends in [0, -1] {
        assert_eq!(issue(ends).err(), Some(HandOutError::Ended));
    }
}

#[test]
fn keys_issued_before_credentials_not_before_are_invalid() {
    for (seconds, expected) in [(-1, true), (0, false), (1, false)] {
        let one = CallerSettings { credentials_not_before: Some(later(seconds)), ..caller("one") };
        let directory = directory_of(&[FIRST], &[one, caller("two")]);
        let sent = |name| signed(SignedForm::V4Header, NOW, &issued(name));
        let result = judged(&sent("one"), &directory, NOW);
        assert_eq!(result, if expected { Ok("one".to_owned()) } else { Err(IdentityError::TokenTooOld) });
        assert_eq!(judged(&sent("two"), &directory, NOW), Ok("two".to_owned()));
    }
}

#[test]
fn the_key_of_a_caller_that_is_gone_is_unknown() {
    let sent = signed(SignedForm::V4Header, NOW, &issued("one"));
    let unknown = |result| matches!(result, Err(IdentityError::UnknownKey { .. }));
    assert!(unknown(judged(&sent, &directory_of(&[FIRST], &[caller("two")]), NOW)));
    // Without masters, no key is known.
    assert!(unknown(judged(&sent, &CallerDirectory::new(Some(&[caller("one")])), NOW)));
}

#[test]
fn a_revoked_id_is_rejected_and_other_keys_of_its_caller_are_not() {
    let key = issued("one");
    let revoked = HashSet::from([key.id.clone()]);
    let master = MasterKey::new(&Secret::from(FIRST)).expect("a master");
    let hand_out = KeyHandOut::new(vec![master], LIFETIME, revoked);
    let directory = CallerDirectory::new(Some(&[caller("one")])).handing_out(Some(Arc::new(hand_out)));
    let judge = |key| judged(&signed(SignedForm::V4Header, NOW, key), &directory, NOW);
    assert_eq!(judge(&key), unexpected(&key.id));
    assert_eq!(judge(&issued("one")), Ok("one".to_owned()));
}

#[test]
fn two_masters_overlap_in_a_rotation() {
    let old = issued("one");
    let rotating = hand_out(&[SECOND, FIRST]);
    let new = rotating.issue(recipient("one"), NOW, None).expect("a key");
    let accepts = |masters: &[&str], key| {
        judged(&signed(SignedForm::V4Header, NOW, key), &directory(masters), NOW).is_ok()
    };
    for (masters, expected) in [
        (&[FIRST][..], [true, false]),
        (&[FIRST, SECOND], [true, true]),
        (&[SECOND, FIRST], [true, true]),
        (&[SECOND], [false, true]),
        (&[], [false, false]),
    ] {
        assert_eq!([accepts(masters, &old), accepts(masters, &new)], expected, "{masters:?}");
    }
}

#[test]
fn a_listener_without_keys_accepts_no_handed_out_key() {
    let kinds = IdentityKinds { token: true, ..IdentityKinds::default() };
    let directory = directory(&[FIRST]);
    for form in SignedForm::ALL {
        let sent = signed(form, NOW, &issued("one"));
        let result = sent.identify_of_kinds(kinds, &directory, &DerivedKeys::default());
        assert!(matches!(result, Err(IdentityError::Malformed(_))), "{form:?} {result:?}");
    }
}

#[test]
fn derived_keys_are_those_of_one_handed_out_key() {
    let keys = DerivedKeys::default();
    let directory = directory(&[FIRST]);
    let cost = |key: &HandedOutKey, secret: &Secret| {
        let identity = SigningIdentity { id: &key.id, secret, token: Some(&key.token) };
        let sent = get().signed_as(SignedForm::V4Header, NOW, identity);
        let before = keys.computed();
        let accepted = sent.identify_with(&directory, &keys, NOW).is_ok();
        (accepted, keys.computed() - before)
    };
    let (one, two) = (issued("one"), issued("two"));
    assert_eq!([cost(&one, &one.secret), cost(&one, &one.secret)], [(true, 5), (true, 1)]);
    assert_eq!([cost(&two, &two.secret), cost(&two, &two.secret)], [(true, 5), (true, 1)]);
    assert!(!cost(&two, &one.secret).0 && !cost(&one, &two.secret).0);
    // An invalid token costs as much as a wrong signature.
    let foreign = HandedOutKey { id: one.id.clone(), token: issued("one").token, ..issued("one") };
    let _ = cost(&foreign, &one.secret);
    assert_eq!([cost(&foreign, &one.secret), cost(&one, &two.secret)], [(false, 2), (false, 2)]);
}

proptest! {
    #[test]
    fn no_altered_token_or_id_is_accepted(
        form in 0..4_usize,
        in_token in any::<bool>(),
        at in any::<prop::sample::Index>(),
        other in "[A-Za-z0-9_-]",
    ) {
        let key = issued("one");
        let (mut id, mut token) = (key.id.clone(), key.token.expose().to_owned());
        let text = if in_token { &mut token } else { &mut id };
        let at = at.index(text.len());
        let before = text.clone();
        text.replace_range(at..=at, &other);
        prop_assume!(*text != before);
        let secret = &key.secret;
        let altered = &Secret::new(token);
        let identity = SigningIdentity { id: &id, secret, token: Some(altered) };
        let sent = get().signed_as(SignedForm::ALL[form], NOW, identity);
        prop_assert!(judged(&sent, &directory(&[FIRST]), NOW).is_err());
    }
}

#[test]
fn a_preflight_has_the_caller_of_the_handed_out_key_in_its_url() {
    let key = issued("two");
    for form in [SignedForm::V1Url, SignedForm::V4Url] {
        let mut sent = signed(form, NOW, &key);
        sent.method = http::Method::OPTIONS;
        sent.headers.clear();
        assert_eq!(judged(&sent, &directory(&[FIRST]), NOW), Ok("two".to_owned()), "{form:?}");
        assert!(judged(&sent, &directory(&[SECOND]), NOW).is_err(), "{form:?}");
        assert!(judged(&sent, &directory(&[FIRST]), later(3601)).is_err(), "{form:?}");
    }
}

#[test]
fn urls_of_handed_out_keys_are_valid_for_no_longer_than_their_caller_may_sign() {
    let key = issued("one");
    let limited = |max_s| {
        let presign_max = Some(Duration::from_secs(max_s));
        directory_of(&[FIRST], &[CallerSettings { presign_max, ..caller("one") }])
    };
    for form in [SignedForm::V1Url, SignedForm::V4Url] {
        let sent = signed(form, NOW, &key);
        assert_eq!(judged(&sent, &limited(600), NOW), Ok("one".to_owned()), "{form:?}");
        assert_eq!(
            judged(&sent, &limited(599), NOW),
            Err(IdentityError::LongLived { max_s: 599 }),
            "{form:?}"
        );
    }
}

#[test]
fn a_handed_out_key_is_not_of_a_later_owner_of_the_name() {
    let of_file = |file: Option<&str>| {
        let origin = CallerOrigin { team_file: file.map(Into::into), ..CallerOrigin::default() };
        directory_of(&[FIRST], &[CallerSettings { origin, ..caller("one") }])
    };
    let files = [None, Some("a.toml"), Some("b.toml")];
    for (issuer, owner) in files.into_iter().enumerate() {
        let directory = of_file(owner);
        let key = directory.issue_key(&directory.callers()[0], NOW, None).expect("masters").expect("a key");
        for (verifier, other) in files.into_iter().enumerate() {
            let found = of_file(other).handed_out(&key.id, key.token.expose(), NOW);
            assert_eq!(found.is_ok(), issuer == verifier, "{owner:?} {other:?}");
        }
    }
}

#[test]
fn no_key_is_handed_out_that_would_be_rejected() {
    let directory = |not_before| {
        directory_of(
            &[FIRST],
            &[CallerSettings { credentials_not_before: Some(not_before), ..caller("one") }],
        )
    };
    for (not_before, usable) in [(later(-1), true), (NOW, false), (later(60), false)] {
        let directory = directory(not_before);
        let issued = directory.issue_key(&directory.callers()[0], NOW, None).expect("masters");
        assert_eq!(issued.as_ref().err().copied(), (!usable).then_some(HandOutError::NotYet(not_before)));
        let before = hand_out(&[FIRST]).issue(recipient("one"), NOW, None).expect("a key");
        assert_eq!(directory.handed_out(&before.id, before.token.expose(), NOW).is_ok(), usable);
    }
}

/// A caller of the main file.
fn recipient(name: &str) -> KeyRecipient<'_> {
    KeyRecipient { name, ..KeyRecipient::default() }
}
