//! Verification of published signatures: each is valid as published, and invalid after one bit of
//! any signed part has changed.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::derived_keys::DerivedKeys;
use super::directory::CallerDirectory;
use super::identity_error::IdentityError;
use super::presented_identity::PresentedIdentity;
use super::settings::{CallerKey, CallerSettings};
use super::signature_claim::SignatureValidity;
use crate::oss::{Bucket, Key, Query, SigningProduct};
use crate::policy::CallerRights;
use crate::secret::Secret;
use crate::sign::vectors::{SignatureVector, VectorFile};
use crate::sign::{SignableRequest, v1, v4};

/// A signed request as a client sends it.
#[derive(Clone)]
struct SentRequest {
    method: Method,
    bucket: Option<Bucket>,
    key: Vec<u8>,
    query: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    headers: Vec<(String, Vec<u8>)>,
}

fn sent(vector: &SignatureVector) -> Option<SentRequest> {
    let owned = |text: &String| text.clone().into_bytes();
    let mut sent = SentRequest {
        method: vector.method.parse().expect("a method"),
        bucket: vector.bucket.as_deref().map(|name| Bucket::parse(name).expect("a bucket")),
        key: vector.key.clone().unwrap_or_default().into_bytes(),
        query: vector.query.iter().map(|(name, value)| (owned(name), value.as_ref().map(owned))).collect(),
        headers: Vec::new(),
    };
    for (name, value) in vector.headers.iter().chain(&vector.signer_headers) {
        let name = name.to_ascii_lowercase();
        sent.headers.retain(|(known, _)| *known != name);
        sent.headers.push((name, owned(value)));
    }
    match (vector.kind.as_str(), vector.version.as_str()) {
        ("header", "v1") => {
            let signature =
                vector.expected.signature.as_ref().map(|s| format!("OSS {}:{s}", vector.access_key_id));
            let authorization = vector.expected.authorization.clone().or(signature)?;
            sent.headers.push(("authorization".to_owned(), authorization.into_bytes()));
        }
        ("header", _) => {
            let signature = vector.expected.signature.as_ref().map(|signature| {
                let additional = effective(vector, &sent);
                let list = if additional.is_empty() {
                    String::new()
                } else {
                    format!(",AdditionalHeaders={}", additional.join(";"))
                };
                format!("{} Credential={}{list},Signature={signature}", v4::ALGORITHM, credential(vector))
            });
            let authorization = vector.expected.authorization.clone().or(signature)?;
            sent.headers.push(("authorization".to_owned(), authorization.into_bytes()));
        }
        ("query", version) => presign(vector, &mut sent, version)?,
        (other, _) => panic!("{}: {other}", vector.id),
    }
    Some(sent)
}

fn presign(vector: &SignatureVector, sent: &mut SentRequest, version: &str) -> Option<()> {
    let url = vector.expected.url.as_deref().and_then(|url| url.split_once('?')).map(|(_, query)| query);
    if let Some(query) = vector.expected.signed_query.as_deref().or(url) {
        let query = Query::parse(query).expect("a query");
        sent.query = query.params().iter().map(|param| (param.name.clone(), param.value.clone())).collect();
        return Some(());
    }
    let signature = vector.expected.signature.clone()?;
    let additional = effective(vector, sent).join(";");
    let expires = vector.expires.expect("an end").to_string();
    let mut push = |name: &str, value: &str| sent.query.push((name.into(), Some(value.into())));
    if version == "v1" {
        if let Some(token) = &vector.security_token {
            push("security-token", token);
        }
        push("OSSAccessKeyId", &vector.access_key_id);
        push("Expires", &expires);
        push("Signature", &signature);
    } else {
        push("x-oss-signature-version", v4::ALGORITHM);
        push("x-oss-credential", &credential(vector));
        push("x-oss-date", vector.timestamp.as_deref().expect("a time"));
        push("x-oss-expires", &expires);
        if !additional.is_empty() {
            push("x-oss-additional-headers", &additional);
        }
        if let Some(token) = &vector.security_token {
            push("x-oss-security-token", token);
        }
        push("x-oss-signature", &signature);
    }
    Some(())
}

fn credential(vector: &SignatureVector) -> String {
    let day = &vector.timestamp.as_deref().expect("a time")[..8];
    let product = vector.product.as_deref().unwrap_or("oss");
    let region = vector.region.as_deref().expect("a region");
    format!("{}/{day}/{region}/{product}/aliyun_v4_request", vector.access_key_id)
}

fn effective(vector: &SignatureVector, sent: &SentRequest) -> Vec<String> {
    let mut names: Vec<String> =
        vector.additional_headers.iter().map(|name| name.to_ascii_lowercase()).collect();
    names.sort();
    names.dedup();
    names.retain(|name| !v4::is_signed(name) && sent.headers.iter().any(|(known, _)| known == name));
    names
}

fn has_unsigned_parameters(vector: &SignatureVector) -> bool {
    vector.version == "v1" && vector.query.iter().any(|(name, _)| !v1::is_signed_parameter(name.as_bytes()))
}

fn directory(vector: &SignatureVector) -> CallerDirectory {
    let key =
        CallerKey { id: vector.access_key_id.clone(), secret: Secret::from(&*vector.access_key_secret) };
    let caller = CallerSettings {
        name: "a".to_owned(),
        rights: CallerRights::everything(),
        keys: vec![key],
        ..CallerSettings::default()
    };
    CallerDirectory::new(Some(&[caller]))
}

impl SentRequest {
    /// Returns whether the signature is right, whatever the time.
    fn verify(&self, directory: &CallerDirectory) -> Result<bool, IdentityError> {
        let mut text = String::new();
        for (name, value) in &self.query {
            text.push('&');
            crate::oss::encode_strict(name, &mut text);
            if let Some(value) = value {
                text.push('=');
                crate::oss::encode_strict(value, &mut text);
            }
        }
        let query = Query::parse(&text).expect("a query");
        let key = Key::from_bytes(self.key.clone()).expect("a key");
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, HeaderValue::from_bytes(value).expect("a value"));
        }
        let request = SignableRequest {
            method: &self.method,
            bucket: self.bucket.as_ref(),
            key: &key,
            query: &query,
            headers: &headers,
        };
        let presented = PresentedIdentity::find(&request, SigningProduct::CloudBox)?;
        let Some(PresentedIdentity::Signature(claim)) = presented else { return Ok(false) };
        let is_signed = DerivedKeys::default().verify(&claim.signed, directory, directory.key(claim.id));
        Ok(bool::from(is_signed) && claim.validity != SignatureValidity::OtherDay)
    }

    fn without_unsigned_parameters(mut self) -> Self {
        let own = ["OSSAccessKeyId", "Expires", "Signature"].map(str::as_bytes);
        self.query.retain(|(name, _)| v1::is_signed_parameter(name) || own.contains(&name.as_slice()));
        self
    }

    /// Returns the request with one bit changed in each part that a signature covers.
    fn changed(&self) -> Vec<(String, Self)> {
        let mut all = Vec::new();
        let mut push = |what: String, change: &dyn Fn(&mut Self)| {
            let mut other = self.clone();
            change(&mut other);
            all.push((what, other));
        };
        let method = if self.method == Method::GET { Method::PUT } else { Method::GET };
        push("method".to_owned(), &|other| other.method = method.clone());
        if self.bucket.is_some() {
            push("bucket".to_owned(), &|other| other.bucket = Bucket::parse("another-bucket").ok());
        }
        for at in 0..self.key.len().min(8) {
            push(format!("key {at}"), &|other| other.key[at] ^= 1);
        }
        for (at, (name, value)) in self.query.iter().enumerate() {
            let shown = String::from_utf8_lossy(name);
            if value.as_ref().is_some_and(|value| !value.is_empty()) {
                push(format!("value of {shown}"), &|other| {
                    if let Some(value) = &mut other.query[at].1 {
                        value[0] ^= 1;
                    }
                });
            }
            push(format!("without {shown}"), &|other| drop(other.query.remove(at)));
        }
        for (at, (name, value)) in self.headers.iter().enumerate() {
            if v4::is_signed(name) && !value.is_empty() {
                push(format!("value of {name}"), &|other| other.headers[at].1[0] ^= 1);
                push(format!("without {name}"), &|other| drop(other.headers.remove(at)));
            }
            if name == "authorization" {
                for offset in (0..value.len()).step_by(5).chain([value.len() - 1]) {
                    push(format!("authorization {offset}"), &|other| other.headers[at].1[offset] ^= 1);
                }
            }
        }
        all
    }
}

#[test]
fn every_published_signature_is_valid_and_no_longer_after_one_bit_has_changed() {
    let file = VectorFile::read();
    let mut verified = 0;
    let mut rejected = 0;
    let mut changes = 0;
    for vector in &file.vectors {
        let Some(sent) = sent(vector) else { continue };
        let directory = directory(vector);
        let sent = if has_unsigned_parameters(vector) {
            // OSS ignores them in the signature, and the proxy rejects them.
            let refused = sent.verify(&directory);
            let is_unsigned = matches!(refused, Err(IdentityError::UnsignedParameter(_)));
            assert!(is_unsigned, "{}: {refused:?}", vector.id);
            rejected += 1;
            sent.without_unsigned_parameters()
        } else {
            sent
        };
        assert_eq!(sent.verify(&directory), Ok(true), "{}", vector.id);
        verified += 1;
        for (what, other) in sent.changed() {
            let result = other.verify(&directory);
            assert!(!matches!(result, Ok(true)), "{}: {what}", vector.id);
            changes += 1;
        }
    }
    assert_eq!((verified, rejected, changes), (45, 5, 1629));
}
