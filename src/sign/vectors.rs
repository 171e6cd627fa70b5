//! Tests against published signatures, stage by stage: canonical request, string to sign,
//! signature, `Authorization`. If a source asserts only the last stage, that also covers the
//! earlier ones, because they are hashed into it.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use serde::Deserialize;

use super::{SignableRequest, v1, v4};
use crate::oss::{Bucket, Key, Query, SigningProduct};
use crate::secret::Secret;
use crate::time::Timestamp;

/// The published signatures.
#[derive(Deserialize)]
pub(crate) struct VectorFile {
    pub(crate) vectors: Vec<SignatureVector>,
}

#[derive(Deserialize)]
pub(crate) struct SignatureVector {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) method: String,
    pub(crate) bucket: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) query: Vec<(String, Option<String>)>,
    pub(crate) headers: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) signer_headers: Vec<(String, String)>,
    pub(crate) access_key_id: String,
    pub(crate) access_key_secret: String,
    pub(crate) region: Option<String>,
    pub(crate) product: Option<String>,
    pub(crate) timestamp: Option<String>,
    pub(crate) additional_headers: Vec<String>,
    pub(crate) additional_headers_effective: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) security_token: Option<String>,
    #[serde(default)]
    pub(crate) expires: Option<i64>,
    pub(crate) expected: ExpectedSignature,
}

#[derive(Deserialize)]
pub(crate) struct ExpectedSignature {
    pub(crate) canonical_request: Option<String>,
    pub(crate) string_to_sign: Option<String>,
    pub(crate) signature: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) signed_query: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) url_go_v1: Option<String>,
}

impl VectorFile {
    /// Reads the fixture.
    pub(crate) fn read() -> Self {
        serde_json::from_str(include_str!("../../tests/vectors/signing.json")).expect("the fixture")
    }
}

/// The parts that a [`SignableRequest`] borrows.
struct Parts {
    method: Method,
    bucket: Option<Bucket>,
    key: Key,
    query: Query,
    headers: HeaderMap,
}

impl Parts {
    fn new(vector: &SignatureVector) -> Self {
        let mut text = String::new();
        for (name, value) in &vector.query {
            text.push('&');
            crate::oss::encode_strict(name.as_bytes(), &mut text);
            if let Some(value) = value {
                text.push('=');
                crate::oss::encode_strict(value.as_bytes(), &mut text);
            }
        }
        let mut headers = HeaderMap::new();
        for (name, value) in vector.headers.iter().chain(&vector.signer_headers) {
            let name: HeaderName = name.parse().expect("a header name");
            headers.insert(name, HeaderValue::from_str(value).expect("a header value"));
        }
        Self {
            method: vector.method.parse().expect("a method"),
            bucket: vector.bucket.as_deref().map(|name| Bucket::parse(name).expect("a bucket")),
            key: Key::from_bytes(vector.key.clone().unwrap_or_default().into_bytes()).expect("a key"),
            query: Query::parse(&text).expect("a query"),
            headers,
        }
    }

    fn subject(&self) -> SignableRequest<'_> {
        let Self { method, bucket, key, query, headers } = self;
        SignableRequest { method, bucket: bucket.as_ref(), key, query, headers }
    }
}

fn vectors(version: &str, kind: &str) -> Vec<SignatureVector> {
    VectorFile::read().vectors.into_iter().filter(|v| v.version == version && v.kind == kind).collect()
}

/// Compares one stage, if the source asserts it.
fn stage(vector: &SignatureVector, name: &str, ours: &str, theirs: Option<&String>) {
    if let Some(theirs) = theirs {
        assert_eq!(ours, theirs, "{}: {name}", vector.id);
    }
}

#[test]
fn every_published_v4_header_signature_is_reproduced_stage_by_stage() {
    let vectors = vectors("v4", "header");
    assert_eq!(vectors.len(), 14);
    for vector in &vectors {
        let parts = Parts::new(vector);
        let additional = effective(vector, &parts.headers);
        let additional: Vec<&str> = additional.iter().map(String::as_str).collect();
        let canonical = v4::canonical_request(&parts.subject(), &[], &additional);
        let canonical_text = String::from_utf8(canonical.clone()).expect("text");
        stage(vector, "canonical request", &canonical_text, vector.expected.canonical_request.as_ref());

        let timestamp = vector.timestamp.as_deref().expect("a timestamp");
        let key = day_key(vector);
        let string_to_sign = key.string_to_sign(&canonical, timestamp);
        stage(vector, "string to sign", &string_to_sign, vector.expected.string_to_sign.as_ref());
        let signature = key.signature(&string_to_sign);
        stage(vector, "signature", &signature, vector.expected.signature.as_ref());
        if additional.is_empty() {
            let authorization = key.authorize(&parts.subject(), &[], timestamp);
            stage(vector, "authorization", &authorization, vector.expected.authorization.as_ref());
        }
    }
}

fn day_key(vector: &SignatureVector) -> v4::DayKey {
    let product = match vector.product.as_deref() {
        Some("oss-cloudbox") => SigningProduct::CloudBox,
        _ => SigningProduct::Oss,
    };
    let timestamp = vector.timestamp.as_deref().expect("a timestamp");
    let scope = v4::CredentialScope {
        day: Timestamp::parse_iso_basic(timestamp).expect("a time").day(),
        region: vector.region.as_deref().expect("a region"),
        product,
    };
    v4::DayKey::derive(&vector.access_key_id, &Secret::from(&*vector.access_key_secret), scope)
}

/// Returns the effective additional headers: lower case, sorted, unique, present, and not signed
/// anyway.
fn effective(vector: &SignatureVector, headers: &HeaderMap) -> Vec<String> {
    let mut names: Vec<String> =
        vector.additional_headers.iter().map(|name| name.to_ascii_lowercase()).collect();
    names.sort();
    names.dedup();
    names.retain(|name| !v4::is_signed(name) && headers.contains_key(name.as_str()));
    if let Some(expected) = &vector.additional_headers_effective {
        assert_eq!(&names, expected, "{}: additional headers", vector.id);
    }
    names
}

#[test]
fn every_published_v1_header_signature_is_reproduced_stage_by_stage() {
    let vectors = vectors("v1", "header");
    assert_eq!(vectors.len(), 14);
    for vector in &vectors {
        let parts = Parts::new(vector);
        let text = v1::string_to_sign(&parts.subject(), &[]);
        let shown = String::from_utf8(text.clone()).expect("text");
        stage(vector, "string to sign", &shown, vector.expected.string_to_sign.as_ref());
        let key = v1::V1Key::new(&vector.access_key_id, &Secret::from(&*vector.access_key_secret));
        stage(vector, "signature", &key.signature(&text), vector.expected.signature.as_ref());
        let authorization = key.authorize(&parts.subject(), &[]);
        stage(vector, "authorization", &authorization, vector.expected.authorization.as_ref());
    }
}

/// Asserts that the query has the published signature, and exactly the parameters of a published
/// URL if there is one.
fn check_query(vector: &SignatureVector, ours: &Query, signature: &str) {
    let value = ours.get(signature).and_then(|param| param.value.clone()).expect("a signature");
    let value = String::from_utf8(value).expect("text");
    stage(vector, "signature", &value, vector.expected.signature.as_ref());
    let ExpectedSignature { signed_query, url, url_go_v1, .. } = &vector.expected;
    let urls =
        [url, url_go_v1].into_iter().flatten().filter_map(|url| url.split_once('?')).map(|(_, query)| query);
    for published in signed_query.as_deref().into_iter().chain(urls) {
        let parts = |query: &Query| {
            // A name without a value is the same as one with an empty value.
            let part = |param: &crate::oss::QueryParameter| {
                (param.name.clone(), param.value.clone().unwrap_or_default())
            };
            let mut parts: Vec<_> = query.params().iter().map(part).collect();
            parts.sort();
            parts
        };
        assert_eq!(parts(ours), parts(&Query::parse(published).expect("a query")), "{}", vector.id);
    }
}

#[test]
fn every_published_v4_url_signature_is_reproduced() {
    let vectors = vectors("v4", "query");
    assert_eq!(vectors.len(), 12);
    for vector in &vectors {
        let parts = Parts::new(vector);
        let additional = effective(vector, &parts.headers);
        let additional: Vec<&str> = additional.iter().map(String::as_str).collect();
        let times =
            (vector.timestamp.as_deref().expect("a timestamp"), vector.expires.expect("a time") as u64);
        let token = vector.security_token.as_deref().map(str::as_bytes);
        let ours = day_key(vector).presign(&parts.subject(), &additional, times, token);
        check_query(vector, &ours, "x-oss-signature");
        if let Some(expected) = &vector.expected.canonical_request {
            let mut unsigned = ours.clone();
            unsigned.remove(|name| name == b"x-oss-signature");
            let subject = SignableRequest { query: &unsigned, ..parts.subject() };
            let canonical = v4::canonical_request(&subject, &[], &additional);
            stage(vector, "canonical request", &String::from_utf8_lossy(&canonical), Some(expected));
        }
    }
}

#[test]
fn every_published_v1_url_signature_is_reproduced() {
    let vectors = vectors("v1", "query");
    assert_eq!(vectors.len(), 9);
    for vector in &vectors {
        let parts = Parts::new(vector);
        let key = v1::V1Key::new(&vector.access_key_id, &Secret::from(&*vector.access_key_secret));
        let token = vector.security_token.as_deref().map(str::as_bytes);
        let ours = key.presign(&parts.subject(), vector.expires.expect("a time"), token);
        check_query(vector, &ours, "Signature");
        if let Some(expected) = &vector.expected.string_to_sign {
            let mut unsigned = ours.clone();
            unsigned.remove(|name| name == b"Signature");
            let expires = vector.expires.expect("a time").to_string();
            let text =
                v1::string_to_sign_with(&SignableRequest { query: &unsigned, ..parts.subject() }, &expires);
            stage(vector, "string to sign", &String::from_utf8_lossy(&text), Some(expected));
        }
    }
}

#[test]
fn regions_is_a_parameter_that_v1_does_not_sign() {
    let mut vector = vectors("v1", "header").swap_remove(0);
    for name in ["regions", "regionList"] {
        vector.query = vec![(name.to_owned(), Some("oss-cn-hangzhou".to_owned()))];
        let text = v1::string_to_sign(&Parts::new(&vector).subject(), &[]);
        let is_signed = String::from_utf8_lossy(&text).contains(name);
        assert_eq!(is_signed, name == "regionList", "{name}");
    }
}
