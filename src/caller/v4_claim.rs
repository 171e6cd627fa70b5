//! Signature V4 of a client, in the header and in the URL. Follows "Include a V4 signature in the
//! header" and "Include a V4 signature in the URL" (OSS API reference).

use http::header::DATE;

use super::identity_error::{IdentityError, MalformedSignature};
use super::signature_claim::{
    BAD_AUTHORIZATION, BAD_DATE, BAD_KEY_ID, BAD_SIGNATURE, ClaimedText, ClaimedV4, NO_DATE, PresentedToken,
    SignatureClaim, SignatureValidity, date_header, is_key_id, text_parameter,
};
use crate::oss::{FormHead, SigningProduct};
use crate::sign::SignableRequest;
use crate::sign::v4::{self, AdditionalHeaders, CredentialScope};
use crate::time::Timestamp;

/// Reads `Credential=…,AdditionalHeaders=…,Signature=…`, which follow the algorithm in the header.
pub(super) fn in_header<'a>(
    request: &SignableRequest<'a>,
    fields: &'a str,
    product: SigningProduct,
) -> Result<SignatureClaim<'a>, IdentityError> {
    let AuthorizationFields { credential, additional, signature: provided } =
        AuthorizationFields::parse(fields)?;
    let signature = signature(provided).ok_or(BAD_AUTHORIZATION)?;
    let hash = request.headers.get(v4::CONTENT_SHA256);
    if hash.is_none_or(|hash| hash.as_bytes() != v4::UNSIGNED_PAYLOAD.as_bytes()) {
        return Err(BAD_HASH.into());
    }
    let (date, at) = match date_header(request.headers, v4::DATE)? {
        Some(text) => (text, Timestamp::parse_iso_basic(text)),
        None => {
            let text = date_header(request.headers, DATE)?.ok_or(NO_DATE)?;
            (text, Timestamp::parse_iso_basic(text).or_else(|| Timestamp::parse_http_date(text)))
        }
    };
    let at = at.ok_or(BAD_DATE)?;
    let credential = ClaimedCredential::parse(credential, at, product)?;
    let forms = CanonicalForms::new(request, additional)?;
    Ok(SignatureClaim {
        id: credential.id,
        provided,
        is_url: false,
        token: PresentedToken::find(request),
        validity: if credential.is_of_day {
            SignatureValidity::Around(at)
        } else {
            SignatureValidity::OtherDay
        },
        signed: ClaimedText::V4(forms.claim(signature, &credential, date, at)),
    })
}

/// Reads the `x-oss-…` parameters of a presigned URL.
pub(super) fn in_url<'a>(
    request: &SignableRequest<'a>,
    product: SigningProduct,
) -> Result<SignatureClaim<'a>, IdentityError> {
    let parameter = |name| text_parameter(request.query, name);
    if parameter("x-oss-signature-version") != Some(v4::ALGORITHM) {
        return Err(BAD_VERSION.into());
    }
    let credential = parameter("x-oss-credential").ok_or(NO_CREDENTIAL)?;
    let lifetime_s = lifetime_s(parameter("x-oss-expires").ok_or(NO_LIFETIME)?).ok_or(BAD_LIFETIME)?;
    let date = parameter("x-oss-date").ok_or(NO_URL_DATE)?;
    let begins = Timestamp::parse_iso_basic(date).ok_or(BAD_DATE)?;
    let provided = parameter(v4::SIGNATURE).ok_or(NO_SIGNATURE)?;
    let signature = signature(provided).ok_or(BAD_SIGNATURE)?;
    let credential = ClaimedCredential::parse(credential, begins, product)?;
    let additional = match request.query.get("x-oss-additional-headers") {
        None => None,
        Some(_) => Some(parameter("x-oss-additional-headers").ok_or(NO_ADDITIONAL)?),
    };
    let forms = CanonicalForms::new(request, additional)?;
    let ends = Timestamp::from_unix_s(begins.unix_s().saturating_add_unsigned(lifetime_s));
    let validity = if credential.is_of_day {
        SignatureValidity::Between(begins, ends)
    } else {
        SignatureValidity::OtherDay
    };
    Ok(SignatureClaim {
        id: credential.id,
        provided,
        is_url: true,
        token: PresentedToken::find(request),
        validity,
        signed: ClaimedText::V4(forms.claim(signature, &credential, date, begins)),
    })
}

/// Reads the `x-oss-…` fields of a form, whose signature is over the text of its policy.
pub(super) fn in_form<'a>(
    form: &'a FormHead,
    policy: &str,
    expires: Timestamp,
    product: SigningProduct,
) -> Result<SignatureClaim<'a>, IdentityError> {
    if form.get("x-oss-signature-version") != Some(v4::ALGORITHM) {
        return Err(BAD_VERSION.into());
    }
    let credential = form.get("x-oss-credential").ok_or(NO_CREDENTIAL)?;
    let date = form.get("x-oss-date").ok_or(NO_URL_DATE)?;
    let begins = Timestamp::parse_iso_basic(date).ok_or(BAD_DATE)?;
    let provided = form.get(v4::SIGNATURE).ok_or(NO_SIGNATURE)?;
    let signature = signature(provided).ok_or(BAD_SIGNATURE)?;
    let credential = ClaimedCredential::parse(credential, begins, product)?;
    let ends_max = begins.unix_s().saturating_add_unsigned(v4::URL_LIFETIME_MAX.as_secs());
    let ends = Timestamp::from_unix_s(expires.unix_s().min(ends_max));
    let validity = if credential.is_of_day {
        SignatureValidity::Between(begins, ends)
    } else {
        SignatureValidity::OtherDay
    };
    let signed = ClaimedV4 {
        signature,
        scope: credential.scope,
        canonical_request: Vec::new(),
        string_to_sign: policy.to_owned(),
        alternative: None,
    };
    Ok(SignatureClaim {
        id: credential.id,
        provided,
        is_url: true,
        token: PresentedToken::Absent,
        validity,
        signed: ClaimedText::V4(signed),
    })
}

/// The fields of `Authorization` after the algorithm.
struct AuthorizationFields<'a> {
    credential: &'a str,
    additional: Option<&'a str>,
    signature: &'a str,
}

impl<'a> AuthorizationFields<'a> {
    /// Parses `NAME=VALUE` fields in any order, separated by commas with or without blanks.
    fn parse(text: &'a str) -> Result<Self, MalformedSignature> {
        let mut credential = None;
        let mut additional = None;
        let mut signature = None;
        for field in text.split(',') {
            let slot = match field.trim_matches([' ', '\t']).split_once('=') {
                Some(("Credential", value)) => credential.replace(value),
                Some(("AdditionalHeaders", value)) => additional.replace(value),
                Some(("Signature", value)) => signature.replace(value),
                Some(_) | None => return Err(BAD_AUTHORIZATION),
            };
            if slot.is_some() {
                return Err(BAD_AUTHORIZATION);
            }
        }
        Ok(Self {
            credential: credential.ok_or(NO_CREDENTIAL)?,
            additional,
            signature: signature.ok_or(BAD_AUTHORIZATION)?,
        })
    }
}

/// The access key id and the scope in a credential.
struct ClaimedCredential<'a> {
    id: &'a str,
    scope: CredentialScope<'a>,
    /// The scope as the client wrote it.
    scope_text: &'a str,
    /// `true` if the day of the scope is that of the request.
    is_of_day: bool,
}

impl<'a> ClaimedCredential<'a> {
    /// Parses `ID/DAY/REGION/PRODUCT/aliyun_v4_request`. The region may be any: callers' keys have no
    /// region. The product must be OSS or `product`.
    fn parse(text: &'a str, at: Timestamp, product: SigningProduct) -> Result<Self, MalformedSignature> {
        let mut parts = text.split('/');
        let mut next = || parts.next().ok_or(BAD_SCOPE);
        let id = next()?;
        let scope_text = text.get(id.len() + 1..).ok_or(BAD_SCOPE)?;
        let day_text = next()?;
        let region = next()?;
        let claimed_product = next()?;
        if next()? != v4::REQUEST || parts.next().is_some() {
            return Err(BAD_SCOPE);
        }
        if !is_key_id(id) {
            return Err(BAD_KEY_ID);
        }
        let day = at.day();
        let is_region = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=64).contains(&region.len()) || !region.bytes().all(is_region) {
            return Err(BAD_REGION);
        }
        let mut products = [SigningProduct::Oss, product].into_iter();
        let product = products.find(|known| known.as_str() == claimed_product).ok_or(BAD_PRODUCT)?;
        let is_of_day = day_text == day.as_str();
        Ok(Self { id, scope: CredentialScope { day, region, product }, scope_text, is_of_day })
    }
}

/// The canonical requests that a signature may have been computed from.
struct CanonicalForms {
    /// With the list of additional headers as declared.
    declared: Vec<u8>,
    /// With the list in normal form, if that differs.
    normal: Option<Vec<u8>>,
}

impl CanonicalForms {
    fn new(request: &SignableRequest<'_>, additional: Option<&str>) -> Result<Self, MalformedSignature> {
        let Some(list) = additional else {
            let none = AdditionalHeaders { names: &[], list: "" };
            return Ok(Self { declared: v4::write_canonical_request(request, &[], none), normal: None });
        };
        if list.is_empty() {
            return Err(NO_ADDITIONAL);
        }
        // SDKs list headers that are signed anyway; OSS ignores those.
        let declared: Vec<&str> =
            list.split(';').filter(|name| !v4::is_signed(&name.to_ascii_lowercase())).collect();
        let mut names: Vec<String> = declared.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        names.dedup();
        for name in &names {
            if name.is_empty() {
                return Err(EMPTY_ADDITIONAL);
            }
            // guard: additional-header-exists
            if name.contains('_') || !request.headers.contains_key(name) {
                return Err(ABSENT_ADDITIONAL);
            }
            if request.headers.get_all(name).iter().count() > 1 {
                return Err(DOUBLED_ADDITIONAL);
            }
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let list = &declared.join(";");
        let normal_list = &names.join(";");
        let write =
            |list| v4::write_canonical_request(request, &[], AdditionalHeaders { names: &names, list });
        Ok(Self { declared: write(list), normal: (list != normal_list).then(|| write(normal_list)) })
    }

    /// Returns the claim with the strings that may have been signed at `at`, which the request has
    /// as the text `date`.
    fn claim<'a>(
        self,
        signature: [u8; 32],
        credential: &ClaimedCredential<'a>,
        date: &str,
        at: Timestamp,
    ) -> ClaimedV4<'a> {
        let &ClaimedCredential { scope, scope_text, .. } = credential;
        let string = |canonical: &[u8], date: &str| v4::string_to_sign(canonical, date, scope_text);
        let string_to_sign = string(&self.declared, date);
        let is_iso = Timestamp::parse_iso_basic(date).is_some();
        let alternative = match self.normal {
            Some(normal) => Some(string(&normal, date)),
            // Some SDKs sign the text of `Date`, others its ISO form.
            None if !is_iso => Some(string(&self.declared, &at.iso_basic())),
            None => None,
        };
        ClaimedV4 { signature, scope, canonical_request: self.declared, string_to_sign, alternative }
    }
}

/// Reads a lifetime of 1 second to 7 days.
fn lifetime_s(text: &str) -> Option<u64> {
    let seconds = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())??;
    (1..=v4::URL_LIFETIME_MAX.as_secs()).contains(&seconds).then_some(seconds)
}

/// Reads 64 hexadecimal digits.
fn signature(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    (base16ct::mixed::decode(text, &mut bytes).ok()?.len() == bytes.len()).then_some(bytes)
}

const BAD_HASH: MalformedSignature =
    MalformedSignature::argument("The x-oss-content-sha256 header must be UNSIGNED-PAYLOAD.")
        .with_ec("0002-00000214");
const BAD_VERSION: MalformedSignature =
    MalformedSignature::argument("The x-oss-signature-version parameter is missing or unknown.");
const NO_SIGNATURE: MalformedSignature =
    MalformedSignature::argument("The x-oss-signature parameter is missing.");
const NO_CREDENTIAL: MalformedSignature =
    MalformedSignature::argument("The Credential is missing.").with_ec("0002-00000217");
const NO_LIFETIME: MalformedSignature =
    MalformedSignature::argument("The x-oss-expires parameter is missing.").with_ec("0002-00000215");
const BAD_LIFETIME: MalformedSignature =
    MalformedSignature::argument("The x-oss-expires parameter must be 1 to 604800.");
const NO_URL_DATE: MalformedSignature = MalformedSignature::argument("The x-oss-date parameter is missing.");
const BAD_SCOPE: MalformedSignature =
    MalformedSignature::argument("The Credential must have five parts and end in aliyun_v4_request.")
        .with_ec("0002-00000213");
const BAD_REGION: MalformedSignature =
    MalformedSignature::argument("Invalid signing region in Authorization header.").with_ec("0002-00000226");
const BAD_PRODUCT: MalformedSignature =
    MalformedSignature::argument("Invalid signing product in Authorization header.").with_ec("0002-00000227");
const NO_ADDITIONAL: MalformedSignature =
    MalformedSignature::argument("AdditionalHeaders is empty.").with_ec("0002-00000209");
const EMPTY_ADDITIONAL: MalformedSignature =
    MalformedSignature::argument("AdditionalHeaders contains an empty name.").with_ec("0002-00000210");
const DOUBLED_ADDITIONAL: MalformedSignature =
    MalformedSignature::argument("AdditionalHeaders names a header that occurs more than once.");
const ABSENT_ADDITIONAL: MalformedSignature =
    MalformedSignature::argument("AdditionalHeaders names a header that the request does not have.")
        .with_ec("0002-00000211");
