//! Signature V4: canonical request, string to sign, key derivation, `Authorization`. Follows
//! "Include a V4 signature in the header" (OSS API reference); differences are noted where they
//! occur.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use http::header::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::signable_request::{SignableRequest, collect, is_oss_header, write_headers};
use crate::oss::{Query, SigningProduct, encode_path, encode_strict};
use crate::secret::Secret;
use crate::time::UtcDay;

/// The header with the time of signing.
pub(crate) const DATE: HeaderName = HeaderName::from_static("x-oss-date");
/// The header with the hash of the payload; OSS accepts no other value than [`UNSIGNED_PAYLOAD`].
pub(crate) const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-oss-content-sha256");
/// The value for a body that is not part of the signature.
pub(crate) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The scope of a signing key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CredentialScope<'a> {
    /// The day in UTC.
    pub(crate) day: UtcDay,
    /// The region id, or a CloudBox id.
    pub(crate) region: &'a str,
    /// The product, OSS or CloudBox.
    pub(crate) product: SigningProduct,
}

impl CredentialScope<'_> {
    /// Returns the scope as a signature contains it: `DAY/REGION/PRODUCT/aliyun_v4_request`.
    #[must_use]
    pub(crate) fn to_text(self) -> String {
        self.steps().join("/")
    }

    fn steps(&self) -> [&str; 4] {
        [self.day.as_str(), self.region, self.product.as_str(), REQUEST]
    }
}

/// Derives the key of a secret for one scope, with four HMACs.
#[must_use]
pub(crate) fn derive_mac(secret: &Secret, scope: CredentialScope<'_>) -> Hmac<Sha256> {
    let root = zeroize::Zeroizing::new(format!("aliyun_v4{}", secret.expose()));
    scope.steps().iter().fold(keyed(root.as_bytes()), |mac, step| {
        keyed(&mac.chain_update(step.as_bytes()).finalize().into_bytes())
    })
}

/// Returns the text whose HMAC is the signature, for a scope as text.
#[must_use]
pub(crate) fn string_to_sign(canonical_request: &[u8], timestamp: &str, scope: &str) -> String {
    joined(&[ALGORITHM, "\n", timestamp, "\n", scope, "\n", hash(canonical_request).as_str()])
}

/// The additional headers that a signature covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdditionalHeaders<'a> {
    /// Their names in lower case.
    pub(crate) names: &'a [&'a str],
    /// The list as the canonical request contains it.
    pub(crate) list: &'a str,
}

/// The signing key of one access key, day, region and product.
pub(crate) struct DayKey {
    mac: Hmac<Sha256>,
    scope: String,
    /// The access key id and the scope.
    credential: String,
}

impl DayKey {
    /// Derives the key with four HMACs. The secret is then not needed until the next day.
    #[must_use]
    pub(crate) fn derive(id: &str, secret: &Secret, scope: CredentialScope<'_>) -> Self {
        let mac = derive_mac(secret, scope);
        let scope = scope.to_text();
        let credential = format!("{id}/{scope}");
        Self { mac, scope, credential }
    }

    /// Returns the value of `Authorization` for `request`, on which `added` will be set. Only the
    /// headers that OSS requires are signed, so that intermediaries may change the others.
    #[must_use]
    pub(crate) fn authorize(
        &self,
        request: &SignableRequest<'_>,
        added: &[(HeaderName, HeaderValue)],
        timestamp: &str,
    ) -> String {
        let hash = hash(&canonical_request(request, added, &[]));
        let signature = self.sign(&self.to_sign(&hash, timestamp));
        joined(&[ALGORITHM, " Credential=", &self.credential, ",Signature=", signature.as_str()])
    }

    /// Returns the parameters of `request`, followed by those that sign its URL: "Include a V4
    /// signature in the URL" (OSS API reference).
    ///
    /// The client must send the signed headers of `request` with the URL. `additional` names
    /// further ones, as for [`canonical_request`]. `timestamp` is the time of signing, and
    /// `valid_s` the lifetime in seconds.
    #[must_use]
    pub(crate) fn presign(
        &self,
        request: &SignableRequest<'_>,
        additional: &[&str],
        (timestamp, valid_s): (&str, u64),
        token: Option<&[u8]>,
    ) -> Query {
        let mut query = request.query.clone();
        query.push("x-oss-signature-version", ALGORITHM);
        query.push("x-oss-credential", self.credential.as_str());
        query.push("x-oss-date", timestamp);
        query.push("x-oss-expires", valid_s.to_string());
        if !additional.is_empty() {
            query.push("x-oss-additional-headers", additional.join(";"));
        }
        if let Some(token) = token {
            query.push("x-oss-security-token", token);
        }
        let canonical = canonical_request(&SignableRequest { query: &query, ..*request }, &[], additional);
        let signature = self.signature(&self.string_to_sign(&canonical, timestamp));
        query.push(SIGNATURE, signature);
        query
    }

    /// Returns the text whose HMAC is the signature. `timestamp` is the time of signing, as
    /// `20231216T162057Z`.
    #[must_use]
    pub(crate) fn string_to_sign(&self, canonical_request: &[u8], timestamp: &str) -> String {
        string_to_sign(canonical_request, timestamp, &self.scope)
    }

    /// Returns the parts of the string to sign.
    fn to_sign<'a>(&'a self, hash: &'a Hex, timestamp: &'a str) -> [&'a str; 7] {
        [ALGORITHM, "\n", timestamp, "\n", &self.scope, "\n", hash.as_str()]
    }

    /// Returns the access key id and the scope.
    #[must_use]
    pub(super) fn credential(&self) -> &str {
        &self.credential
    }

    /// Returns the signature in 64 hexadecimal digits.
    #[must_use]
    pub(crate) fn signature(&self, string_to_sign: &str) -> String {
        self.sign(&[string_to_sign]).as_str().to_owned()
    }

    /// Signs the concatenation of these parts.
    fn sign(&self, string_to_sign: &[&str]) -> Hex {
        let mut mac = self.mac.clone();
        for part in string_to_sign {
            mac.update(part.as_bytes());
        }
        Hex::encode(&mac.finalize().into_bytes().into())
    }
}

/// Returns the request in the canonical form that both sides hash. `additional` are the lower-case
/// names of further headers to sign, in order. Each must be present in the request.
#[must_use]
pub fn canonical_request(
    request: &SignableRequest<'_>,
    added: &[(HeaderName, HeaderValue)],
    additional: &[&str],
) -> Vec<u8> {
    let list = &additional.join(";");
    write_canonical_request(request, added, AdditionalHeaders { names: additional, list })
}

/// Returns the canonical request with a list of additional headers as declared. The parameter of
/// the signature itself is left out.
#[must_use]
pub(crate) fn write_canonical_request(
    request: &SignableRequest<'_>,
    added: &[(HeaderName, HeaderValue)],
    additional: AdditionalHeaders<'_>,
) -> Vec<u8> {
    let mut head = String::with_capacity(512);
    head.push_str(request.method.as_str());
    head.push('\n');
    write_uri(request, &mut head);
    head.push('\n');
    write_query(request, &mut head);
    head.push('\n');
    let mut out = head.into_bytes();
    let lines = collect(request, added, |name| is_signed(name) || additional.names.contains(&name));
    write_headers(&lines, &mut out);
    out.push(b'\n');
    out.extend_from_slice(additional.list.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(UNSIGNED_PAYLOAD.as_bytes());
    out
}

/// Returns whether every V4 signature covers this header.
#[must_use]
pub(crate) fn is_signed(name: &str) -> bool {
    name == "content-type" || name == "content-md5" || is_oss_header(name)
}

/// Writes `/bucket/key`, whatever form of address the request itself uses.
fn write_uri(request: &SignableRequest<'_>, out: &mut String) {
    out.push('/');
    if let Some(bucket) = request.bucket {
        out.push_str(bucket.as_str());
        out.push('/');
        encode_path(request.key.as_bytes(), out);
    }
}

/// Writes the parameters, sorted by encoded name in byte order. A parameter without a value equals
/// one with an empty value.
fn write_query(request: &SignableRequest<'_>, out: &mut String) {
    let encoded = |bytes: &[u8]| {
        let mut text = String::new();
        encode_strict(bytes, &mut text);
        text
    };
    let mut params: Vec<_> = request
        .query
        .params()
        .iter()
        .filter(|param| param.name != SIGNATURE.as_bytes())
        .map(|param| (encoded(&param.name), encoded(param.value.as_deref().unwrap_or_default())))
        .collect();
    params.sort();
    for (index, (name, value)) in params.iter().enumerate() {
        if index > 0 {
            out.push('&');
        }
        out.push_str(name);
        if !value.is_empty() {
            out.push('=');
            out.push_str(value);
        }
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC accepts keys of any length.
    #[expect(clippy::expect_used, reason = "RFC 2104: a key of any length is valid")]
    Hmac::new_from_slice(key).expect("any length")
}

fn hash(canonical_request: &[u8]) -> Hex {
    Hex::encode(&Sha256::digest(canonical_request).into())
}

/// 32 bytes as 64 hexadecimal digits.
struct Hex([u8; 64]);

impl Hex {
    fn encode(bytes: &[u8; 32]) -> Self {
        let mut text = [0; 64];
        // The text has room for all digits.
        let _ = base16ct::lower::encode(bytes, &mut text);
        Self(text)
    }

    fn as_str(&self) -> &str {
        // The text is ASCII by construction.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Concatenates the parts. Formatting would cost more than the signature itself.
fn joined(parts: &[&str]) -> String {
    let mut out = String::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.push_str(part);
    }
    out
}

/// The maximum lifetime of a presigned URL.
pub(crate) const URL_LIFETIME_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The name of the algorithm, in `Authorization` and in URLs.
pub(crate) const ALGORITHM: &str = "OSS4-HMAC-SHA256";
/// The last part of a scope.
pub(crate) const REQUEST: &str = "aliyun_v4_request";
/// The parameter with the signature of a URL.
pub(crate) const SIGNATURE: &str = "x-oss-signature";
