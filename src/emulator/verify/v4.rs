//! Signature V4, in the header and in the URL. The key is derived by day and region, and signs the
//! hash of a canonical request.

use base16ct::lower;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::super::encoding::{SlashEscaping, escape};
use super::super::error::OssError;
use super::super::request::{OssRequest, RequestTarget};
use super::super::settings::ServiceIdentity;
use super::claim::{ClaimedScope, SignatureAlgorithm, SignatureClaim, SignatureValidity};
use super::header_error::{bad_authorization, bad_date, no_date};
use super::signed_headers::{merged, token_header};
use crate::time::Timestamp;

/// The date line of the string to sign, and the time it denotes.
struct SignedDateLine<'a> {
    line: &'a str,
    at: Timestamp,
}

/// Parses `Credential=…,AdditionalHeaders=…,Signature=…`, in any order, with or without spaces.
pub(super) fn in_header(
    request: &OssRequest,
    fields: &str,
    identity: &ServiceIdentity,
) -> Result<SignatureClaim, OssError> {
    let mut credential = None;
    let mut additional = None;
    let mut signature = None;
    for field in fields.split(',') {
        let slot = match field.trim().split_once('=') {
            Some(("Credential", value)) => credential.replace(value),
            Some(("AdditionalHeaders", value)) => additional.replace(value),
            Some(("Signature", value)) => signature.replace(value),
            Some(_) | None => return Err(bad_authorization()),
        };
        if slot.is_some() {
            return Err(bad_authorization());
        }
    }
    let credential = credential.ok_or_else(no_credential)?;
    let signature = signature.ok_or_else(bad_authorization)?;
    if request.headers.get("x-oss-content-sha256").is_none_or(|value| value != UNSIGNED) {
        return Err(OssError::argument("The x-oss-content-sha256 header must be UNSIGNED-PAYLOAD.")
            .ec("0002-00000214"));
    }
    let date = date_in_header(request)?;
    let additional =
        additional.map(|list| additional_headers(request, list)).transpose()?.unwrap_or_default();
    let (key_id, scope) = scope(credential, identity, &date)?;
    let canonical_request = canonical_request(request, &additional);
    Ok(SignatureClaim {
        key_id,
        signature: signature.to_owned(),
        token: token_header(&request.headers),
        validity: SignatureValidity::Around(date.at),
        string_to_sign: string_to_sign(date.line, &scope, &canonical_request),
        algorithm: SignatureAlgorithm::V4 { scope, canonical_request },
    })
}

/// Parses the `x-oss-…` parameters of a signed URL.
pub(super) fn in_url(request: &OssRequest, identity: &ServiceIdentity) -> Result<SignatureClaim, OssError> {
    let query = &request.query;
    if query.get("x-oss-signature-version") != Some("OSS4-HMAC-SHA256") {
        return Err(OssError::argument("The x-oss-signature-version parameter is missing or unknown."));
    }
    let signature = query.get("x-oss-signature").ok_or_else(|| OssError::argument("No x-oss-signature."))?;
    let credential = query.get("x-oss-credential").ok_or_else(no_credential)?;
    let line = query.get("x-oss-date").ok_or_else(no_date)?;
    let date = SignedDateLine { line, at: Timestamp::parse_iso_basic(line).ok_or_else(bad_date)? };
    let lifetime = query.get("x-oss-expires").and_then(|text| text.parse::<u32>().ok());
    let Some(lifetime @ 1..=URL_LIFETIME_S_MAX) = lifetime else {
        return Err(
            OssError::argument("The x-oss-expires parameter must be 1 to 604800.").ec("0002-00000215")
        );
    };
    let additional = query.get("x-oss-additional-headers");
    let additional =
        additional.map(|list| additional_headers(request, list)).transpose()?.unwrap_or_default();
    let (key_id, scope) = scope(credential, identity, &date)?;
    let canonical_request = canonical_request(request, &additional);
    let end = Timestamp::from_unix_s(date.at.unix_s() + i64::from(lifetime));
    Ok(SignatureClaim {
        key_id,
        signature: signature.to_owned(),
        token: query.bytes("x-oss-security-token").map(<[u8]>::to_vec),
        validity: SignatureValidity::Between(date.at, end),
        string_to_sign: string_to_sign(date.line, &scope, &canonical_request),
        algorithm: SignatureAlgorithm::V4 { scope, canonical_request },
    })
}

/// Computes the signature of a string to sign.
pub(super) fn signature(secret: &str, scope: &ClaimedScope, string_to_sign: &[u8]) -> String {
    let mut key = format!("aliyun_v4{secret}").into_bytes();
    for part in [&scope.day, &scope.region, &scope.product, TERMINATOR] {
        key = mac(&key, part.as_bytes());
    }
    lower::encode_string(&mac(&key, string_to_sign))
}

/// Builds the string to sign.
pub(super) fn string_to_sign(date_line: &str, scope: &ClaimedScope, canonical_request: &[u8]) -> Vec<u8> {
    let ClaimedScope { day, region, product } = scope;
    let hash = lower::encode_string(&Sha256::digest(canonical_request));
    format!("OSS4-HMAC-SHA256\n{date_line}\n{day}/{region}/{product}/{TERMINATOR}\n{hash}").into_bytes()
}

/// Builds the canonical request: method, resource, query, headers, additional header names,
/// `UNSIGNED-PAYLOAD`.
pub(super) fn canonical_request(request: &OssRequest, additional: &[String]) -> Vec<u8> {
    let mut text = request.method.as_str().as_bytes().to_vec();
    text.push(b'\n');
    text.extend(resource(&request.target).as_bytes());
    text.push(b'\n');
    text.extend(parameters(request).as_bytes());
    text.push(b'\n');
    let mut names: Vec<&str> = request.headers.keys().map(http::HeaderName::as_str).collect();
    names.retain(|name| is_always_signed(name) || additional.iter().any(|own| own == name));
    names.sort_unstable();
    for name in names {
        text.extend(name.as_bytes());
        text.push(b':');
        text.extend(merged(&request.headers, name).unwrap_or_default());
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend(additional.join(";").as_bytes());
    text.push(b'\n');
    text.extend(UNSIGNED.as_bytes());
    text
}

/// Validates `a;b` against the request. The names must be in order, each once.
pub(super) fn additional_headers(request: &OssRequest, list: &str) -> Result<Vec<String>, OssError> {
    if list.is_empty() {
        return Err(OssError::argument("AdditionalHeaders is empty.").ec("0002-00000209"));
    }
    let mut names = Vec::new();
    for name in list.split(';') {
        if name.is_empty() {
            return Err(OssError::argument("AdditionalHeaders holds an empty name.").ec("0002-00000210"));
        }
        let name = name.to_ascii_lowercase();
        if name.contains('_') || !request.headers.contains_key(name.as_str()) {
            return Err(OssError::argument(
                "AdditionalHeaders names a header that the request does not have.",
            )
            .ec("0002-00000211")
            .with("AdditionalHeader", name));
        }
        names.push(name);
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Returns `x-oss-date` in the ISO form, or `Date` in either form. The signed line is the text as
/// sent.
fn date_in_header(request: &OssRequest) -> Result<SignedDateLine<'_>, OssError> {
    if request.headers.contains_key("x-oss-date") {
        let line = request.header("x-oss-date").ok_or_else(bad_date)?.trim();
        let at = Timestamp::parse_iso_basic(line).ok_or_else(bad_date)?;
        return Ok(SignedDateLine { line, at });
    }
    if !request.headers.contains_key("date") {
        return Err(no_date());
    }
    let line = request.header("date").ok_or_else(bad_date)?.trim();
    let at = Timestamp::parse_iso_basic(line).or_else(|| Timestamp::parse_http_date(line));
    Ok(SignedDateLine { line, at: at.ok_or_else(bad_date)? })
}

/// Parses a credential and checks it against the service and the date, such as `20231216T162057Z`.
pub(super) fn scope_at(
    credential: &str,
    identity: &ServiceIdentity,
    date: &str,
) -> Result<(String, ClaimedScope), OssError> {
    let at = Timestamp::parse_iso_basic(date).ok_or_else(bad_date)?;
    scope(credential, identity, &SignedDateLine { line: date, at })
}

/// Parses `id/day/region/product/aliyun_v4_request` and checks it against the service and the date.
fn scope(
    credential: &str,
    identity: &ServiceIdentity,
    date: &SignedDateLine<'_>,
) -> Result<(String, ClaimedScope), OssError> {
    let parts: Vec<&str> = credential.split('/').collect();
    let [key_id, day, region, product, terminator] = parts[..] else {
        return Err(OssError::argument("The Credential must have five parts.").ec("0002-00000217"));
    };
    if key_id.is_empty() || !key_id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b)) {
        return Err(OssError::argument("The access key id in the Credential is invalid.").ec("0002-00000206"));
    }
    if terminator != TERMINATOR {
        return Err(OssError::argument("The Credential must end in aliyun_v4_request.").ec("0002-00000213"));
    }
    if product != identity.product() {
        return Err(
            OssError::argument("Invalid signing product in Authorization header.").ec("0002-00000227")
        );
    }
    if region != identity.region.as_str() {
        return Err(OssError::argument("Invalid signing region in Authorization header.").ec("0002-00000226"));
    }
    if day != date.at.day().as_str() {
        return Err(
            OssError::argument("The day in the Credential is not the day of the date.").ec("0002-00000223")
        );
    }
    let scope = ClaimedScope { day: day.to_owned(), region: region.to_owned(), product: product.to_owned() };
    Ok((key_id.to_owned(), scope))
}

/// Returns the canonical resource, `/bucket/key`, encoded.
fn resource(target: &RequestTarget) -> String {
    match target {
        RequestTarget::Service => "/".to_owned(),
        RequestTarget::Bucket(bucket) => format!("/{bucket}/"),
        RequestTarget::Object(bucket, key) => format!("/{bucket}/{}", escape(key, SlashEscaping::Keep)),
    }
}

/// Returns the encoded parameters without the signature, ordered by their encoded names.
fn parameters(request: &OssRequest) -> String {
    let pairs = request.query.0.iter().filter(|pair| pair.name != b"x-oss-signature");
    let mut encoded: Vec<_> = pairs
        .map(|pair| (escape(&pair.name, SlashEscaping::Escape), escape(&pair.value, SlashEscaping::Escape)))
        .collect();
    encoded.sort();
    let join = |(name, value): (String, String)| {
        if value.is_empty() { name } else { format!("{name}={value}") }
    };
    encoded.into_iter().map(join).collect::<Vec<_>>().join("&")
}

fn is_always_signed(name: &str) -> bool {
    name == "content-type" || name == "content-md5" || name.starts_with("x-oss-")
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn no_credential() -> OssError {
    OssError::argument("The Credential is missing.").ec("0002-00000217")
}

/// The only payload hash that OSS accepts.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// The last part of a scope.
const TERMINATOR: &str = "aliyun_v4_request";

/// The maximum validity of a signed URL: seven days.
const URL_LIFETIME_S_MAX: u32 = 604_800;
