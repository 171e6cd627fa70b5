//! Signature V1 of a client, in the header and in the URL. Follows "Include a V1 signature in the
//! header" and "Add signatures to a URL" (OSS API reference).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::DATE;

use super::identity_error::{IdentityError, MalformedSignature};
use super::signature_claim::{
    BAD_AUTHORIZATION, BAD_DATE, BAD_KEY_ID, BAD_SIGNATURE, ClaimedText, NO_DATE, PresentedToken,
    SignatureClaim, SignatureValidity, date_header, is_key_id, text_parameter,
};
use crate::oss::{Query, QueryParameter};
use crate::sign::{SignableRequest, v1, v4};
use crate::time::Timestamp;

/// Reads `ID:SIGNATURE`, which follows `OSS ` in the header.
pub(super) fn in_header<'a>(
    request: &SignableRequest<'a>,
    fields: &'a str,
) -> Result<SignatureClaim<'a>, IdentityError> {
    let (id, provided) = fields.split_once(':').ok_or(BAD_AUTHORIZATION)?;
    if !is_key_id(id) {
        return Err(BAD_KEY_ID.into());
    }
    let signature = signature(provided).ok_or(BAD_AUTHORIZATION)?;
    let (date, at) = match date_header(request.headers, v4::DATE)? {
        Some(text) => (text, Timestamp::parse_http_date(text).or_else(|| Timestamp::parse_iso_basic(text))),
        None => {
            let text = date_header(request.headers, DATE)?.ok_or(NO_DATE)?;
            (text, Timestamp::parse_http_date(text))
        }
    };
    // The expiry time of a URL is not a date, so its signature is not valid in a header.
    let at = at.ok_or(BAD_DATE)?;
    reject_unsigned(request.query, &[])?;
    Ok(SignatureClaim {
        id,
        provided,
        is_url: false,
        token: PresentedToken::find(request),
        validity: SignatureValidity::Around(at),
        signed: ClaimedText::V1 { signature, string_to_sign: v1::string_to_sign_with(request, date) },
    })
}

/// Reads `OSSAccessKeyId`, `Expires` and `Signature`.
pub(super) fn in_url<'a>(request: &SignableRequest<'a>) -> Result<SignatureClaim<'a>, IdentityError> {
    let [id, expires, provided] = URL_PARAMETERS.map(|name| text_parameter(request.query, name));
    let (Some(id), Some(expires), Some(provided)) = (id, expires, provided) else {
        return Err(INCOMPLETE_URL.into());
    };
    if !is_key_id(id) {
        return Err(BAD_KEY_ID.into());
    }
    let signature = signature(provided).ok_or(BAD_SIGNATURE)?;
    if !(1..=20).contains(&expires.len()) || !expires.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BAD_EXPIRES.into());
    }
    let end = Timestamp::from_unix_s(expires.parse().unwrap_or(i64::MAX));
    reject_unsigned(request.query, &URL_PARAMETERS)?;
    // guard: v1-url-parameters
    let is_object = !request.key.is_empty();
    if let Some(other) = request.query.params().iter().find(|param| !may_be_presigned(param, is_object)) {
        return Err(IdentityError::UrlParameter(String::from_utf8_lossy(&other.name).into_owned()));
    }
    Ok(SignatureClaim {
        id,
        provided,
        is_url: true,
        token: PresentedToken::find(request),
        validity: SignatureValidity::Until(end),
        signed: ClaimedText::V1 { signature, string_to_sign: v1::string_to_sign_with(request, expires) },
    })
}

/// Reads the base64 of 20 bytes.
fn signature(text: &str) -> Option<[u8; 20]> {
    if text.len() != 28 {
        return None;
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Rejects parameters that V1 does not sign, unless they only select a part of a listing. A
/// middleman could have added them.
fn reject_unsigned(query: &Query, own: &[&str]) -> Result<(), IdentityError> {
    let is_known = |name: &[u8], known: &[&str]| known.iter().any(|known| known.as_bytes() == name);
    let is_unsigned = |param: &&QueryParameter| {
        let name = &param.name;
        !v1::is_signed_parameter(name) && !is_known(name, own) && !is_known(name, UNSIGNED)
    };
    // guard: unsigned-parameters
    if let Some(param) = query.params().iter().find(is_unsigned) {
        return Err(IdentityError::UnsignedParameter(String::from_utf8_lossy(&param.name).into_owned()));
    }
    Ok(())
}

/// Returns whether V1 URLs with this parameter are accepted. V1 cannot distinguish a key that ends
/// in `?acl` from the parameter `acl`, so parameters that select another resource are rejected. A
/// bucket has none: its URL could be that of a key that begins with `?`.
fn may_be_presigned(param: &QueryParameter, is_object: bool) -> bool {
    let name = param.name.as_slice();
    let is_in = |list: &[&str]| list.iter().any(|known| known.as_bytes() == name);
    let is_of_object = name.starts_with(b"response-") || is_in(PRESIGNED);
    is_object && is_of_object || is_in(UNSIGNED) || is_in(&URL_PARAMETERS)
}

/// The parameters of a V1 signature in a URL.
const URL_PARAMETERS: [&str; 3] = ["OSSAccessKeyId", "Expires", "Signature"];

/// The signed parameters of V1 URLs of objects that are in use.
const PRESIGNED: &[&str] = &[
    "append",
    "partNumber",
    "position",
    "security-token",
    "uploadId",
    "uploads",
    "versionId",
    "x-oss-process",
    "x-oss-traffic-limit",
];

/// The parameters that are accepted without being signed: they select a part of a listing.
const UNSIGNED: &[&str] = &[
    "category",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-keys",
    "max-parts",
    "max-uploads",
    "mode",
    "part-number-marker",
    "prefix",
    "regions",
    "rule-id",
    "start-after",
    "tag-key",
    "tag-value",
    "upload-id-marker",
    "version-id-marker",
];

const INCOMPLETE_URL: MalformedSignature = MalformedSignature::denied(
    "Query-string authentication requires the Signature, Expires and OSSAccessKeyId parameters",
);
const BAD_EXPIRES: MalformedSignature =
    MalformedSignature::denied("Invalid date (should be seconds since epoch).");
