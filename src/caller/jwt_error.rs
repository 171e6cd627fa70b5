//! Reasons why a JSON Web Token is rejected. No text repeats a part of the token.

use crate::time::Timestamp;

/// The reason why a JSON Web Token is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwtError {
    /// The token cannot be read.
    #[error("the JSON Web Token is invalid: {0}")]
    Malformed(&'static str),
    /// The token lacks a claim.
    #[error("the JSON Web Token has no {0} claim; request one that has it")]
    Missing(&'static str),
    /// No caller has a token of this issuer.
    #[error(
        "no caller has the issuer (iss) of the JSON Web Token; check which cluster or provider issued it"
    )]
    Issuer,
    /// No caller has this audience.
    #[error(
        "no caller has the audience (aud) of the JSON Web Token; request a token for the audience of this proxy"
    )]
    Audience,
    /// The subject of no caller matches.
    #[error("no caller has the subject (sub) of the JSON Web Token; use the service account of a caller")]
    Subject,
    /// Two callers match the token.
    #[error("two callers match the JSON Web Token; the subjects in their configuration overlap")]
    Ambiguous,
    /// The lifetime of the token has ended.
    #[error("the JSON Web Token has expired; request a new one")]
    Expired {
        /// The end of the lifetime.
        expires: Timestamp,
        /// The time of the proxy.
        server_time: Timestamp,
    },
    /// The lifetime of the token has not begun.
    #[error("the JSON Web Token is not valid yet; check the clocks of its issuer and of the proxy")]
    NotYetValid {
        /// The time of the proxy.
        server_time: Timestamp,
    },
    /// The algorithm is none that is accepted, or not that of the key.
    #[error(
        "the algorithm of the JSON Web Token is not that of its key; RS256, ES256 and EdDSA are accepted"
    )]
    Algorithm,
    /// The keys of the issuer have none with the id in the token.
    #[error("the keys of the issuer of the JSON Web Token have none with its key id (kid)")]
    UnknownKey {
        /// The issuer, as configured.
        issuer: Box<str>,
    },
    /// The keys of the issuer were not obtained yet.
    #[error("the keys of the issuer of the JSON Web Token are not available yet; retry later")]
    NoKeys {
        /// The issuer, as configured.
        issuer: Box<str>,
    },
    /// The signature is not that of the token.
    #[error("the signature of the JSON Web Token is wrong")]
    Signature,
}

impl JwtError {
    /// Returns the issuer whose keys must be fetched again before the token can be verified.
    #[must_use]
    pub(crate) fn lacking_keys(&self) -> Option<&str> {
        match self {
            Self::UnknownKey { issuer } | Self::NoKeys { issuer } => Some(issuer),
            Self::Malformed(_)
            | Self::Missing(_)
            | Self::Issuer
            | Self::Audience
            | Self::Subject
            | Self::Ambiguous
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::Algorithm
            | Self::Signature => None,
        }
    }
}
