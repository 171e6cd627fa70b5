//! Reads a JSON Web Token in the compact form (RFC 7515, 7.1), without verifying it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Number;

use super::jwt_error::JwtError;
use super::jwt_key_set::JwtAlgorithm;
use crate::time::Timestamp;

/// A token whose signature and claims are not verified yet.
#[derive(Debug)]
pub(crate) struct UnverifiedToken<'a> {
    pub(crate) header: JwtHeader,
    pub(crate) claims: JwtClaims,
    /// The signed part of the token.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
}

/// The header of a token, as far as the verification depends on it. Keys and URLs of keys in a
/// header are ignored: only configured keys verify a token.
#[derive(Debug)]
pub(crate) struct JwtHeader {
    pub(crate) algorithm: JwtAlgorithm,
    pub(crate) key_id: Option<String>,
}

/// The claims of a token (RFC 7519, 4.1), as far as the verification depends on them.
#[derive(Debug, Deserialize)]
pub(crate) struct JwtClaims {
    #[serde(rename = "iss")]
    pub(crate) issuer: Option<String>,
    #[serde(rename = "sub")]
    pub(crate) subject: Option<String>,
    #[serde(rename = "aud")]
    pub(crate) audience: Option<JwtAudience>,
    #[serde(rename = "exp")]
    expires: Option<NumericDate>,
    #[serde(rename = "nbf")]
    not_before: Option<NumericDate>,
}

/// The audience of a token: one text, or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum JwtAudience {
    One(String),
    Many(Vec<String>),
}

/// Seconds since 1970, perhaps with a fraction.
#[derive(Debug, Deserialize)]
struct NumericDate(Number);

impl<'a> UnverifiedToken<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// [`JwtError::Malformed`] and [`JwtError::Algorithm`].
    pub(crate) fn parse(token: &'a [u8]) -> Result<Self, JwtError> {
        if token.len() > TOKEN_MAX {
            return Err(JwtError::Malformed("it is longer than 16 KiB"));
        }
        let [header, claims, signature] = parts(token).ok_or(NOT_COMPACT)?;
        let signed = &token[..header.len() + 1 + claims.len()];
        let header = JwtHeader::parse(&decode(header)?)?;
        let claims = object(&decode(claims)?)
            .ok_or(JwtError::Malformed("its claims are not JSON, or a claim has another type"))?;
        Ok(Self { header, claims, signed, signature: decode(signature)? })
    }
}

impl JwtHeader {
    fn parse(text: &[u8]) -> Result<Self, JwtError> {
        let document: HeaderDocument = object(text)
            .ok_or(JwtError::Malformed("its header is not JSON, or a member has another type"))?;
        // RFC 7515, 4.1.11: what is not understood must be rejected.
        // guard: critical-extensions
        if document.crit.is_some() {
            return Err(JwtError::Malformed("its header has critical extensions (crit)"));
        }
        // An issuer signs other things too, such as logout requests (RFC 8725, 3.11).
        let is_type = |kind: &str| TYPES.iter().any(|known| kind.eq_ignore_ascii_case(known));
        // guard: type-of-token
        if document.typ.is_some_and(|kind| !is_type(&kind)) {
            return Err(JwtError::Malformed("its header has another type (typ) than JWT"));
        }
        // guard: accepted-algorithms
        let algorithm = JwtAlgorithm::named(&document.alg).ok_or(JwtError::Algorithm)?;
        Ok(Self { algorithm, key_id: document.kid })
    }
}

impl JwtClaims {
    /// Checks the lifetime. `exp` is required, `nbf` is not.
    ///
    /// # Errors
    /// [`JwtError::Missing`], [`JwtError::Expired`] and [`JwtError::NotYetValid`].
    pub(super) fn check_times(&self, now: Timestamp) -> Result<Timestamp, JwtError> {
        // guard: expiry-required
        let expires = self.expires.as_ref().ok_or(JwtError::Missing("exp"))?.unix_s();
        let leeway_s = i64::try_from(LEEWAY.as_secs()).unwrap_or(i64::MAX);
        // guard: jwt-expiry
        if now.unix_s() > expires.saturating_add(leeway_s) {
            let expires = Timestamp::from_unix_s(expires);
            return Err(JwtError::Expired { expires, server_time: now });
        }
        let not_before = self.not_before.as_ref().map_or(0, NumericDate::unix_s);
        // guard: jwt-not-before
        if now.unix_s() < not_before.saturating_sub(leeway_s) {
            return Err(JwtError::NotYetValid { server_time: now });
        }
        Ok(Timestamp::from_unix_s(expires))
    }
}

impl JwtAudience {
    /// Returns the audiences.
    pub(crate) fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

impl NumericDate {
    /// Returns the seconds since 1970, without a fraction.
    fn unix_s(&self) -> i64 {
        // A float that is too large becomes the largest integer.
        self.0.as_i64().unwrap_or_else(|| self.0.as_f64().map_or(0, |seconds| seconds.floor() as i64))
    }
}

/// Returns whether a bearer token has the form of a JSON Web Token.
pub(super) fn has_jwt_form(token: &[u8]) -> bool {
    parts(token).is_some()
}

/// Returns the three parts of a token.
fn parts(token: &[u8]) -> Option<[&[u8]; 3]> {
    let mut parts = token.split(|byte| *byte == b'.');
    let found = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(found)
}

/// Parses a JSON object in UTF-8 (RFC 7519, 7.2). The library would also accept a list of its values,
/// and other bytes in members that are ignored.
fn object<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(text).ok()?;
    if text.trim_ascii_start().starts_with('{') { serde_json::from_str(text).ok() } else { None }
}

fn decode(part: &[u8]) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| NOT_COMPACT)
}

/// The header of a token. A member that occurs twice is an error.
#[derive(Deserialize)]
struct HeaderDocument {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

const NOT_COMPACT: JwtError =
    JwtError::Malformed("it does not have three parts of base64url without padding");
/// The types of tokens: any, and access tokens of OAuth (RFC 9068).
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];
/// The maximum length of a token. Those of Kubernetes have 1 to 2 KiB.
const TOKEN_MAX: usize = 16 * 1024;
/// Clocks of issuers differ from that of the proxy.
const LEEWAY: Duration = Duration::from_secs(60);
