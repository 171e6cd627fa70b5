//! Tests of identification: what is accepted, what is rejected, and why.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::IdentityError;
use super::derived_keys::DerivedKeys;
use super::directory::CallerDirectory;
use super::identity_error::MalformedKind;
use super::settings::IdentityKinds;
use super::test_request::{KEY_ID, NOW, SECRET, SignedForm, TOKEN, TestRequest, URL_LIFETIME, directory};
use crate::time::Timestamp;

pub(super) fn get() -> TestRequest {
    TestRequest::new("GET", "a/b+c", "x-oss-process=image/info")
}

/// The name of an error, in short.
pub(super) fn error(result: Result<String, IdentityError>) -> &'static str {
    match result {
        Ok(_) => "accepted",
        Err(IdentityError::Missing) => "missing",
        Err(IdentityError::NoToken | IdentityError::NoTokenAlone) => "no token",
        Err(IdentityError::UnknownToken) => "unknown token",
        Err(IdentityError::UnknownPeer) => "unknown peer",
        Err(IdentityError::CertificateUsage) => "certificate usage",
        Err(IdentityError::ExpiredCertificate { .. }) => "expired certificate",
        Err(IdentityError::WithdrawnCertificate) => "withdrawn certificate",
        Err(IdentityError::Jwt(_)) => "jwt",
        Err(IdentityError::UnknownKey { .. }) => "unknown",
        Err(IdentityError::UnexpectedToken { .. }) => "token",
        Err(IdentityError::TokenExpired { .. }) => "token expired",
        Err(IdentityError::TokenTooOld) => "token too old",
        Err(IdentityError::UnsignedParameter(_)) => "unsigned parameter",
        Err(IdentityError::Mismatch(_)) => "mismatch",
        Err(IdentityError::UrlParameter(_)) => "url parameter",
        Err(IdentityError::OtherDay { .. }) => "other day",
        Err(IdentityError::Skewed { .. }) => "skewed",
        Err(IdentityError::Expired { .. }) => "expired",
        Err(IdentityError::LongLived { .. }) => "long-lived",
        Err(IdentityError::NotYetValid { .. }) => "not yet",
        Err(IdentityError::Malformed(malformed)) => match malformed.kind() {
            MalformedKind::Argument => "argument",
            MalformedKind::Denied => "denied",
        },
    }
}

pub(super) fn later(seconds: i64) -> Timestamp {
    Timestamp::from_unix_s(NOW.unix_s() + seconds)
}

#[test]
fn each_form_of_a_right_signature_identifies_its_caller() {
    for form in SignedForm::ALL {
        assert_eq!(get().signed(form).identify(), Ok("one".to_owned()), "{form:?}");
        for secret in ["old-secret", "new-secret"] {
            let signed = get().signed_with(form, NOW, "two-1", secret);
            assert_eq!(signed.identify(), Ok("two".to_owned()), "{form:?} {secret}");
        }
    }
}

#[test]
fn wrong_secrets_and_unknown_ids_are_rejected_in_each_form() {
    for form in SignedForm::ALL {
        assert_eq!(error(get().signed_with(form, NOW, KEY_ID, "other").identify()), "mismatch", "{form:?}");
        assert_eq!(error(get().signed_with(form, NOW, "one-2", SECRET).identify()), "unknown", "{form:?}");
        assert_eq!(error(get().signed_with(form, NOW, "LTAI5t", SECRET).identify()), "unknown", "{form:?}");
    }
}

#[test]
fn an_unknown_id_costs_as_many_hmacs_as_a_wrong_signature() {
    let directory = directory(false);
    for form in SignedForm::ALL {
        let cost = |id: &str| {
            let keys = DerivedKeys::default();
            let signed = get().signed_with(form, NOW, id, "wrong");
            let costs = [(); 2].map(|()| {
                let before = keys.computed();
                assert!(signed.identify_with(&directory, &keys, NOW).is_err());
                keys.computed() - before
            });
            // Derivation costs four HMACs for each of the two secrets, once.
            costs
        };
        let expected =
            if matches!(form, SignedForm::V4Header | SignedForm::V4Url) { [10, 2] } else { [2, 2] };
        assert_eq!([cost(KEY_ID), cost("two-1"), cost("unknown")], [expected; 3], "{form:?}");
    }
}

#[test]
fn the_signature_of_a_caller_with_one_secret_costs_one_hmac() {
    let keys = DerivedKeys::default();
    let signed = get().signed(SignedForm::V4Header);
    let directory = directory(false);
    for expected in [5, 1] {
        let before = keys.computed();
        assert!(signed.identify_with(&directory, &keys, NOW).is_ok());
        assert_eq!(keys.computed() - before, expected);
    }
}

#[test]
fn headers_are_accepted_15_minutes_around_their_time() {
    for form in [SignedForm::V1Header, SignedForm::V4Header] {
        for (seconds, expected) in
            [(-901, "skewed"), (-900, "accepted"), (900, "accepted"), (901, "skewed"), (86_400, "skewed")]
        {
            let signed = get().signed_with(form, later(seconds), KEY_ID, SECRET);
            assert_eq!(error(signed.identify()), expected, "{form:?} {seconds}");
        }
    }
}

#[test]
fn urls_are_accepted_until_their_end_and_v4_urls_from_15_minutes_before_their_time() {
    let life = i64::try_from(URL_LIFETIME.as_secs()).expect("a lifetime");
    let rows = [
        (SignedForm::V1Url, life, "accepted"),
        (SignedForm::V1Url, life + 1, "expired"),
        (SignedForm::V1Url, -86_400, "accepted"),
        (SignedForm::V4Url, life, "accepted"),
        (SignedForm::V4Url, life + 1, "expired"),
        (SignedForm::V4Url, -900, "accepted"),
        (SignedForm::V4Url, -901, "not yet"),
    ];
    for (form, seconds, expected) in rows {
        assert_eq!(error(get().signed(form).identify_at(later(seconds))), expected, "{form:?} {seconds}");
    }
}

#[test]
fn a_day_in_the_scope_that_is_not_that_of_the_request_is_reported_before_the_skew() {
    let mut signed = get().signed(SignedForm::V4Header);
    let authorization = signed.text("authorization").replace("/20231216/", "/20231215/");
    signed.set("authorization", &authorization);
    assert_eq!(error(signed.identify_at(later(100_000))), "other day");
    let error = IdentityError::OtherDay { server_time: NOW };
    assert_eq!(error.to_string(), "Invalid signing date in Authorization header.");
    assert_eq!(error.elements(), [("ServerTime", "2023-12-16T16:20:57.000Z".to_owned())]);
}

#[test]
fn requests_with_two_signatures_are_rejected() {
    let v4 = get().signed(SignedForm::V4Header);
    let mut header_and_url = get().signed(SignedForm::V4Url);
    header_and_url.set("authorization", &v4.text("authorization"));
    let mut both_urls = get().signed(SignedForm::V4Url);
    both_urls.set_parameter("Signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let mut two_lines = v4.clone();
    two_lines.headers.append("authorization", v4.headers["authorization"].clone());
    for sent in [header_and_url, both_urls, two_lines] {
        assert_eq!(error(sent.identify()), "argument", "{sent:?}");
    }
    // These would be removed after the verification.
    for (form, name) in [
        (SignedForm::V4Header, "Expires"),
        (SignedForm::V4Header, "x-oss-date"),
        (SignedForm::V4Header, "x-oss-expires"),
        (SignedForm::V1Header, "x-oss-additional-headers"),
        (SignedForm::V4Url, "Expires"),
    ] {
        let sent = TestRequest::new("GET", "a", &format!("{name}=1")).signed(form);
        assert_eq!(error(sent.identify()), "argument", "{form:?} {name}");
    }
}

#[test]
fn an_empty_authorization_is_no_signature() {
    assert_eq!(error(get().header("authorization", "").identify()), "no token");
    let signed = get().signed(SignedForm::V4Url).header("authorization", "");
    assert_eq!(error(signed.identify()), "accepted");
}

#[test]
fn authorizations_that_cannot_be_read_are_rejected() {
    let rows = [
        ("OSS one-1:AAAA", "argument"),
        ("OSS one-1", "argument"),
        ("OSS o e:AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "argument"),
        ("oss one-1:AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "argument"),
        ("OSS2 AccessKeyId:one-1,Signature:x", "argument"),
        ("AWS4-HMAC-SHA256 Credential=x", "argument"),
        ("AWS one-1:x", "argument"),
        ("Bearer x", "unknown token"),
        ("Basic x", "argument"),
        ("one", "argument"),
        ("OSS4-HMAC-SHA256 Credential=one-1/20231216/cn-hangzhou/oss/aliyun_v4_request", "argument"),
        ("OSS4-HMAC-SHA256 Signature=00", "argument"),
    ];
    for (authorization, expected) in rows {
        let sent = get()
            .header("date", "Sat, 16 Dec 2023 16:20:57 GMT")
            .header("x-oss-content-sha256", "UNSIGNED-PAYLOAD")
            .header("authorization", authorization);
        assert_eq!(error(sent.identify()), expected, "{authorization}");
    }
}

#[test]
fn the_fields_of_a_v4_authorization_may_be_reordered_and_spaced_but_not_repeated_or_extended() {
    let signed = get().signed(SignedForm::V4Header);
    let text = signed.text("authorization");
    let (credential, signature) = text.split_once(",Signature=").expect("two fields");
    let credential = credential.strip_prefix("OSS4-HMAC-SHA256 ").expect("the algorithm");
    let rows = [
        (format!("OSS4-HMAC-SHA256 Signature={signature}, {credential}"), "accepted"),
        (format!("OSS4-HMAC-SHA256   {credential} , Signature={}", signature.to_uppercase()), "accepted"),
        (format!("{text},{credential}"), "argument"),
        (format!("{text},Other=1"), "argument"),
        (format!("{text},"), "argument"),
        (format!("{text},AdditionalHeaders="), "argument"),
        (format!("{text},AdditionalHeaders=host"), "argument"),
        (text.replace("/oss/", "/oss-cloudbox/"), "argument"),
        (text.replace("/oss/", "/s3/"), "argument"),
        (text.replace("/cn-hangzhou/", "/CN/"), "argument"),
        (text.replace("/cn-hangzhou/", "/cn-beijing/"), "mismatch"),
        (text.replace("aliyun_v4_request", "aliyun_v4"), "argument"),
        (text.replace("/oss/", "/oss/x/"), "argument"),
    ];
    for (authorization, expected) in rows {
        let sent = signed.clone().header("authorization", &authorization);
        assert_eq!(error(sent.identify()), expected, "{authorization}");
    }
}

#[test]
fn dates_that_are_missing_or_unreadable_are_rejected() {
    for form in [SignedForm::V1Header, SignedForm::V4Header] {
        let mut none = get().signed(form);
        none.headers.remove("date");
        none.headers.remove("x-oss-date");
        assert_eq!(error(none.identify()), "denied", "{form:?}");
        for text in ["1702743657", "yesterday"] {
            let mut sent = get().signed(form);
            sent.headers.remove("x-oss-date");
            sent.set("date", text);
            assert_eq!(error(sent.identify()), "denied", "{form:?} {text}");
        }
    }
}

#[test]
fn a_v4_signature_may_have_the_http_date_as_sent_or_in_the_iso_form() {
    use crate::sign::v4;
    for (signed_date, expected) in [
        ("Sat, 16 Dec 2023 16:20:57 GMT", "accepted"),
        ("20231216T162057Z", "accepted"),
        ("20231216T162058Z", "mismatch"),
    ] {
        let mut sent = get().header("x-oss-content-sha256", "UNSIGNED-PAYLOAD");
        sent.set("date", "Sat, 16 Dec 2023 16:20:57 GMT");
        let canonical = v4::canonical_request(&sent.signable(), &[], &[]);
        let scope = v4::CredentialScope {
            day: NOW.day(),
            region: "cn-hangzhou",
            product: crate::oss::SigningProduct::Oss,
        };
        let key = v4::DayKey::derive(KEY_ID, &SECRET.into(), scope);
        let signature = key.signature(&key.string_to_sign(&canonical, signed_date));
        let scope = scope.to_text();
        let text = format!("OSS4-HMAC-SHA256 Credential={KEY_ID}/{scope},Signature={signature}");
        sent.set("authorization", &text);
        assert_eq!(error(sent.identify()), expected, "{signed_date}");
    }
}

#[test]
fn the_signature_of_a_v1_url_is_not_valid_in_a_header() {
    let url = get().signed(SignedForm::V1Url);
    let sent = get()
        .header("authorization", &format!("OSS {KEY_ID}:{}", url.parameter("Signature")))
        .header("date", &url.parameter("Expires"));
    assert_eq!(error(sent.identify()), "denied");
}

#[test]
fn a_part_of_a_v4_url_is_not_ignored_beside_another_identity() {
    for name in ["x-oss-date", "x-oss-expires", "x-oss-additional-headers"] {
        let part = TestRequest::new("GET", "a", &format!("{name}=60"));
        assert_eq!(error(part.identify()), "argument", "{name}");
    }
}

#[test]
fn the_error_for_a_request_without_an_identity_names_only_what_the_listener_accepts() {
    let text = |kinds: IdentityKinds| {
        let request = TestRequest::new("GET", "a", "");
        let found = request.identify_of_kinds(kinds, &directory(false), &DerivedKeys::default());
        found.expect_err("no identity").to_string()
    };
    let of = |key: bool, token: bool| text(IdentityKinds { key, token, ..IdentityKinds::default() });
    let (both, token, key) = (of(true, true), of(false, true), of(true, false));
    assert!(both.contains("access key") && both.contains("bearer token"), "{both}");
    assert!(!token.contains("access key") && token.contains("bearer token"), "{token}");
    assert!(key.contains("access key") && !key.contains("token"), "{key}");
}

#[test]
fn incomplete_urls_are_rejected() {
    let rows = [
        (SignedForm::V1Url, "OSSAccessKeyId", "denied"),
        (SignedForm::V1Url, "Expires", "denied"),
        (SignedForm::V1Url, "Signature", "denied"),
        (SignedForm::V4Url, "x-oss-signature-version", "argument"),
        (SignedForm::V4Url, "x-oss-credential", "argument"),
        (SignedForm::V4Url, "x-oss-expires", "argument"),
        (SignedForm::V4Url, "x-oss-date", "argument"),
        (SignedForm::V4Url, "x-oss-signature", "argument"),
    ];
    for (form, name, expected) in rows {
        let mut sent = get().signed(form);
        sent.query.remove(|known| known == name.as_bytes());
        assert_eq!(error(sent.identify()), expected, "{name}");
    }
}

#[test]
fn lifetimes_that_oss_rejects_are_rejected() {
    for (form, name) in [(SignedForm::V1Url, "Expires"), (SignedForm::V4Url, "x-oss-expires")] {
        for text in ["", "-1", "+60", "1e3", "6 0", "0x10"] {
            let mut sent = get().signed(form);
            sent.set_parameter(name, text);
            assert!(["denied", "argument"].contains(&error(sent.identify())), "{name} {text:?}");
        }
    }
    for text in ["0", "604801", "99999999999999999999"] {
        let mut sent = get().signed(SignedForm::V4Url);
        sent.set_parameter("x-oss-expires", text);
        assert_eq!(error(sent.identify()), "argument", "{text}");
    }
}

#[test]
fn signed_headers_and_parameters_must_not_be_doubled() {
    for form in SignedForm::ALL {
        let mut nameless = get().signed(form);
        nameless.query.push("", "");
        assert_eq!(error(nameless.identify()), "argument", "{form:?}");
        let mut parameter = get().signed(form);
        parameter.query.push("x-oss-process", "image/info");
        assert_eq!(error(parameter.identify()), "argument", "{form:?}");
        for name in ["x-oss-meta-a", "content-type", "date"] {
            let mut header = get().header(name, "a").signed(form);
            header.headers.append(
                http::HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                http::HeaderValue::from_static("a"),
            );
            assert_eq!(error(header.identify()), "argument", "{form:?} {name}");
        }
    }
}

#[test]
fn headers_that_look_like_those_of_oss_are_rejected() {
    for (name, expected) in
        [("x_oss_date", "argument"), ("x-oss_acl", "argument"), ("x-oss-meta-a_b", "accepted")]
    {
        let sent = get().header(name, "a").signed(SignedForm::V4Header);
        assert_eq!(error(sent.identify()), expected, "{name}");
    }
}

#[test]
fn a_v1_signature_accepts_no_parameter_that_it_does_not_cover() {
    let header = |query: &str| {
        let mut sent = get().signed(SignedForm::V1Header);
        sent.query = crate::oss::Query::parse(query).expect("a query");
        error(sent.identify())
    };
    let own = "x-oss-process=image/info";
    assert_eq!(header(own), "accepted");
    for unsigned in ["prefix=a", "marker=b&max-keys=3", "regions"] {
        assert_eq!(header(&format!("{own}&{unsigned}")), "accepted", "{unsigned}");
    }
    for unknown in ["resourcegroup", "ACL", "x", "x=y"] {
        assert_eq!(header(&format!("{own}&{unknown}")), "unsigned parameter", "{unknown}");
    }
    for signed in ["acl", "versionId=v", "tagging", "x-oss-a=b"] {
        assert_eq!(header(&format!("{own}&{signed}")), "mismatch", "{signed}");
    }
}

#[test]
fn v1_urls_select_only_what_is_usually_presigned() {
    let rows = [
        ("GET", "versionId=v&response-content-type=text/plain", "accepted"),
        ("PUT", "partNumber=1&uploadId=u", "accepted"),
        ("POST", "uploads", "accepted"),
        ("POST", "append&position=0", "accepted"),
        ("GET", "acl", "url parameter"),
        ("PUT", "tagging", "url parameter"),
        ("GET", "symlink", "url parameter"),
        ("PUT", "callback=e30=", "url parameter"),
        ("GET", "x-oss-unknown=1", "url parameter"),
    ];
    for (method, query, expected) in rows {
        let sent = TestRequest::new(method, "a", query).signed(SignedForm::V1Url);
        assert_eq!(error(sent.identify()), expected, "{method} {query}");
        let v4 = TestRequest::new(method, "a", query).signed(SignedForm::V4Url);
        assert_eq!(error(v4.identify()), "accepted", "{method} {query}");
    }
    // A key that ends in such a parameter is another resource with the same text.
    let mut sent = TestRequest::new("GET", "a?acl", "").signed(SignedForm::V1Url);
    assert_eq!(error(sent.identify()), "accepted");
    sent.key = crate::oss::Key::from_bytes(b"a".to_vec()).expect("a key");
    sent.query.push("acl", "");
    assert_eq!(error(sent.identify()), "url parameter");
    // The URL of a key that begins with `?` is not valid for the bucket.
    for query in ["response-content-type=a", "continuation-token=x", "versionId=v", "uploads"] {
        let mut sent = TestRequest::new("GET", &format!("?{query}"), "").signed(SignedForm::V1Url);
        assert_eq!(error(sent.identify()), "accepted", "{query}");
        sent.key = crate::oss::Key::default();
        let (name, value) = query.split_once('=').unwrap_or((query, ""));
        sent.query.push(name, value);
        sent.query.push("prefix", "");
        assert_eq!(error(sent.identify()), "url parameter", "{query}");
    }
    let listing = TestRequest::new("GET", "", "prefix=a").signed(SignedForm::V1Url);
    assert_eq!(error(listing.identify()), "accepted");
}

#[test]
fn a_token_with_the_key_of_a_caller_is_rejected_wherever_it_is() {
    for form in SignedForm::ALL {
        for name in ["x-oss-security-token", "security-token"] {
            let header = get().header(name, "t").signed(form);
            assert_eq!(error(header.identify()), "token", "{form:?} {name}");
        }
    }
    let url = TestRequest::new("GET", "a", "security-token=t").signed(SignedForm::V1Url);
    assert_eq!(error(url.identify()), "token");
    let url = TestRequest::new("GET", "a", "x-oss-security-token=t").signed(SignedForm::V4Url);
    assert_eq!(error(url.identify()), "token");
}

#[test]
fn additional_headers_are_verified_as_declared() {
    use crate::sign::v4::{self, AdditionalHeaders};
    let rows = [
        ("host;range", "accepted"),
        // Go SDKs repeat a name that is given in two spellings, and list signed headers.
        ("Host;host;range", "accepted"),
        ("host;range;x-oss-meta-a", "accepted"),
        ("range;host", "accepted"),
        ("host;absent", "argument"),
        ("host;", "argument"),
        ("host;user_agent", "argument"),
    ];
    for (list, expected) in rows {
        let sent = get().header("host", "bucket-a.example").header("range", "bytes=0-1");
        let sent = sent.header("x-oss-meta-a", "1").header("user_agent", "a").signed(SignedForm::V4Header);
        let kept: Vec<&str> = list.split(';').filter(|name| !name.starts_with("x-oss-")).collect();
        let names: Vec<String> = kept.iter().map(|name| name.to_lowercase()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let additional = AdditionalHeaders { names: &names, list: &kept.join(";") };
        let mut unsigned = sent.clone();
        unsigned.headers.remove("authorization");
        let canonical = v4::write_canonical_request(&unsigned.signable(), &[], additional);
        let region = "cn-hangzhou";
        let scope = v4::CredentialScope { day: NOW.day(), region, product: crate::oss::SigningProduct::Oss };
        let key = v4::DayKey::derive(KEY_ID, &SECRET.into(), scope);
        let signature = key.signature(&key.string_to_sign(&canonical, &NOW.iso_basic()));
        let text = sent.text("authorization");
        let (credential, _) = text.split_once(",Signature=").expect("two fields");
        let sent = sent
            .header("authorization", &format!("{credential},AdditionalHeaders={list},Signature={signature}"));
        assert_eq!(error(sent.identify()), expected, "{list}");
        if expected == "accepted" {
            let mut doubled = sent.clone();
            doubled.headers.append("range", http::HeaderValue::from_static("bytes=2-3"));
            assert_eq!(error(doubled.identify()), "argument", "{list}");
            assert_eq!(error(sent.header("host", "other.example").identify()), "mismatch", "{list}");
        }
    }
}

#[test]
fn a_mismatch_reports_the_computed_texts_and_no_signature_that_would_be_right() {
    let sent = get().signed_with(SignedForm::V4Header, NOW, KEY_ID, "wrong");
    let Err(error) = sent.identify() else { panic!("it is accepted") };
    let elements = error.elements();
    let names: Vec<&str> = elements.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ["OSSAccessKeyId", "SignatureProvided", "StringToSign", "StringToSignBytes", "CanonicalRequest"]
    );
    let right = get().signed(SignedForm::V4Header).text("authorization");
    let (_, right) = right.split_once("Signature=").expect("a signature");
    assert!(!format!("{elements:?}").contains(right));
    assert!(elements[4].1.starts_with("GET\n/bucket-a/a/b%2Bc\n"), "{:?}", elements[4]);
    assert!(elements[3].1.starts_with("4F 53 53 34"), "{:?}", elements[3]);
}

#[test]
fn requests_without_a_signature_need_an_open_caller() {
    let keys = DerivedKeys::default();
    // A listener that identifies serves no request without its callers.
    let without = CallerDirectory::new(None);
    for sent in [get(), get().signed(SignedForm::V4Header)] {
        assert_eq!(error(sent.identify_with(&without, &keys, NOW)), "missing");
        let open = sent.identify_of_kinds(IdentityKinds::default(), &without, &keys);
        assert_eq!(open, Ok("-".to_owned()));
    }
    assert_eq!(error(get().identify()), "no token");
    assert_eq!(get().identify_with(&directory(true), &keys, NOW), Ok("everyone".to_owned()));
    // A signature that fails does not become that of the open caller.
    let wrong = get().signed_with(SignedForm::V4Header, NOW, KEY_ID, "wrong");
    assert_eq!(error(wrong.identify_with(&directory(true), &keys, NOW)), "mismatch");
}

#[test]
fn a_token_identifies_its_caller_as_bearer_token_and_as_password() {
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let rows = [
        (format!("Bearer {TOKEN}"), "accepted"),
        (format!("bearer  {TOKEN} "), "accepted"),
        (basic(&format!(":{TOKEN}")), "accepted"),
        (basic(&format!("anyone:{TOKEN}")), "accepted"),
        (format!("Bearer {TOKEN}x"), "unknown token"),
        (format!("Bearer {}", &TOKEN[1..]), "unknown token"),
        ("Bearer".to_owned(), "unknown token"),
        ("Bearer ".to_owned(), "unknown token"),
        (basic(&format!("{TOKEN}:")), "unknown token"),
        (basic("nobody"), "argument"),
        ("Basic ???".to_owned(), "argument"),
    ];
    for (authorization, expected) in rows {
        let sent = get().header("authorization", &authorization);
        assert_eq!(error(sent.identify()), expected, "{authorization}");
        if expected == "accepted" {
            assert_eq!(sent.identify(), Ok("three".to_owned()), "{authorization}");
        }
    }
}

#[test]
fn a_token_beside_a_presigned_url_is_rejected_before_either_is_checked() {
    for form in [SignedForm::V1Url, SignedForm::V4Url] {
        for token in [TOKEN, "wrong"] {
            let sent = get().signed(form).header("authorization", &format!("Bearer {token}"));
            assert_eq!(error(sent.identify()), "argument", "{form:?}");
        }
    }
}

#[test]
fn an_identity_of_a_kind_that_the_listener_does_not_accept_is_rejected() {
    let (directory, keys) = (directory(true), DerivedKeys::default());
    let token = get().header("authorization", &format!("Bearer {TOKEN}"));
    let signed = get().signed(SignedForm::V4Header);
    for (kinds, of_token, of_key) in [
        (IdentityKinds { key: true, ..IdentityKinds::default() }, "argument", "accepted"),
        (IdentityKinds { token: true, ..IdentityKinds::default() }, "accepted", "argument"),
    ] {
        assert_eq!(error(token.identify_of_kinds(kinds, &directory, &keys)), of_token, "{kinds:?}");
        assert_eq!(error(signed.identify_of_kinds(kinds, &directory, &keys)), of_key, "{kinds:?}");
    }
    let none = IdentityKinds::default();
    for sent in [token, signed, get()] {
        assert_eq!(sent.identify_of_kinds(none, &directory, &keys), Ok("everyone".to_owned()));
    }
}

#[test]
fn the_number_of_derived_keys_is_limited() {
    let keys = DerivedKeys::default();
    let directory = directory(false);
    let mut sent = get().signed(SignedForm::V4Header);
    let authorization = sent.text("authorization");
    for number in 0..9_000 {
        sent.set("authorization", &authorization.replace("cn-hangzhou", &format!("r-{number}")));
        assert!(sent.identify_with(&directory, &keys, NOW).is_err());
    }
    assert!(keys.len() <= 16 * 1024);
}
