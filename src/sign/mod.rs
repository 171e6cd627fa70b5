//! Signatures. A signer reads the request that is about to be sent, and returns the headers to set.
//! It never modifies the request. Pure: no clock, no IO.

mod form_policy;
mod signable_request;
pub(crate) mod v1;
pub mod v4;

use std::time::Duration;

use http::HeaderMap;
use http::header::{AUTHORIZATION, DATE, HeaderName, HeaderValue};

pub(crate) use form_policy::FormPolicy;
pub use signable_request::SignableRequest;

use crate::oss::{Query, Region};
use crate::secret::Secret;
use crate::time::{Timestamp, UtcDay};

/// The version of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureVersion {
    /// `OSS4-HMAC-SHA256`: every parameter is signed, and the signing key is valid for one day and
    /// region.
    V4,
    /// `OSS`, with HMAC-SHA1: for private clouds and old buckets.
    V1,
}

/// The access key that signs.
#[derive(Clone, Copy, Debug)]
pub struct SigningIdentity<'a> {
    /// The access key id.
    pub id: &'a str,
    /// The access key secret.
    pub secret: &'a Secret,
    /// The security token of temporary credentials.
    pub token: Option<&'a Secret>,
}

/// The version of a signature, with the scope of its key.
#[derive(Clone, Copy, Debug)]
pub enum SigningScheme<'a> {
    /// V4, with a key for one region and day.
    V4 {
        /// The day of the request.
        day: UtcDay,
        /// The region of the bucket, or a CloudBox id.
        region: &'a Region,
    },
    /// V1, whose key has no scope.
    V1,
}

/// A time in the formats of signatures; one value serves all requests of a second.
#[derive(Clone, Debug)]
pub struct SigningTime {
    at: Timestamp,
    day: UtcDay,
    iso_basic: String,
    /// Both formats as header values, which are cheap to clone.
    iso_header: HeaderValue,
    http_header: HeaderValue,
}

/// The headers to set on the request, which must not change otherwise.
#[derive(Debug)]
pub struct SigningHeaders(Vec<(HeaderName, HeaderValue)>);

/// A signing key for many signatures. The computations that depend only on credentials, day and
/// region are done once.
pub struct SigningKey {
    key: SigningKeyKind,
    token: Option<HeaderValue>,
}

enum SigningKeyKind {
    V4(v4::DayKey),
    V1(v1::V1Key),
}

/// The texts from which a signature is computed. They hold the security token, so they have no
/// `Debug`.
pub(crate) struct SigningTexts {
    /// The canonical request, whose hash V4 signs; `None` for V1.
    pub(crate) canonical_request: Option<Vec<u8>>,
    /// The text whose HMAC is the signature.
    pub(crate) string_to_sign: Vec<u8>,
}

/// An invalid lifetime of a presigned URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidLifetime {
    /// The lifetime is shorter than a second; OSS supports only whole seconds.
    #[error("a presigned URL must be valid for at least one second")]
    TooShort,
    /// The lifetime is longer than OSS accepts.
    #[error("a presigned URL with a V4 signature can be valid for at most 7 days (168h)")]
    TooLong,
}

/// An access key id or security token that cannot be written into a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} contains characters that are not allowed in a header")]
pub struct UnsendableKey(&'static str);

impl SignatureVersion {
    /// Returns the name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V1 => "v1",
        }
    }
}

impl<'a> SigningScheme<'a> {
    /// Selects the scheme for requests to `region` on `day`. Returns `None` if V4 has no region.
    pub(crate) fn select(version: SignatureVersion, region: Option<&'a Region>, day: UtcDay) -> Option<Self> {
        match (version, region) {
            (SignatureVersion::V4, Some(region)) => Some(Self::V4 { day, region }),
            (SignatureVersion::V4, None) => None,
            (SignatureVersion::V1, _) => Some(Self::V1),
        }
    }
}

impl SigningTime {
    /// Formats a time.
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        let iso_basic = at.iso_basic();
        let header = |text: String| HeaderValue::try_from(text).unwrap_or(EMPTY);
        Self {
            at,
            day: at.day(),
            iso_header: header(iso_basic.clone()),
            iso_basic,
            http_header: header(at.http_date()),
        }
    }

    /// Returns the time.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Returns the day in UTC.
    #[must_use]
    pub(crate) fn day(&self) -> UtcDay {
        self.day
    }
}

impl SigningHeaders {
    /// Sets the headers on a request.
    pub fn apply(self, headers: &mut HeaderMap) {
        // Grow the map once and not with every other header.
        headers.reserve(self.0.len());
        for (name, value) in self.0 {
            headers.insert(name, value);
        }
    }
}

impl SigningKey {
    /// Derives the signing key.
    ///
    /// # Errors
    /// [`UnsendableKey`] if the id or the token cannot be written into a header.
    pub fn new(identity: SigningIdentity<'_>, scheme: SigningScheme<'_>) -> Result<Self, UnsendableKey> {
        HeaderValue::from_str(identity.id).map_err(|_| UnsendableKey("access key id"))?;
        let token = match identity.token {
            Some(token) => {
                let mut value =
                    HeaderValue::from_str(token.expose()).map_err(|_| UnsendableKey("security token"))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let key = match scheme {
            SigningScheme::V4 { day, region } => {
                let scope = v4::CredentialScope { day, region: region.as_str(), product: region.product() };
                SigningKeyKind::V4(v4::DayKey::derive(identity.id, identity.secret, scope))
            }
            SigningScheme::V1 => SigningKeyKind::V1(v1::V1Key::new(identity.id, identity.secret)),
        };
        Ok(Self { key, token })
    }

    /// Returns the headers that sign `request` at `signing_time`, which must be on the day of the
    /// key.
    #[must_use]
    pub fn sign(&self, request: &SignableRequest<'_>, signing_time: &SigningTime) -> SigningHeaders {
        let mut set = Vec::with_capacity(4);
        match self.key {
            SigningKeyKind::V4(_) => {
                set.push((v4::DATE, signing_time.iso_header.clone()));
                set.push((v4::CONTENT_SHA256, HeaderValue::from_static(v4::UNSIGNED_PAYLOAD)));
            }
            SigningKeyKind::V1(_) => set.push((DATE, signing_time.http_header.clone())),
        }
        if let Some(token) = &self.token {
            set.push((SECURITY_TOKEN, token.clone()));
        }
        let authorization = match &self.key {
            SigningKeyKind::V4(key) => key.authorize(request, &set, &signing_time.iso_basic),
            SigningKeyKind::V1(key) => key.authorize(request, &set),
        };
        let mut authorization = HeaderValue::try_from(authorization).unwrap_or(EMPTY);
        authorization.set_sensitive(true);
        set.push((AUTHORIZATION, authorization));
        SigningHeaders(set)
    }

    /// Returns the texts that were signed in `request`. The headers of its signature, made at
    /// `signing_time`, must already be set.
    #[must_use]
    pub(crate) fn signed(&self, request: &SignableRequest<'_>, signing_time: &SigningTime) -> SigningTexts {
        match &self.key {
            SigningKeyKind::V4(key) => {
                let canonical = v4::canonical_request(request, &[], &[]);
                let string_to_sign = key.string_to_sign(&canonical, &signing_time.iso_basic).into_bytes();
                SigningTexts { canonical_request: Some(canonical), string_to_sign }
            }
            SigningKeyKind::V1(_) => {
                SigningTexts { canonical_request: None, string_to_sign: v1::string_to_sign(request, &[]) }
            }
        }
    }

    /// Returns the fields that sign a form at `signing_time`, which must be on the day of the key.
    #[must_use]
    pub(crate) fn sign_form(
        &self,
        policy: FormPolicy<'_>,
        signing_time: &SigningTime,
    ) -> Vec<(&'static str, String)> {
        let mut fields = Vec::with_capacity(6);
        if let SigningKeyKind::V4(key) = &self.key {
            fields.push(("x-oss-signature-version", v4::ALGORITHM.to_owned()));
            fields.push(("x-oss-credential", key.credential().to_owned()));
            fields.push(("x-oss-date", signing_time.iso_basic.clone()));
        }
        if let Some(token) = self.token.as_ref().and_then(|token| token.to_str().ok()) {
            fields.push(("x-oss-security-token", token.to_owned()));
        }
        let text = policy.to_text(&fields);
        match &self.key {
            SigningKeyKind::V4(key) => fields.push((v4::SIGNATURE, key.signature(&text))),
            SigningKeyKind::V1(key) => {
                fields.push(("OSSAccessKeyId", key.id().to_owned()));
                fields.push(("Signature", key.signature(text.as_bytes())));
            }
        }
        fields.push(("policy", text));
        fields
    }

    /// Returns the query of `request` with a signature made at `signing_time`, which must be on the
    /// day of the key. The signature is valid for the whole seconds of `lifetime`. The client must
    /// send the signed headers of `request` with the URL.
    ///
    /// # Errors
    /// [`InvalidLifetime`] if OSS would reject it.
    pub(crate) fn presign(
        &self,
        request: &SignableRequest<'_>,
        signing_time: &SigningTime,
        lifetime: Duration,
    ) -> Result<Query, InvalidLifetime> {
        let valid_s = lifetime.as_secs();
        if valid_s == 0 {
            return Err(InvalidLifetime::TooShort);
        }
        let token = self.token.as_ref().map(HeaderValue::as_bytes);
        match &self.key {
            SigningKeyKind::V4(_) if lifetime > v4::URL_LIFETIME_MAX => Err(InvalidLifetime::TooLong),
            SigningKeyKind::V4(key) => {
                Ok(key.presign(request, &[], (&signing_time.iso_basic, valid_s), token))
            }
            SigningKeyKind::V1(key) => {
                let expires = signing_time.at.unix_s().saturating_add_unsigned(valid_s);
                Ok(key.presign(request, expires, token))
            }
        }
    }
}

/// A placeholder for a value that cannot be written. [`SigningKey::new`] has checked the external
/// texts, and dates and digests are ASCII.
const EMPTY: HeaderValue = HeaderValue::from_static("");

/// The header that carries the token of temporary credentials.
pub(crate) const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-oss-security-token");

#[cfg(test)]
pub(crate) mod vectors;
