//! Verification of the signature of a client: checks its time, looks up its key, and reports what
//! does not match.

use std::sync::Arc;

use super::directory::Caller;
use super::hand_out::is_handed_out;
use super::identity_context::IdentityContext;
use super::identity_error::{IdentityError, MalformedSignature, SignatureMismatch};
use super::presented_identity::PresentedIdentity;
use super::signature_claim::{ClaimedText, ClaimedV4, PresentedToken, SignatureClaim};

/// Verifies the identity that a request presents, and returns the caller that it proves.
///
/// # Errors
/// The reason why the identity is rejected.
pub(super) fn verify(
    presented: PresentedIdentity<'_>,
    context: IdentityContext<'_>,
) -> Result<Arc<Caller>, IdentityError> {
    let IdentityContext { directory, kinds, .. } = context;
    match presented {
        // guard: keys-are-accepted
        PresentedIdentity::Signature(_) if !kinds.key => Err(NO_KEYS.into()),
        // guard: tokens-are-accepted
        PresentedIdentity::Token(_) if !kinds.token => Err(NO_TOKENS.into()),
        PresentedIdentity::Signature(claim) => verify_signature(claim, context),
        PresentedIdentity::Token(token) => {
            let caller = directory.token(&token).ok_or(IdentityError::UnknownToken)?;
            Ok(Arc::clone(caller))
        }
    }
}

fn verify_signature(
    claim: SignatureClaim<'_>,
    context: IdentityContext<'_>,
) -> Result<Arc<Caller>, IdentityError> {
    let IdentityContext { directory, keys, now, .. } = context;
    // guard: signature-time
    claim.validity.check(now)?;
    if is_handed_out(claim.id) {
        return verify_handed_out(claim, context);
    }
    let entry = directory.key(claim.id);
    let is_signed = keys.verify(&claim.signed, directory, entry);
    let Some(entry) = entry else { return Err(IdentityError::UnknownKey { id: claim.id.to_owned() }) };
    // A key of a caller has no token.
    // guard: token-of-static-key
    if claim.token != PresentedToken::Absent {
        return Err(IdentityError::UnexpectedToken { id: claim.id.to_owned() });
    }
    // guard: signature-matches
    if bool::from(is_signed) { Ok(Arc::clone(&entry.caller)) } else { Err(mismatch(claim)) }
}

/// Verifies a signature with a key that was handed out. An invalid token costs as many HMACs as a
/// wrong signature.
fn verify_handed_out(
    claim: SignatureClaim<'_>,
    context: IdentityContext<'_>,
) -> Result<Arc<Caller>, IdentityError> {
    let IdentityContext { directory, keys, now, .. } = context;
    let opened = match claim.token {
        PresentedToken::Text(token) => directory.handed_out(claim.id, token, now),
        PresentedToken::Absent | PresentedToken::Invalid => {
            Err(IdentityError::UnexpectedToken { id: claim.id.to_owned() })
        }
    };
    let is_signed = keys.verify(&claim.signed, directory, opened.as_ref().ok());
    let entry = opened?;
    // guard: handed-out-signature-matches
    if bool::from(is_signed) { Ok(entry.caller) } else { Err(mismatch(claim)) }
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
