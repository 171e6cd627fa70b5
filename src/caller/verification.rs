//! Verification of the signature of a client: checks its time, looks up its key, and reports what
//! does not match.

use std::sync::Arc;

use super::ambient_identity::check_same;
use super::directory::{Caller, KeyEntry};
use super::hand_out::is_handed_out;
use super::identity_context::IdentityContext;
use super::identity_error::{IdentityError, MalformedSignature, SignatureMismatch};
use super::jwt_token::has_jwt_form;
use super::jwt_verification::{VerifiedJwt, verify_jwt};
use super::presented_identity::PresentedIdentity;
use super::signature_claim::{ClaimedText, ClaimedV4, PresentedToken, SignatureClaim};
use crate::time::Timestamp;

/// A caller that a request proves to come from.
pub(super) struct ProvenCaller {
    pub(super) caller: Arc<Caller>,
    /// The end of the token that proves it, if it has one.
    pub(super) expires: Option<Timestamp>,
}

/// Verifies the identity that a request presents, and returns the caller that it proves: that of its
/// connection, if the connection has one.
///
/// # Errors
/// The reason why the identity is rejected.
pub(super) fn verify(
    presented: PresentedIdentity<'_>,
    connection: Option<&Arc<Caller>>,
    context: IdentityContext<'_>,
) -> Result<ProvenCaller, IdentityError> {
    let kinds = context.kinds;
    match presented {
        // guard: keys-are-accepted
        PresentedIdentity::Signature(_) if !kinds.key => Err(NO_KEYS.into()),
        // guard: tokens-are-accepted
        PresentedIdentity::Token { .. } if !kinds.accepts_bearer() => Err(NO_TOKENS.into()),
        PresentedIdentity::Signature(claim) => {
            let caller = verify_signature(claim, connection, context)?;
            Ok(ProvenCaller { caller, expires: None })
        }
        PresentedIdentity::Token { text, .. } => {
            // The lookup compares digests. It also shows that the token is valid, as a request on a
            // connection of no caller does.
            let proven = verify_token(&text, context)?;
            check_same(connection, &proven.caller)?;
            Ok(proven)
        }
    }
}

/// Verifies a bearer token. A token of a caller may have the form of a JSON Web Token, so the
/// tokens of callers come first.
fn verify_token(token: &[u8], context: IdentityContext<'_>) -> Result<ProvenCaller, IdentityError> {
    let IdentityContext { directory, kinds, .. } = context;
    // guard: only-accepted-tokens
    if let Some(caller) = directory.token(token).filter(|_| kinds.token) {
        return Ok(ProvenCaller { caller: Arc::clone(caller), expires: None });
    }
    // guard: only-accepted-jwts
    if !kinds.jwt || (kinds.token && !has_jwt_form(token)) {
        return Err(IdentityError::UnknownToken);
    }
    let VerifiedJwt { caller, expires } = verify_jwt(token, context)?;
    Ok(ProvenCaller { caller: Arc::clone(&directory.callers()[caller]), expires: Some(expires) })
}

fn verify_signature(
    claim: SignatureClaim<'_>,
    connection: Option<&Arc<Caller>>,
    context: IdentityContext<'_>,
) -> Result<Arc<Caller>, IdentityError> {
    let IdentityContext { directory, keys, signature_clock, .. } = context;
    let handed_out = is_handed_out(claim.id).then(|| handed_out_key(&claim, context));
    let entry = match &handed_out {
        Some(opened) => opened.as_ref().ok(),
        None => directory.key(claim.id),
    };
    if let Some(entry) = entry {
        check_same(connection, &entry.caller)?;
    }
    let now = signature_clock.now_for(entry.map(|entry| &*entry.caller));
    // guard: signature-time
    claim.validity.check(now)?;
    // An invalid id or token costs as many HMACs as a wrong signature.
    let is_signed = keys.verify(&claim.signed, directory, entry);
    if let Some(opened) = handed_out {
        let entry = opened?;
        // guard: handed-out-signature-matches
        if !bool::from(is_signed) {
            return Err(mismatch(claim));
        }
        check_lifetime(&claim, &entry.caller, now)?;
        return Ok(entry.caller);
    }
    let Some(entry) = entry else { return Err(IdentityError::UnknownKey { id: claim.id.to_owned() }) };
    // A key of a caller has no token.
    // guard: token-of-static-key
    if claim.token != PresentedToken::Absent {
        return Err(IdentityError::UnexpectedToken { id: claim.id.to_owned() });
    }
    // guard: signature-matches
    if !bool::from(is_signed) {
        return Err(mismatch(claim));
    }
    check_lifetime(&claim, &entry.caller, now)?;
    Ok(Arc::clone(&entry.caller))
}

/// Returns the entry of a key that was handed out, which is in the token beside its signature.
fn handed_out_key(
    claim: &SignatureClaim<'_>,
    context: IdentityContext<'_>,
) -> Result<KeyEntry, IdentityError> {
    match claim.token {
        PresentedToken::Text(token) => context.directory.handed_out(claim.id, token, context.clock_now),
        PresentedToken::Absent | PresentedToken::Invalid => {
            Err(IdentityError::UnexpectedToken { id: claim.id.to_owned() })
        }
    }
}

/// Checks that a presigned URL is valid for no longer than its caller may sign URLs for.
fn check_lifetime(claim: &SignatureClaim<'_>, caller: &Caller, now: Timestamp) -> Result<(), IdentityError> {
    // guard: lifetime-of-urls
    match caller.presign_max.filter(|_| claim.is_url) {
        Some(max) => claim.validity.check_lifetime(max, now),
        None => Ok(()),
    }
}

fn mismatch(claim: SignatureClaim<'_>) -> IdentityError {
    let SignatureClaim { id, provided, is_url, token, signed, .. } = claim;
    let (string_to_sign, canonical_request) = match signed {
        ClaimedText::V1 { string_to_sign, .. } => (without(string_to_sign, token), None),
        ClaimedText::V4(ClaimedV4 { string_to_sign, canonical_request, .. }) => {
            (string_to_sign.into_bytes(), Some(without(canonical_request, token)))
        }
    };
    IdentityError::Mismatch(Box::new(SignatureMismatch {
        id: id.to_owned(),
        provided: provided.to_owned(),
        string_to_sign,
        canonical_request,
        is_url,
    }))
}

/// Returns a text with the token masked. A token of a handed-out key has the same characters in all
/// of the texts.
fn without(text: Vec<u8>, token: PresentedToken<'_>) -> Vec<u8> {
    let PresentedToken::Text(token) = token else { return text };
    // guard: token-is-masked
    if token.is_empty() {
        return text;
    }
    String::from_utf8_lossy(&text).replace(token, "***").into_bytes()
}

const NO_KEYS: MalformedSignature =
    MalformedSignature::argument("This listener accepts no signatures with access keys.");
const NO_TOKENS: MalformedSignature = MalformedSignature::argument("This listener accepts no tokens.");
