//! The public keys of an issuer of tokens, as a JWK set (RFC 7517). Each key has one algorithm,
//! which its type determines, and verifies signatures of no other.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The keys of an issuer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct JwtKeySet(Vec<JwtKey>);

/// A key that verifies the tokens of an issuer.
pub(super) struct JwtKey {
    id: Option<Box<str>>,
    algorithm: JwtAlgorithm,
    /// The public key in the form of its algorithm.
    bytes: Box<[u8]>,
    parsed: ParsedPublicKey,
}

/// The algorithm of a signature (RFC 7518, 3.1 and RFC 8037, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum JwtAlgorithm {
    /// RSA with PKCS #1 v1.5 and SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// The keys of issuers whose keys are fetched.
pub(crate) trait JwtKeySource {
    /// Returns the current keys of an issuer; `None` if there are none yet.
    fn keys(&self, issuer: &str) -> Option<Arc<JwtKeySet>>;
}

/// The reason why a JWK set is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum InvalidKeySet {
    /// The text is not a JWK set.
    #[error("it is not a JWK set: {{\"keys\": […]}}, with each member once")]
    Form,
    /// No key has an accepted type.
    #[error("it has no key for RS256, ES256 or EdDSA")]
    NoKey,
}

/// The result of the search for the key of a token.
pub(super) enum KeySearch<'a> {
    /// The key, which has the algorithm of the token.
    Found(&'a JwtKey),
    /// The key has another algorithm.
    OtherAlgorithm,
    /// There is no such key.
    Unknown,
}

impl JwtKeySet {
    /// Parses a JWK set. Keys of other types and for other uses are ignored, as RFC 7517 (section 5)
    /// recommends.
    ///
    /// # Errors
    /// [`InvalidKeySet`], the reason why `text` is rejected.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, InvalidKeySet> {
        let document: KeySetDocument = serde_json::from_slice(text).map_err(|_| InvalidKeySet::Form)?;
        let keys: Vec<JwtKey> = document.keys.iter().filter_map(KeyDocument::key).collect();
        if keys.is_empty() { Err(InvalidKeySet::NoKey) } else { Ok(Self(keys)) }
    }

    /// Returns the number of keys.
    #[must_use]
    pub(crate) fn key_count(&self) -> usize {
        self.0.len()
    }

    /// Finds the key of a token. Without an id, the only key of the algorithm is found.
    pub(super) fn find(&self, id: Option<&str>, algorithm: JwtAlgorithm) -> KeySearch<'_> {
        let mut named = self.0.iter().filter(|key| id.is_none() || key.id.as_deref() == id).peekable();
        if named.peek().is_none() {
            return KeySearch::Unknown;
        }
        // guard: algorithm-of-the-key
        let mut fitting = named.filter(|key| key.algorithm == algorithm);
        match (fitting.next(), fitting.next()) {
            (None, _) => KeySearch::OtherAlgorithm,
            (Some(_), Some(_)) if id.is_none() => KeySearch::Unknown,
            (Some(key), _) => KeySearch::Found(key),
        }
    }
}

impl JwtKey {
    /// Returns whether `signature` is that of `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

impl PartialEq for JwtKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, self.algorithm, &self.bytes) == (&other.id, other.algorithm, &other.bytes)
    }
}

impl Eq for JwtKey {}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl JwtAlgorithm {
    /// Returns the algorithm with this name in a token. `none` and the algorithms of shared secrets
    /// are not accepted.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            // RFC 9864 gives EdDSA with Ed25519 a name of its own.
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

impl JwtKeySource for HashMap<Box<str>, Arc<JwtKeySet>> {
    fn keys(&self, issuer: &str) -> Option<Arc<JwtKeySet>> {
        self.get(issuer).map(Arc::clone)
    }
}

/// A JWK set. A member that occurs twice is an error, because two readers could use different
/// occurrences.
#[derive(Deserialize)]
struct KeySetDocument {
    keys: Vec<KeyDocument>,
}

/// A JWK, as far as signatures depend on it.
#[derive(Deserialize)]
struct KeyDocument {
    kty: Option<String>,
    crv: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeyDocument {
    /// Returns the key, or `None` if it does not verify signatures of an accepted algorithm.
    fn key(&self) -> Option<JwtKey> {
        let is_for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|name| name == "verify"));
        // guard: keys-for-signatures
        if !is_for_signatures {
            return None;
        }
        let algorithm = match (self.kty.as_deref()?, self.crv.as_deref()) {
            ("RSA", _) => JwtAlgorithm::Rs256,
            ("EC", Some("P-256")) => JwtAlgorithm::Es256,
            ("OKP", Some("Ed25519")) => JwtAlgorithm::EdDsa,
            _ => return None,
        };
        // guard: algorithm-of-jwk
        if self.alg.as_ref().is_some_and(|name| JwtAlgorithm::named(name) != Some(algorithm)) {
            return None;
        }
        let (bytes, parsed) = match algorithm {
            JwtAlgorithm::Rs256 => self.rsa()?,
            JwtAlgorithm::Es256 => {
                let point = [vec![UNCOMPRESSED], coordinate(self.x.as_ref())?, coordinate(self.y.as_ref())?];
                let point = point.concat();
                let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).ok()?;
                (point, parsed)
            }
            JwtAlgorithm::EdDsa => {
                let x = coordinate(self.x.as_ref())?;
                let parsed = ParsedPublicKey::new(&ED25519, &x).ok()?;
                (x, parsed)
            }
        };
        Some(JwtKey { id: self.kid.as_deref().map(Box::from), algorithm, bytes: bytes.into(), parsed })
    }

    fn rsa(&self) -> Option<(Vec<u8>, ParsedPublicKey)> {
        let n = integer(self.n.as_ref())?;
        let e = integer(self.e.as_ref())?;
        let bits = n.len() * 8 - usize::try_from(n.first()?.leading_zeros()).ok()?;
        // guard: size-of-rsa-keys
        if !RSA_BITS.contains(&bits) {
            return None;
        }
        let bytes = [&n[..], &e[..]].concat();
        let components = RsaPublicKeyComponents { n, e };
        Some((bytes, components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()?))
    }
}

/// Decodes a coordinate of 32 bytes.
fn coordinate(text: Option<&String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok().filter(|bytes| bytes.len() == 32)
}

/// Decodes an integer, without leading zeros.
fn integer(text: Option<&String>) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text?).ok()?;
    let start = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[start..].to_vec())
}

/// The first byte of a point with both coordinates (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 4;
/// The accepted sizes of RSA keys. RFC 7518 (section 3.3) requires at least 2048 bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
