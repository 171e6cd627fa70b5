//! Random changes of signed requests: those that change the signed meaning are never accepted, and
//! those that keep it always are.

use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::derived_keys::DerivedKeys;
use super::test_request::{NOW, SignedForm, TestRequest, directory};
use crate::oss::{Bucket, Key, Query, QueryParameter};

/// A kind of change that keeps the meaning of what is signed.
#[derive(Clone, Copy, Debug)]
enum NeutralChange {
    AddUnsignedHeader,
    ChangeHost,
    ReverseParameters,
    ReverseHeaders,
    ValueForNoValue,
    AddBlanksToHeader,
    SpaceAuthorization,
    AddListingParameter,
    LaterTime,
}

const NEUTRAL: &[NeutralChange] = &[
    NeutralChange::AddUnsignedHeader,
    NeutralChange::ChangeHost,
    NeutralChange::ReverseParameters,
    NeutralChange::ReverseHeaders,
    NeutralChange::ValueForNoValue,
    NeutralChange::AddBlanksToHeader,
    NeutralChange::SpaceAuthorization,
    NeutralChange::AddListingParameter,
    NeutralChange::LaterTime,
];

/// A kind of change of the meaning of what is signed.
#[derive(Clone, Copy, Debug)]
enum SignedChange {
    Method,
    Bucket,
    NoBucket,
    KeyByte,
    KeyLonger,
    Query(PartChange),
    Header(PartChange),
    SignatureByte,
    KeyId,
    Date,
}

/// A kind of change of one parameter or header.
#[derive(Clone, Copy, Debug)]
enum PartChange {
    Value,
    Add,
    Remove,
}

const SIGNED: &[SignedChange] = &[
    SignedChange::Method,
    SignedChange::Bucket,
    SignedChange::NoBucket,
    SignedChange::KeyByte,
    SignedChange::KeyLonger,
    SignedChange::Query(PartChange::Value),
    SignedChange::Query(PartChange::Add),
    SignedChange::Query(PartChange::Remove),
    SignedChange::Header(PartChange::Value),
    SignedChange::Header(PartChange::Add),
    SignedChange::Header(PartChange::Remove),
    SignedChange::SignatureByte,
    SignedChange::KeyId,
    SignedChange::Date,
];

/// A random request, as a client may send it.
fn request(rng: &mut Rng, form: SignedForm) -> TestRequest {
    let methods = ["GET", "PUT", "POST", "DELETE", "HEAD"];
    let characters: Vec<char> = "aZ09-_.~/+ %&=?#*'()!;:@é\u{1f600}".chars().collect();
    let text = |rng: &mut Rng, length: usize| -> String {
        (0..length).map(|_| characters[rng.usize(..characters.len())]).collect()
    };
    let key_length = 2 + rng.usize(..12);
    let key = format!("k{}", text(rng, key_length));
    let mut request =
        TestRequest::new(methods[rng.usize(..methods.len())], &key, if rng.bool() { "uploads" } else { "" });
    let mut names = vec!["versionId", "x-oss-process", "response-content-type", "uploadId", "partNumber"];
    while rng.bool() && !names.is_empty() {
        let name = names.swap_remove(rng.usize(..names.len()));
        let length = 1 + rng.usize(..6);
        let value = text(rng, length);
        request.query.push(name, value);
    }
    for name in ["content-type", "content-md5", "x-oss-meta-a", "x-oss-meta-b-c", "x-oss-acl"] {
        if rng.bool() {
            let value: String = (0..=rng.usize(..9)).map(|_| rng.alphanumeric()).collect();
            request.set(name, &value);
        }
    }
    request.set("host", "bucket-a.example");
    request.signed(form)
}

/// Applies a neutral change. Returns `false` if it is not possible.
fn keep(change: NeutralChange, sent: &mut TestRequest, form: SignedForm, rng: &mut Rng) -> bool {
    let rebuilt = |params: Vec<(Vec<u8>, Option<Vec<u8>>)>| {
        let mut query = Query::default();
        for (name, value) in params {
            query.push(std::str::from_utf8(&name).expect("text"), value.unwrap_or_default());
        }
        query
    };
    let owned = |query: &Query| -> Vec<_> {
        query.params().iter().map(|param| (param.name.clone(), param.value.clone())).collect()
    };
    match change {
        NeutralChange::AddUnsignedHeader => {
            let names = ["user-agent", "range", "accept", "x-amz-meta-a", "if-match", "cookie"];
            sent.set(names[rng.usize(..names.len())], "anything");
        }
        NeutralChange::ChangeHost => sent.set("host", "proxy.example:8770"),
        NeutralChange::ReverseParameters => {
            let mut params = owned(&sent.query);
            params.reverse();
            sent.query = rebuilt(params);
        }
        NeutralChange::ReverseHeaders => {
            let lines: Vec<_> =
                sent.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            sent.headers = lines.into_iter().rev().collect::<HeaderMap>();
        }
        NeutralChange::ValueForNoValue => {
            if sent.query.get("uploads").is_none() {
                return false;
            }
            sent.set_parameter("uploads", "");
        }
        NeutralChange::AddBlanksToHeader => {
            let Some(value) = sent.headers.get("x-oss-meta-a") else { return false };
            let spaced = [b" \t", value.as_bytes(), b"  "].concat();
            let Ok(value) = HeaderValue::from_bytes(&spaced) else { return false };
            sent.headers.insert("x-oss-meta-a", value);
        }
        NeutralChange::SpaceAuthorization => {
            if form != SignedForm::V4Header {
                return false;
            }
            let text = sent.text("authorization").replace(',', " ,  ");
            sent.set("authorization", &text);
        }
        NeutralChange::AddListingParameter => {
            if !matches!(form, SignedForm::V1Header | SignedForm::V1Url) {
                return false;
            }
            let names = ["prefix", "marker", "delimiter", "max-keys", "encoding-type"];
            sent.query.push(names[rng.usize(..names.len())], "a/b");
        }
        // The tests identify later.
        NeutralChange::LaterTime => {}
    }
    true
}

/// Applies a change of the signed meaning. Returns `false` if it is not possible.
fn change(change: SignedChange, sent: &mut TestRequest, form: SignedForm, rng: &mut Rng) -> bool {
    match change {
        SignedChange::Method => {
            sent.method = if sent.method == "GET" { http::Method::PUT } else { http::Method::GET };
        }
        SignedChange::Bucket => sent.bucket = Bucket::parse("bucket-b").ok(),
        SignedChange::NoBucket => {
            sent.bucket = None;
            sent.key = Key::default();
            sent.query
                .remove(|name| !name.starts_with(b"x-oss-") && !OWN.contains(&name) && name != b"Expires");
        }
        SignedChange::KeyByte => {
            let bytes = replaced(&sent.key.as_bytes()[..1], rng);
            sent.key = Key::from_bytes([&bytes, &sent.key.as_bytes()[1..]].concat()).expect("a key");
        }
        SignedChange::KeyLonger => {
            let suffix: &[u8] = [&b"/"[..], b"x", b" ", b"%2F"][rng.usize(..4)];
            sent.key = Key::from_bytes([sent.key.as_bytes(), suffix].concat()).expect("a key");
        }
        SignedChange::Query(part) => return change_query(part, &mut sent.query, rng),
        SignedChange::Header(part) => return change_headers(part, &mut sent.headers, rng),
        SignedChange::SignatureByte => change_signature(sent, form, rng),
        SignedChange::KeyId => match form {
            SignedForm::V1Header | SignedForm::V4Header => {
                let text = sent.text("authorization").replace("one-1", "two-1");
                sent.set("authorization", &text);
            }
            SignedForm::V1Url => sent.set_parameter("OSSAccessKeyId", "two-1"),
            SignedForm::V4Url => {
                let value = sent.parameter("x-oss-credential").replace("one-1", "two-1");
                sent.set_parameter("x-oss-credential", &value);
            }
        },
        SignedChange::Date => match form {
            SignedForm::V1Header => sent.set("date", "Sat, 16 Dec 2023 16:20:58 GMT"),
            SignedForm::V4Header => sent.set("x-oss-date", "20231216T162058Z"),
            SignedForm::V1Url => sent.set_parameter("Expires", "1702744258"),
            SignedForm::V4Url => sent.set_parameter("x-oss-expires", "601"),
        },
    }
    true
}

fn change_query(change: PartChange, query: &mut Query, rng: &mut Rng) -> bool {
    match change {
        PartChange::Value => {
            let params = query.params();
            let has_value =
                |param: &&QueryParameter| param.value.as_ref().is_some_and(|value| !value.is_empty());
            let all: Vec<_> = params
                .iter()
                .filter(has_value)
                .filter(|param| !OWN.contains(&param.name.as_slice()))
                .collect();
            if all.is_empty() {
                return false;
            }
            let param = all[rng.usize(..all.len())];
            let name = String::from_utf8(param.name.clone()).expect("text");
            let value = replaced(param.value.as_deref().expect("a value"), rng);
            query.remove(|known| known == name.as_bytes());
            query.push(&name, value);
        }
        PartChange::Add => {
            let names = ["acl", "tagging", "x-oss-a", "ACL", "unknown", "response-expires"];
            query.push(names[rng.usize(..names.len())], "");
        }
        PartChange::Remove => {
            let params = query.params();
            if params.is_empty() {
                return false;
            }
            let name = params[rng.usize(..params.len())].name.clone();
            // Without its id or its signature, a URL is incomplete.
            query.remove(|known| known == name);
        }
    }
    true
}

fn change_headers(change: PartChange, headers: &mut HeaderMap, rng: &mut Rng) -> bool {
    let signed = ["content-type", "content-md5", "x-oss-meta-a", "x-oss-meta-b-c", "x-oss-acl"];
    let signed = signed[rng.usize(..signed.len())];
    match change {
        PartChange::Value => {
            let Some(value) = headers.get(signed) else { return false };
            let value = replaced(value.as_bytes(), rng);
            headers.insert(signed, HeaderValue::from_bytes(&value).expect("a value"));
        }
        PartChange::Add => {
            let names =
                ["x-oss-meta-new", "x-oss-object-acl", "content-md5", "content-type", "x-oss-callback"];
            let name: HeaderName = names[rng.usize(..names.len())].parse().expect("a name");
            if headers.contains_key(&name) {
                return false;
            }
            headers.insert(name, HeaderValue::from_static("value"));
        }
        PartChange::Remove => return headers.remove(signed).is_some(),
    }
    true
}

fn change_signature(sent: &mut TestRequest, form: SignedForm, rng: &mut Rng) {
    let mut replaced = |text: &str| {
        let mut text = text.as_bytes().to_vec();
        let at = text.len() - 2 - rng.usize(..20);
        text[at] = if text[at] == b'0' { b'1' } else { b'0' };
        String::from_utf8(text).expect("text")
    };
    match form {
        SignedForm::V1Header | SignedForm::V4Header => {
            let text = replaced(&sent.text("authorization"));
            sent.set("authorization", &text);
        }
        SignedForm::V1Url | SignedForm::V4Url => {
            let name = if form == SignedForm::V1Url { "Signature" } else { "x-oss-signature" };
            let text = replaced(&sent.parameter(name));
            sent.set_parameter(name, &text);
        }
    }
}

/// Returns the value with one other byte.
fn replaced(value: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut value = value.to_vec();
    let at = rng.usize(..value.len());
    value[at] = if value[at] == b'x' { b'y' } else { b'x' };
    value
}

/// The parameters without which a URL has another or no signature.
const OWN: [&[u8]; 3] = [b"OSSAccessKeyId", b"Signature", b"x-oss-signature"];

#[test]
fn changes_of_the_signed_meaning_are_never_accepted_and_others_always_are() {
    let mut rng = Rng::with_seed(20_231_216);
    let directory = directory(false);
    let keys = DerivedKeys::default();
    let mut kept = 0;
    let mut changed = 0;
    while kept < 10_000 || changed < 10_000 {
        let form = SignedForm::ALL[rng.usize(..4)];
        let sent = request(&mut rng, form);
        let neutral = NEUTRAL[rng.usize(..NEUTRAL.len())];
        let mut other = sent.clone();
        if keep(neutral, &mut other, form, &mut rng) {
            let now = crate::time::Timestamp::from_unix_s(NOW.unix_s() + rng.i64(0..600));
            let result = other.identify_with(&directory, &keys, now);
            assert_eq!(result, Ok("one".to_owned()), "{neutral:?} {form:?} {other:?}");
            kept += 1;
        }
        let signed = SIGNED[rng.usize(..SIGNED.len())];
        let mut other = sent;
        if change(signed, &mut other, form, &mut rng) {
            let result = other.identify_with(&directory, &keys, NOW);
            assert!(result.is_err(), "{signed:?} {form:?} {other:?}");
            changed += 1;
        }
    }
}
