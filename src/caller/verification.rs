//! Verification of the signature of a client: checks its time, looks up its key, and reports what
//! does not match.

use std::sync::Arc;

use super::ambient_identity::check_same;
use super::directory::Caller;
use super::identity_context::IdentityContext;
use super::identity_error::{IdentityError, MalformedSignature, SignatureMismatch};
use super::presented_identity::PresentedIdentity;
use super::signature_claim::{ClaimedText, ClaimedV4, SignatureClaim};

/// Verifies the identity that a request presents, and returns the caller that it proves: that of its
/// connection, if the connection has one.
///
/// # Errors
/// The reason why the identity is rejected.
pub(super) fn verify(
    presented: PresentedIdentity<'_>,
    connection: Option<&Arc<Caller>>,
    context: IdentityContext<'_>,
) -> Result<Arc<Caller>, IdentityError> {
    let IdentityContext { directory, kinds, .. } = context;
    match presented {
        // guard: keys-are-accepted
        PresentedIdentity::Signature(_) if !kinds.key => Err(NO_KEYS.into()),
        // guard: tokens-are-accepted
        PresentedIdentity::Token { .. } if !kinds.token => Err(NO_TOKENS.into()),
        PresentedIdentity::Signature(claim) => verify_signature(claim, connection, context),
        PresentedIdentity::Token { text, .. } => {
            // The lookup compares digests. It also shows that the token is valid, as a request on a
            // connection of no caller does.
            let caller = directory.token(&text).ok_or(IdentityError::UnknownToken)?;
            check_same(connection, caller)?;
            Ok(Arc::clone(caller))
        }
    }
}

fn verify_signature(
    claim: SignatureClaim<'_>,
    connection: Option<&Arc<Caller>>,
    context: IdentityContext<'_>,
) -> Result<Arc<Caller>, IdentityError> {
    let IdentityContext { directory, keys, now, .. } = context;
    let entry = directory.key(claim.id);
    if let Some(entry) = entry {
        check_same(connection, &entry.caller)?;
    }
    // guard: signature-time
    claim.validity.check(now)?;
    let is_signed = keys.verify(&claim.signed, directory, entry);
    let Some(entry) = entry else { return Err(IdentityError::UnknownKey { id: claim.id.to_owned() }) };
    // A key of a caller has no token.
    // guard: token-of-static-key
    if claim.has_token {
        return Err(IdentityError::UnexpectedToken { id: claim.id.to_owned() });
    }
    // guard: signature-matches
    if !bool::from(is_signed) {
        return Err(mismatch(claim));
    }
    if let (Some(max), true) = (entry.caller.presign_max, claim.is_url) {
        // guard: lifetime-of-urls
        claim.validity.check_lifetime(max, now)?;
    }
    Ok(Arc::clone(&entry.caller))
}

fn mismatch(claim: SignatureClaim<'_>) -> IdentityError {
    let SignatureClaim { id, provided, is_url, signed, .. } = claim;
    let (string_to_sign, canonical_request) = match signed {
        ClaimedText::V1 { string_to_sign, .. } => (string_to_sign, None),
        ClaimedText::V4(ClaimedV4 { string_to_sign, canonical_request, .. }) => {
            (string_to_sign.into_bytes(), Some(canonical_request))
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

const NO_KEYS: MalformedSignature =
    MalformedSignature::argument("This listener accepts no signatures with access keys.");
const NO_TOKENS: MalformedSignature = MalformedSignature::argument("This listener accepts no tokens.");
