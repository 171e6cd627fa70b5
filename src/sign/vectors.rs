//! The published signatures, stage by stage: canonical request, string to sign, signature, `Authorization`. Where a source
//! asserts only the last stage, the earlier ones are covered by it, for they are hashed into it.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use serde::Deserialize;

use super::{Subject, v1, v4};
use crate::oss::{Bucket, Key, Product, Query};
use crate::secret::Secret;
use crate::time::Timestamp;

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    version: String,
    kind: String,
    method: String,
    bucket: Option<String>,
    key: Option<String>,
    query: Vec<(String, Option<String>)>,
    headers: Vec<(String, String)>,
    #[serde(default)]
    signer_headers: Vec<(String, String)>,
    access_key_id: String,
    access_key_secret: String,
    region: Option<String>,
    product: Option<String>,
    timestamp: Option<String>,
    additional_headers: Vec<String>,
    additional_headers_effective: Option<Vec<String>>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    canonical_request: Option<String>,
    string_to_sign: Option<String>,
    signature: Option<String>,
    authorization: Option<String>,
}

/// The parts that a [`Subject`] borrows.
struct Parts {
    method: Method,
    bucket: Option<Bucket>,
    key: Key,
    query: Query,
    headers: HeaderMap,
}

impl Parts {
    fn of(vector: &Vector) -> Self {
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

    fn subject(&self) -> Subject<'_> {
        let Self { method, bucket, key, query, headers } = self;
        Subject { method, bucket: bucket.as_ref(), key, query, headers }
    }
}

fn vectors(version: &str) -> Vec<Vector> {
    let file: File =
        serde_json::from_str(include_str!("../../tests/vectors/signing.json")).expect("the fixture");
    file.vectors.into_iter().filter(|v| v.version == version && v.kind == "header").collect()
}

/// Compares one stage, if the source asserts it.
fn stage(vector: &Vector, name: &str, ours: &str, theirs: Option<&String>) {
    if let Some(theirs) = theirs {
        assert_eq!(ours, theirs, "{}: {name}", vector.id);
    }
}

#[test]
fn every_published_v4_header_signature_is_reproduced_stage_by_stage() {
    let vectors = vectors("v4");
    assert_eq!(vectors.len(), 14);
    for vector in &vectors {
        let parts = Parts::of(vector);
        let additional = effective(vector, &parts.headers);
        let additional: Vec<&str> = additional.iter().map(String::as_str).collect();
        let canonical = v4::canonical_request(&parts.subject(), &[], &additional);
        let canonical_text = String::from_utf8(canonical.clone()).expect("text");
        stage(vector, "canonical request", &canonical_text, vector.expected.canonical_request.as_ref());

        let timestamp = vector.timestamp.as_deref().expect("a timestamp");
        let product = match vector.product.as_deref() {
            Some("oss-cloudbox") => Product::CloudBox,
            _ => Product::Oss,
        };
        let scope = v4::Scope {
            day: Timestamp::parse_iso_basic(timestamp).expect("a time").day(),
            region: vector.region.as_deref().expect("a region"),
            product,
        };
        let key = v4::DayKey::derive(&vector.access_key_id, &Secret::from(&*vector.access_key_secret), scope);
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

/// The additional headers that count: lower case, sorted, once each, present, and not signed anyway.
fn effective(vector: &Vector, headers: &HeaderMap) -> Vec<String> {
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
    let vectors = vectors("v1");
    assert_eq!(vectors.len(), 14);
    for vector in &vectors {
        let parts = Parts::of(vector);
        let text = v1::string_to_sign(&parts.subject(), &[]);
        let shown = String::from_utf8(text.clone()).expect("text");
        stage(vector, "string to sign", &shown, vector.expected.string_to_sign.as_ref());
        let key = v1::Key::new(&vector.access_key_id, &Secret::from(&*vector.access_key_secret));
        stage(vector, "signature", &key.signature(&text), vector.expected.signature.as_ref());
        let authorization = key.authorize(&parts.subject(), &[]);
        stage(vector, "authorization", &authorization, vector.expected.authorization.as_ref());
    }
}
