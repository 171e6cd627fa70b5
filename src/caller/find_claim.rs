//! Finds the signature of a request in its header or its URL, and rejects what could be read as two
//! signatures or as another one.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName};

use super::identity_error::{IdentityError, MalformedSignature};
use super::signature_claim::{BAD_AUTHORIZATION, SignatureClaim};
use super::{v1_claim, v4_claim};
use crate::oss::{Query, QueryParameter, SigningProduct};
use crate::sign::{SignableRequest, v4};

/// Finds the signature of a request. Returns `None` if the request has none. The scope may name OSS
/// or `product`.
///
/// # Errors
/// [`IdentityError::Malformed`] and [`IdentityError::UrlParameter`].
pub(super) fn find_claim<'a>(
    request: &SignableRequest<'a>,
    product: SigningProduct,
) -> Result<Option<SignatureClaim<'a>>, IdentityError> {
    let authorization = authorization(request.headers)?;
    let url = UrlForm::find(request.query)?;
    let claim = match (authorization, url) {
        (Some(_), Some(_)) => return Err(TWO_SIGNATURES.into()),
        (None, None) => return Ok(None),
        (Some(authorization), None) => {
            // guard: doubles
            reject_doubles(request)?;
            match authorization.split_once(' ') {
                Some((v4::ALGORITHM, fields)) => v4_claim::in_header(request, fields, product)?,
                Some(("OSS", fields)) => v1_claim::in_header(request, fields)?,
                Some((scheme, _)) => return Err(other_scheme(scheme).into()),
                None => return Err(other_scheme(authorization).into()),
            }
        }
        (None, Some(form)) => {
            reject_doubles(request)?;
            match form {
                UrlForm::V1 => v1_claim::in_url(request)?,
                UrlForm::V4 => v4_claim::in_url(request, product)?,
            }
        }
    };
    Ok(Some(claim))
}

/// The form of a signature in a URL.
enum UrlForm {
    V1,
    V4,
}

impl UrlForm {
    fn find(query: &Query) -> Result<Option<Self>, MalformedSignature> {
        let mut found = None;
        for QueryParameter { name, value } in query.params() {
            let form = match name.as_slice() {
                b"OSSAccessKeyId" | b"Signature" => Self::V1,
                b"x-oss-signature-version" if value.as_deref() == Some(b"OSS2") => return Err(V2_SIGNATURE),
                b"x-oss-access-key-id" => return Err(V2_SIGNATURE),
                b"x-oss-signature-version" | b"x-oss-signature" | b"x-oss-credential" => Self::V4,
                _ => continue,
            };
            found = match (found, form) {
                (None | Some(Self::V1), Self::V1) => Some(Self::V1),
                (None | Some(Self::V4), Self::V4) => Some(Self::V4),
                (Some(Self::V1), Self::V4) | (Some(Self::V4), Self::V1) => return Err(TWO_SIGNATURES),
            };
        }
        Ok(found)
    }
}

/// Returns the value of `Authorization`. An empty value is none.
fn authorization(headers: &HeaderMap) -> Result<Option<&str>, MalformedSignature> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(MalformedSignature::argument("The request has more than one Authorization header."));
    }
    let line = line.to_str().map_err(|_| BAD_AUTHORIZATION)?.trim_matches([' ', '\t']);
    Ok((!line.is_empty()).then_some(line))
}

/// Rejects headers and parameters that occur twice, if a signature covers them. Two readers could
/// use different occurrences.
fn reject_doubles(request: &SignableRequest<'_>) -> Result<(), MalformedSignature> {
    let mut last: Option<&HeaderName> = None;
    // The iterator yields the lines of one name consecutively.
    for (name, _) in request.headers {
        let text = name.as_str();
        if last == Some(name) && (v4::is_signed(text) || text == "date" || text == "security-token") {
            return Err(MalformedSignature::argument(
                "The request has more than one line of a signed header.",
            ));
        }
        if is_disguised(text) {
            return Err(MalformedSignature::argument(
                "The name of an x-oss header must be written with hyphens.",
            ));
        }
        last = Some(name);
    }
    let mut names: Vec<&[u8]> = request.query.params().iter().map(|param| param.name.as_slice()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(MalformedSignature::argument("The request has more than one parameter of one name."));
    }
    Ok(())
}

/// Returns whether a server that treats `_` like `-` would take this for another header of OSS.
fn is_disguised(name: &str) -> bool {
    let is_own = |prefix: &str| {
        name.len() >= prefix.len()
            && name
                .bytes()
                .zip(prefix.bytes())
                .all(|(byte, own)| byte == own || (byte == b'_' && own == b'-'))
    };
    is_own("x-oss-") && name.contains('_') && !name.starts_with("x-oss-meta-")
}

fn other_scheme(scheme: &str) -> MalformedSignature {
    match scheme {
        "OSS2" => V2_SIGNATURE,
        "AWS4-HMAC-SHA256" | "AWS" => {
            MalformedSignature::argument("The request is signed for S3; use a client that signs for OSS.")
        }
        _ => BAD_AUTHORIZATION,
    }
}

const TWO_SIGNATURES: MalformedSignature =
    MalformedSignature::argument("The request has more than one signature.");
const V2_SIGNATURE: MalformedSignature =
    MalformedSignature::argument("Signature V2 is not supported; sign with V4 or V1.");
