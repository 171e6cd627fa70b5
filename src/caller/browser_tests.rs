//! Tests of presigned URLs in browsers: their lifetime, and their preflights.

use std::time::Duration;

use super::derived_keys::DerivedKeys;
use super::directory::CallerDirectory;
use super::settings::{CallerKey, CallerSettings, IdentityKinds};
use super::test_request::{KEY_ID, NOW, SECRET, SignedForm, TestRequest, URL_LIFETIME, directory};
use super::tests::{error, get, later};
use super::{CallerIdentity, IdentityProof};
use crate::secret::Secret;

#[test]
fn presigned_urls_are_valid_for_no_longer_than_their_caller_may_sign() {
    let limited = |max_s| {
        let key = CallerKey { id: KEY_ID.to_owned(), secret: Secret::from(SECRET) };
        let presign_max = Some(Duration::from_secs(max_s));
        let settings = CallerSettings { presign_max, keys: vec![key], ..CallerSettings::default() };
        CallerDirectory::new(Some(&[settings]))
    };
    let life = URL_LIFETIME.as_secs();
    for form in SignedForm::ALL {
        let identify = |max_s, now| {
            let signed = get().signed(form);
            error(signed.identify_with(&limited(max_s), &DerivedKeys::default(), now))
        };
        assert_eq!(identify(life, NOW), "accepted", "{form:?}");
        let longer = if form.is_url() { "long-lived" } else { "accepted" };
        assert_eq!(identify(life - 1, NOW), longer, "{form:?}");
        // Only the remaining time of a V1 URL is known.
        let next = if form == SignedForm::V4Url { "long-lived" } else { "accepted" };
        assert_eq!(identify(life - 1, later(1)), next, "{form:?}");
        let wrong = get().signed_with(form, NOW, KEY_ID, "other");
        assert_eq!(
            error(wrong.identify_with(&limited(1), &DerivedKeys::default(), NOW)),
            "mismatch",
            "{form:?}"
        );
    }
}

#[test]
fn a_preflight_has_the_caller_of_the_url_that_it_announces() {
    for form in [SignedForm::V1Url, SignedForm::V4Url] {
        // The method and the content type are signed, and a preflight has neither.
        let mut sent = TestRequest::new("PUT", "k", "").header("content-type", "image/png").signed(form);
        sent.method = http::Method::OPTIONS;
        sent.headers.clear();
        assert_eq!(sent.identify(), Ok("one".to_owned()), "{form:?}");
        let kinds = IdentityKinds { token: true, ..IdentityKinds::default() };
        let identified = sent.identify_of_kinds(kinds, &directory(false), &DerivedKeys::default());
        assert_eq!(error(identified), "no token", "{form:?}");
        let mut unknown = get().signed_with(form, NOW, "nobody", SECRET);
        unknown.method = http::Method::OPTIONS;
        assert_eq!(error(unknown.identify()), "no token", "{form:?}");
        sent.set("authorization", "Bearer wrong");
        assert_ne!(error(sent.identify()), "accepted", "{form:?}");
    }
}

#[test]
fn a_preflight_uses_up_no_limit_of_the_caller_that_it_announces() {
    let directory = directory(false);
    let caller = &directory.callers()[0];
    for (proof, expected) in [
        (IdentityProof::Announced, None),
        (IdentityProof::PresignedUrl, Some(caller)),
        (IdentityProof::Open, Some(caller)),
    ] {
        let identity = CallerIdentity::Known { caller: caller.clone(), proof, expires: None };
        assert_eq!(identity.proven(), expected, "{proof:?}");
    }
}
