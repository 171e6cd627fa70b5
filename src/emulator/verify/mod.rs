//! Authentication of requests: finds and verifies their signatures. Follows "Include signatures in
//! the Authorization header", V1 and V4, and "Include signatures in URLs". Independent of the
//! signing code.

mod v1;
mod v4;

#[cfg(test)]
mod presigned_tests;
#[cfg(test)]
pub(super) mod tests;

use base16ct::upper;
use http::{HeaderMap, StatusCode, header};

use super::error::OssError;
use super::request::OssRequest;
use super::settings::{EmulatedAccount, ServiceIdentity};
use crate::time::Timestamp;

/// The signature of a request and its parameters, ready to be verified.
#[derive(Debug)]
struct SignatureClaim {
    key_id: String,
    signature: String,
    token: Option<Vec<u8>>,
    validity: SignatureValidity,
    string_to_sign: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

/// The algorithm that computes the signature from the secret and the string to sign.
#[derive(Debug)]
enum SignatureAlgorithm {
    V1,
    V4 { scope: v4::ClaimedScope, canonical_request: Vec<u8> },
}

/// The period in which a signature is valid.
#[derive(Debug, PartialEq, Eq)]
enum SignatureValidity {
    /// A signature in a header: valid around its time of signing.
    Around(Timestamp),
    /// A V1 URL: valid until this time.
    Until(Timestamp),
    /// A V4 URL: valid between these times.
    Between(Timestamp, Timestamp),
}

/// The result of authentication.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestAuthentication {
    /// Signed with this access key ID.
    Account(String),
    /// Not signed.
    Anonymous,
}

/// A signature failure that is reported even for a valid signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SimulatedFailure {
    ExpiredToken,
    UnknownKey,
    WrongSignature,
}

/// The accounts, identity and time against which signatures are verified.
#[derive(Debug)]
pub(super) struct SignatureVerifier<'a> {
    pub(super) accounts: &'a [EmulatedAccount],
    pub(super) identity: &'a ServiceIdentity,
    pub(super) now: Timestamp,
    pub(super) simulated_failure: Option<SimulatedFailure>,
}

/// Verifies the signature of a request.
pub(super) fn authenticate(
    request: &OssRequest,
    judge: &SignatureVerifier<'_>,
) -> Result<RequestAuthentication, OssError> {
    let &SignatureVerifier { accounts, identity, now, simulated_failure } = judge;
    let Some(claim) = claim(request, identity)? else {
        return Ok(RequestAuthentication::Anonymous);
    };
    claim.validity.check(now)?;
    match simulated_failure {
        Some(SimulatedFailure::ExpiredToken) => return Err(expired_token()),
        Some(SimulatedFailure::UnknownKey) => return Err(unknown_id(&claim.key_id, "0002-00000902")),
        Some(SimulatedFailure::WrongSignature) => return Err(claim.mismatch()),
        None => {}
    }
    let Some(account) = accounts.iter().find(|account| account.access_key_id == claim.key_id) else {
        return Err(unknown_id(&claim.key_id, "0002-00000902"));
    };
    check_token(account, claim.token.as_deref(), accounts, now)?;
    let right = claim.algorithm.sign(account.access_key_secret.expose(), &claim.string_to_sign);
    if !same(right.as_bytes(), claim.signature.as_bytes()) {
        return Err(claim.mismatch());
    }
    Ok(RequestAuthentication::Account(claim.key_id))
}

/// Finds the signature in the header or in the URL.
fn claim(request: &OssRequest, identity: &ServiceIdentity) -> Result<Option<SignatureClaim>, OssError> {
    let mut lines = request.headers.get_all(header::AUTHORIZATION).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err(OssError::argument("More than one Authorization header."));
    }
    let v4_url = ["x-oss-signature", "x-oss-signature-version", "x-oss-credential"];
    let in_url_v4 = v4_url.iter().any(|name| request.query.has(name));
    let in_url_v1 = ["OSSAccessKeyId", "Signature"].iter().any(|name| request.query.has(name));
    if line.is_some() && (in_url_v1 || in_url_v4) || in_url_v1 && in_url_v4 {
        return Err(OssError::argument(
            "Only one signature may be given, in the Authorization header or in the query string.",
        ));
    }
    let Some(line) = line else {
        return match (in_url_v4, in_url_v1) {
            (true, _) => v4::in_url(request, identity).map(Some),
            (_, true) => v1::in_url(request).map(Some),
            (false, false) => Ok(None),
        };
    };
    let Ok(line) = line.to_str() else {
        return Err(bad_authorization());
    };
    match line.trim().split_once(' ') {
        Some(("OSS4-HMAC-SHA256", fields)) => v4::in_header(request, fields, identity).map(Some),
        Some(("OSS", fields)) => v1::in_header(request, fields).map(Some),
        Some(_) | None => Err(bad_authorization()),
    }
}

impl SignatureAlgorithm {
    fn sign(&self, secret: &str, string_to_sign: &[u8]) -> String {
        match self {
            Self::V1 => v1::signature(secret, string_to_sign),
            Self::V4 { scope, .. } => v4::signature(secret, scope, string_to_sign),
        }
    }
}

impl SignatureValidity {
    fn check(&self, now: Timestamp) -> Result<(), OssError> {
        let (from, to, early) = match self {
            Self::Around(at) => {
                if (now.unix_s() - at.unix_s()).abs() <= SKEW_S_MAX {
                    return Ok(());
                }
                return Err(skewed(*at, now));
            }
            Self::Until(at) => (0, at.unix_s(), ""),
            Self::Between(from, to) => (from.unix_s() - SKEW_S_MAX, to.unix_s(), "0002-00000235"),
        };
        if now.unix_s() < from {
            return Err(OssError::argument("The URL is not valid yet.").ec(early));
        }
        if now.unix_s() > to {
            return Err(OssError::denied("Request has expired.")
                .with("Expires", Timestamp::from_unix_s(to).iso_extended())
                .with("ServerTime", now.iso_extended()));
        }
        Ok(())
    }
}

impl SignatureClaim {
    fn mismatch(self) -> OssError {
        let bytes = upper::encode_string(&self.string_to_sign);
        let pairs: Vec<_> = bytes.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
        let failure = OssError::forbidden(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        )
        .ec("0002-00000040")
        .with("OSSAccessKeyId", self.key_id)
        .with("SignatureProvided", self.signature)
        .with("StringToSign", String::from_utf8_lossy(&self.string_to_sign))
        .with("StringToSignBytes", pairs.join(" "));
        match self.algorithm {
            SignatureAlgorithm::V1 => failure,
            SignatureAlgorithm::V4 { canonical_request, .. } => {
                failure.with("CanonicalRequest", String::from_utf8_lossy(&canonical_request))
            }
        }
    }
}

/// Checks the security token. Temporary credentials require their token, and long-lived keys must
/// not have one.
fn check_token(
    account: &EmulatedAccount,
    token: Option<&[u8]>,
    accounts: &[EmulatedAccount],
    now: Timestamp,
) -> Result<(), OssError> {
    let (own, given) = match (&account.security_token, token) {
        (None, None) => return Ok(()),
        (Some(own), Some(given)) => (own, given),
        (None, Some(_)) | (Some(_), None) => {
            return Err(unknown_id(&account.access_key_id, "0002-00000002"));
        }
    };
    if !same(own.expose().as_bytes(), given) {
        let of_another = accounts.iter().filter_map(|other| other.security_token.as_ref());
        return Err(if of_another.into_iter().any(|other| same(other.expose().as_bytes(), given)) {
            OssError::forbidden(
                "AccessKeyIdAndSecurityTokenNotMatch",
                "The AccessKeyId and the security token you provided do not belong together.",
            )
            .ec("0002-00000004")
        } else {
            OssError::forbidden("InvalidSecurityToken", "The security token you provided is invalid.")
                .ec("0002-00000006")
        });
    }
    if account.expires.is_some_and(|end| end <= now) {
        return Err(expired_token());
    }
    Ok(())
}

/// Returns the value covered by a signature: repeated values trimmed and joined with a comma.
fn merged(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> =
        headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii()).collect();
    if values.is_empty() { None } else { Some(values.join(&b","[..])) }
}

/// Returns the security token in the headers.
fn token_header(headers: &HeaderMap) -> Option<Vec<u8>> {
    merged(headers, "x-oss-security-token").filter(|token| !token.is_empty())
}

/// Compares in constant time, so that timing does not reveal the first difference.
fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

fn unknown_id(key_id: &str, ec: &'static str) -> OssError {
    OssError::forbidden(
        "InvalidAccessKeyId",
        "The OSS Access Key Id you provided does not exist in our records.",
    )
    .ec(ec)
    .with("OSSAccessKeyId", key_id)
}

fn expired_token() -> OssError {
    OssError::forbidden("SecurityTokenExpired", "The security token you provided has expired.")
        .ec("0002-00000007")
}

fn skewed(at: Timestamp, now: Timestamp) -> OssError {
    OssError::forbidden(
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
    )
    .ec("0002-00000504")
    .with("MaxAllowedSkewMilliseconds", (SKEW_S_MAX * 1000).to_string())
    .with("RequestTime", at.iso_extended())
    .with("ServerTime", now.iso_extended())
}

fn bad_authorization() -> OssError {
    OssError::argument("Authorization header is invalid.").ec("0002-00000062")
}

fn no_date() -> OssError {
    OssError::new(StatusCode::FORBIDDEN, "AccessDenied", "OSS authentication requires a valid Date.")
        .ec("0002-00000503")
}

fn bad_date() -> OssError {
    OssError::denied("The format of the Date or x-oss-date header is invalid.").ec("0002-00000502")
}

/// The maximum difference between the clocks of client and service.
const SKEW_S_MAX: i64 = 15 * 60;
