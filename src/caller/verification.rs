//! Verification of the signature of a client: checks its time, looks up its key, and reports what
//! does not match.

use std::sync::Arc;

use super::directory::Caller;
use super::identity_context::IdentityContext;
use super::identity_error::{IdentityError, MalformedSignature, SignatureMismatch};
use super::jwt_token::has_jwt_form;
use super::jwt_verification::verify_jwt;
use super::presented_identity::PresentedIdentity;
use super::signature_claim::{ClaimedText, ClaimedV4, SignatureClaim};

/// Verifies the identity that a request presents, and returns the caller that it proves.
///
/// # Errors
/// The reason why the identity is rejected.
pub(super) fn verify(
    presented: PresentedIdentity<'_>,
    context: IdentityContext<'_>,
) -> Result<Arc<Caller>, IdentityError> {
    let kinds = context.kinds;
    match presented {
        // guard: keys-are-accepted
        PresentedIdentity::Signature(_) if !kinds.key => Err(NO_KEYS.into()),
        // guard: tokens-are-accepted
        PresentedIdentity::Token(_) if !kinds.accepts_bearer() => Err(NO_TOKENS.into()),
        PresentedIdentity::Signature(claim) => verify_signature(claim, context),
        PresentedIdentity::Token(token) => verify_token(&token, context),
    }
}

/// Verifies a bearer token. A token of a caller may have the form of a JSON Web Token, so the
/// tokens of callers come first.
fn verify_token(token: &[u8], context: IdentityContext<'_>) -> Result<Arc<Caller>, IdentityError> {
    let IdentityContext { directory, kinds, .. } = context;
    // guard: only-accepted-tokens
    if let Some(caller) = directory.token(token).filter(|_| kinds.token) {
        return Ok(Arc::clone(caller));
    }
    // guard: only-accepted-jwts
    if !kinds.jwt || (kinds.token && !has_jwt_form(token)) {
        return Err(IdentityError::UnknownToken);
    }
    let index = verify_jwt(token, context)?;
    Ok(Arc::clone(&directory.callers()[index]))
}

fn verify_signature(
    claim: SignatureClaim<'_>,
    context: IdentityContext<'_>,
) -> Result<Arc<Caller>, IdentityError> {
    let IdentityContext { directory, keys, now, .. } = context;
    // guard: signature-time
    claim.validity.check(now)?;
    let entry = directory.key(claim.id);
    let is_signed = keys.verify(&claim.signed, directory, entry);
    let Some(entry) = entry else { return Err(IdentityError::UnknownKey { id: claim.id.to_owned() }) };
    // A key of a caller has no token.
    // guard: token-of-static-key
    if claim.has_token {
        return Err(IdentityError::UnexpectedToken { id: claim.id.to_owned() });
    }
    // guard: signature-matches
    if bool::from(is_signed) { Ok(Arc::clone(&entry.caller)) } else { Err(mismatch(claim)) }
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
