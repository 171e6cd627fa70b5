//! The claim that a request is signed with an access key: what its signature says, before any key is
//! looked up or compared.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::identity_error::{IdentityError, MalformedSignature};
use crate::oss::Query;
use crate::sign::{SECURITY_TOKEN, SignableRequest, v4};
use crate::time::Timestamp;

/// A claim that a request is signed with an access key.
#[derive(Debug)]
pub(super) struct SignatureClaim<'a> {
    /// The access key id.
    pub(super) id: &'a str,
    /// The signature as the client sent it.
    pub(super) provided: &'a str,
    /// `true` if the URL carries the signature.
    pub(super) is_url: bool,
    /// The security token that accompanies the signature.
    pub(super) token: PresentedToken<'a>,
    /// The time in which the signature is valid.
    pub(super) validity: SignatureValidity,
    /// The signature and the texts that it may have been computed from.
    pub(super) signed: ClaimedText<'a>,
}

/// A security token that accompanies a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PresentedToken<'a> {
    /// There is none.
    Absent,
    /// The token.
    Text(&'a str),
    /// There is more than one, or one that is not text.
    Invalid,
}

/// The time in which a signature is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignatureValidity {
    /// 15 minutes before and after this time.
    Around(Timestamp),
    /// Until this time.
    Until(Timestamp),
    /// From 15 minutes before the first time until the second.
    Between(Timestamp, Timestamp),
    /// At no time: the day in the scope is not that of the request.
    OtherDay,
}

/// A signature with the texts that it may have been computed from.
#[derive(Debug)]
pub(super) enum ClaimedText<'a> {
    /// Signature V1.
    V1 { signature: [u8; 20], string_to_sign: Vec<u8> },
    /// Signature V4.
    V4(ClaimedV4<'a>),
}

/// The claimed signature V4 of a request.
#[derive(Debug)]
pub(super) struct ClaimedV4<'a> {
    pub(super) signature: [u8; 32],
    pub(super) scope: v4::CredentialScope<'a>,
    /// The canonical request with the additional headers as declared.
    pub(super) canonical_request: Vec<u8>,
    /// The string to sign of that canonical request, with the date as sent.
    pub(super) string_to_sign: String,
    /// Another string that SDKs sign for the same request.
    pub(super) alternative: Option<String>,
}

impl<'a> PresentedToken<'a> {
    /// Finds the token in all of the places in which SDKs send one. The signature need not cover it: a
    /// token belongs to one access key id, and no other fits.
    pub(super) fn find(request: &SignableRequest<'a>) -> Self {
        let mut found = Self::Absent;
        for name in [SECURITY_TOKEN, SECURITY_TOKEN_OF_URLS] {
            let header = request.headers.get(&name).map(|value| value.to_str().ok());
            let name = name.as_str();
            let parameter = request.query.get(name).map(|_| text_parameter(request.query, name));
            for text in [header, parameter].into_iter().flatten() {
                // guard: one-token
                found = match (found, text) {
                    (Self::Absent, Some(text)) => Self::Text(text),
                    (_, _) => Self::Invalid,
                };
            }
        }
        found
    }
}

impl SignatureValidity {
    /// Checks that a signature is valid at `now`.
    ///
    /// # Errors
    /// [`IdentityError::OtherDay`], [`IdentityError::Skewed`], [`IdentityError::Expired`] and
    /// [`IdentityError::NotYetValid`].
    pub(super) fn check(self, now: Timestamp) -> Result<(), IdentityError> {
        let ahead_s = |at: Timestamp| at.unix_s() - now.unix_s();
        match self {
            Self::OtherDay => Err(IdentityError::OtherDay { server_time: now }),
            Self::Around(at) if ahead_s(at).abs() > SKEW_S_MAX => {
                Err(IdentityError::Skewed { request_time: at, server_time: now })
            }
            Self::Between(begins, _) if ahead_s(begins) > SKEW_S_MAX => {
                Err(IdentityError::NotYetValid { server_time: now })
            }
            Self::Until(expires) | Self::Between(_, expires) if ahead_s(expires) < 0 => {
                Err(IdentityError::Expired { expires, server_time: now })
            }
            Self::Around(_) | Self::Until(_) | Self::Between(..) => Ok(()),
        }
    }

    /// Checks that a presigned URL is not valid for longer than `max`. A V1 URL does not say when it
    /// was made, so its remaining time counts.
    ///
    /// # Errors
    /// [`IdentityError::LongLived`].
    pub(super) fn check_lifetime(self, max: Duration, now: Timestamp) -> Result<(), IdentityError> {
        let lifetime_s = match self {
            Self::Until(expires) => expires.unix_s().saturating_sub(now.unix_s()),
            Self::Between(begins, expires) => expires.unix_s().saturating_sub(begins.unix_s()),
            Self::Around(_) | Self::OtherDay => return Ok(()),
        };
        let is_longer = u64::try_from(lifetime_s).is_ok_and(|lifetime_s| lifetime_s > max.as_secs());
        if is_longer { Err(IdentityError::LongLived { max_s: max.as_secs() }) } else { Ok(()) }
    }
}

/// Returns whether an access key id has the form of OSS.
pub(super) fn is_key_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Returns the date in a header as text.
pub(super) fn date_header(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, MalformedSignature> {
    match headers.get(name) {
        None => Ok(None),
        Some(value) => {
            let text = value.to_str().map_err(|_| BAD_DATE)?.trim_matches([' ', '\t']);
            Ok((!text.is_empty()).then_some(text))
        }
    }
}

/// Returns the value of a parameter as text.
pub(super) fn text_parameter<'a>(query: &'a Query, name: &str) -> Option<&'a str> {
    std::str::from_utf8(query.get(name)?.value.as_deref()?).ok()
}

/// The error of an `Authorization` that cannot be read.
pub(super) const BAD_AUTHORIZATION: MalformedSignature =
    MalformedSignature::argument("The Authorization header is invalid.");
/// The error of a signature in a URL that cannot be one.
pub(super) const BAD_SIGNATURE: MalformedSignature =
    MalformedSignature::argument("The signature in the URL is invalid.");
/// The error of an access key id that cannot be one.
pub(super) const BAD_KEY_ID: MalformedSignature =
    MalformedSignature::argument("The access key id in the signature is invalid.").with_ec("0002-00000206");
/// The error of a request without a date.
pub(super) const NO_DATE: MalformedSignature =
    MalformedSignature::denied("OSS authentication requires a valid Date.").with_ec("0002-00000503");
/// The error of a date that cannot be read.
pub(super) const BAD_DATE: MalformedSignature =
    MalformedSignature::denied("OSS authentication requires a valid Date.").with_ec("0002-00000502");

/// The name under which V1 URLs carry the security token.
const SECURITY_TOKEN_OF_URLS: HeaderName = HeaderName::from_static("security-token");
/// The maximum difference between the time of a request and that of the proxy, in seconds.
const SKEW_S_MAX: i64 = 15 * 60;
