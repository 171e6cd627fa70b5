//! The signature of a form upload, which is over the text of its policy ("PostObject", OSS API
//! reference). OSS ignores signatures in the header and in the URL of such a request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::identity_error::{IdentityError, MalformedSignature};
use super::post_policy::PostPolicy;
use super::signature_claim::{
    BAD_KEY_ID, ClaimedText, PresentedToken, SignatureClaim, SignatureValidity, is_key_id,
};
use super::v4_claim;
use crate::oss::{FormHead, SigningProduct};

/// Reads the signature of a form, V1 or V4.
pub(super) fn find(form: &FormHead, product: SigningProduct) -> Result<SignatureClaim<'_>, IdentityError> {
    let has = |names: &[&str]| names.iter().any(|name| form.get(name).is_some());
    let is_v4 = has(&["x-oss-signature-version", "x-oss-signature", "x-oss-credential", "x-oss-date"]);
    let is_v1 = has(&["OSSAccessKeyId", "Signature"]);
    if !is_v1 && !is_v4 {
        return Err(IdentityError::Missing);
    }
    // guard: one-signature-of-a-form
    if is_v1 && is_v4 {
        return Err(TWO_SIGNATURES.into());
    }
    let policy = form.get("policy").ok_or(NO_POLICY)?;
    let expires = PostPolicy::parse(policy).ok_or(BAD_POLICY)?.expiration;
    let token = form.get("x-oss-security-token").map_or(PresentedToken::Absent, PresentedToken::Text);
    if is_v4 {
        return v4_claim::in_form(form, policy, expires, product)
            .map(|claim| SignatureClaim { token, ..claim });
    }
    let id = form.get("OSSAccessKeyId").filter(|id| is_key_id(id)).ok_or(BAD_KEY_ID)?;
    let provided = form.get("Signature").ok_or(BAD_FORM_SIGNATURE)?;
    let signature = STANDARD.decode(provided).ok().and_then(|bytes| bytes.try_into().ok());
    Ok(SignatureClaim {
        id,
        provided,
        // Like a URL, a form is signed for a browser in advance.
        is_url: true,
        token,
        validity: SignatureValidity::Until(expires),
        signed: ClaimedText::V1 {
            signature: signature.ok_or(BAD_FORM_SIGNATURE)?,
            string_to_sign: policy.as_bytes().to_vec(),
        },
    })
}

const TWO_SIGNATURES: MalformedSignature =
    MalformedSignature::argument("The form has signatures of both versions.");
const NO_POLICY: MalformedSignature = MalformedSignature::argument("The form has no policy.");
const BAD_POLICY: MalformedSignature = MalformedSignature::argument("The policy of the form is invalid.");
const BAD_FORM_SIGNATURE: MalformedSignature =
    MalformedSignature::argument("The signature of the form is missing or invalid.");
