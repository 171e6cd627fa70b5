//! Finds the identity that a request presents, in its header or its URL, and rejects what could be
//! read as two identities or as another one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use zeroize::Zeroizing;

use super::identity_error::{IdentityError, MalformedSignature};
use super::identity_proof::IdentityProof;
use super::signature_claim::{BAD_AUTHORIZATION, SignatureClaim};
use super::{v1_claim, v4_claim};
use crate::oss::{Query, QueryParameter, SigningProduct};
use crate::sign::{SignableRequest, v4};

/// The identity that a request presents.
#[derive(Debug)]
pub(super) enum PresentedIdentity<'a> {
    /// A signature with an access key.
    Signature(SignatureClaim<'a>),
    /// A bearer token, or a password that is one.
    Token {
        text: Zeroizing<Vec<u8>>,
        /// [`IdentityProof::Bearer`] or [`IdentityProof::Basic`].
        proof: IdentityProof,
    },
}

impl<'a> PresentedIdentity<'a> {
    /// Finds the identity that a request presents. Returns `None` if it presents none. The scope of
    /// a signature may name OSS or `product`.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`], [`IdentityError::UnsignedParameter`] and
    /// [`IdentityError::UrlParameter`].
    pub(super) fn find(
        request: &SignableRequest<'a>,
        product: SigningProduct,
    ) -> Result<Option<Self>, IdentityError> {
        let authorization = authorization(request.headers)?;
        let url = UrlForm::find(request.query)?;
        match (authorization, url) {
            (Some(_), Some(_)) => Err(TWO_IDENTITIES.into()),
            (None, None) => Ok(None),
            // They would be removed after the verification.
            // guard: parameters-beside-header
            (Some(_), None) if has_parameter(request.query, &[V1_PARAMETERS, V4_PARAMETERS]) => {
                Err(TWO_IDENTITIES.into())
            }
            // guard: v1-beside-v4
            (None, Some(UrlForm::V4)) if has_parameter(request.query, &[V1_PARAMETERS]) => {
                Err(TWO_IDENTITIES.into())
            }
            (Some(authorization), None) => Self::in_header(request, authorization, product).map(Some),
            (None, Some(form)) => {
                reject_doubles(request)?;
                let claim = match form {
                    UrlForm::V1 => v1_claim::in_url(request)?,
                    UrlForm::V4 => v4_claim::in_url(request, product)?,
                };
                Ok(Some(Self::Signature(claim)))
            }
        }
    }

    /// Returns whether this is a signature.
    pub(super) fn is_signature(&self) -> bool {
        matches!(self, Self::Signature(_))
    }

    /// Returns the proof that this is, if it is valid.
    pub(super) fn proof(&self) -> IdentityProof {
        match self {
            Self::Signature(claim) if claim.is_url => IdentityProof::PresignedUrl,
            Self::Signature(_) => IdentityProof::Signature,
            Self::Token { proof, .. } => *proof,
        }
    }

    fn in_header(
        request: &SignableRequest<'a>,
        authorization: &'a str,
        product: SigningProduct,
    ) -> Result<Self, IdentityError> {
        let (scheme, fields) = authorization.split_once(' ').unwrap_or((authorization, ""));
        // The schemes of HTTP have any case (RFC 9110, 11.1).
        if scheme.eq_ignore_ascii_case("Bearer") {
            let text = Zeroizing::new(fields.trim_matches(' ').as_bytes().to_vec());
            return Ok(Self::Token { text, proof: IdentityProof::Bearer });
        }
        if scheme.eq_ignore_ascii_case("Basic") {
            let text = password(fields).ok_or(BAD_AUTHORIZATION)?;
            return Ok(Self::Token { text, proof: IdentityProof::Basic });
        }
        // guard: doubles
        reject_doubles(request)?;
        let claim = match scheme {
            v4::ALGORITHM => v4_claim::in_header(request, fields, product)?,
            "OSS" => v1_claim::in_header(request, fields)?,
            _ => return Err(other_scheme(scheme).into()),
        };
        Ok(Self::Signature(claim))
    }
}

/// Returns the password of `Basic` credentials (RFC 7617). The user name does not matter.
fn password(fields: &str) -> Option<Zeroizing<Vec<u8>>> {
    let decoded = Zeroizing::new(STANDARD.decode(fields.trim_matches(' ')).ok()?);
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(Zeroizing::new(decoded[colon + 1..].to_vec()))
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
                // An incomplete set is rejected, and not ignored beside another identity.
                b"x-oss-signature-version"
                | b"x-oss-signature"
                | b"x-oss-credential"
                | b"x-oss-date"
                | b"x-oss-expires"
                | b"x-oss-additional-headers" => Self::V4,
                _ => continue,
            };
            found = match (found, form) {
                (None | Some(Self::V1), Self::V1) => Some(Self::V1),
                (None | Some(Self::V4), Self::V4) => Some(Self::V4),
                (Some(Self::V1), Self::V4) | (Some(Self::V4), Self::V1) => return Err(TWO_IDENTITIES),
            };
        }
        Ok(found)
    }
}

/// Returns whether the query has one of these parameters.
fn has_parameter(query: &Query, lists: &[&[&str]]) -> bool {
    lists.iter().flat_map(|list| list.iter()).any(|name| query.get(name).is_some())
}

/// Returns the value of `Authorization`. An empty value is ignored.
fn authorization(headers: &HeaderMap) -> Result<Option<&str>, MalformedSignature> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    // guard: one-authorization
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
    if names.first().is_some_and(|name| name.is_empty()) {
        return Err(MalformedSignature::argument("The request has a parameter without a name."));
    }
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

/// The parameters of V1 URLs; a security token is reported as such.
const V1_PARAMETERS: &[&str] = &["OSSAccessKeyId", "Expires", "Signature"];
/// The parameters of V4 URLs; a security token is reported as such.
const V4_PARAMETERS: &[&str] = &[
    "x-oss-signature-version",
    "x-oss-credential",
    "x-oss-date",
    "x-oss-expires",
    "x-oss-additional-headers",
    "x-oss-signature",
];
pub(super) const TWO_IDENTITIES: MalformedSignature =
    MalformedSignature::argument("The request has more than one identity.");
const V2_SIGNATURE: MalformedSignature =
    MalformedSignature::argument("Signature V2 is not supported; sign with V4 or V1.");
