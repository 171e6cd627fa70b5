//! Authentication of requests: finds and verifies their signatures. Follows "Include signatures in
//! the Authorization header", V1 and V4, and "Include signatures in URLs". Independent of the
//! signing code.

mod account;
mod claim;
mod form;
mod header_error;
mod signed_headers;
mod v1;
mod v4;

#[cfg(test)]
mod presigned_tests;
#[cfg(test)]
pub(super) mod tests;

use http::header;

use super::error::OssError;
use super::request::OssRequest;
use super::settings::{EmulatedAccount, ServiceIdentity};
use crate::time::Timestamp;
use account::{check_token, expired_token, same, unknown_id};
use claim::{SignatureAlgorithm, SignatureClaim};
pub(super) use form::verify_form;
use header_error::bad_authorization;

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
    let Some(claim) = find_claim(request, identity)? else {
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
    let right = right_signature(&claim, account.access_key_secret.expose());
    if !same(right.as_bytes(), claim.signature.as_bytes()) {
        return Err(claim.mismatch());
    }
    Ok(RequestAuthentication::Account(claim.key_id))
}

/// Finds the signature in the header or in the URL.
fn find_claim(request: &OssRequest, identity: &ServiceIdentity) -> Result<Option<SignatureClaim>, OssError> {
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

/// Computes the signature that the secret makes of the claimed text.
fn right_signature(claim: &SignatureClaim, secret: &str) -> String {
    match &claim.algorithm {
        SignatureAlgorithm::V1 => v1::signature(secret, &claim.string_to_sign),
        SignatureAlgorithm::V4 { scope, .. } => v4::signature(secret, scope, &claim.string_to_sign),
    }
}
