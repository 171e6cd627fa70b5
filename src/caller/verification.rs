//! Verification of the signature of a client: checks its time, looks up its key, and reports what
//! does not match.

use std::sync::Arc;

use super::directory::Caller;
use super::find_claim::find_claim;
use super::identity_context::IdentityContext;
use super::identity_error::{IdentityError, SignatureMismatch};
use super::signature_claim::{ClaimedText, ClaimedV4, SignatureClaim};
use crate::sign::SignableRequest;

/// Verifies the signature of a request. Returns the caller that it proves, or `None` if the request
/// has no signature. The request must be as the client sent it.
///
/// # Errors
/// The reason why the signature is rejected.
pub(super) fn verify(
    request: &SignableRequest<'_>,
    context: IdentityContext<'_>,
) -> Result<Option<Arc<Caller>>, IdentityError> {
    let IdentityContext { directory, product, keys, now, .. } = context;
    let Some(claim) = find_claim(request, product)? else { return Ok(None) };
    // guard: signature-time
    claim.validity.check(now)?;
    let entry = directory.key(claim.id);
    let is_signed = keys.verify(&claim.signed, directory, entry);
    match entry {
        // A key of a caller has no token.
        // guard: token-of-static-key
        Some(entry) if !claim.has_token => {
            // guard: signature-matches
            if bool::from(is_signed) { Ok(Some(Arc::clone(&entry.caller))) } else { Err(mismatch(claim)) }
        }
        Some(_) | None => Err(IdentityError::UnknownKey { id: claim.id.to_owned() }),
    }
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
