//! The JSON Web Tokens of a caller, as configured.

use std::sync::Arc;

use super::jwt_key_set::JwtKeySet;
use super::subject_pattern::SubjectPattern;

/// The tokens that identify a caller.
#[derive(Clone, Debug)]
pub(crate) struct JwtSettings {
    /// The issuer (`iss`). Callers with the same issuer have the same keys.
    pub(crate) issuer: String,
    /// The audience (`aud`), which names this proxy.
    pub(crate) audience: String,
    /// The pattern of the subject (`sub`).
    pub(crate) subject: SubjectPattern,
    /// The keys of the issuer.
    pub(crate) keys: JwtKeyOrigin,
}

/// The origin of the keys of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JwtKeyOrigin {
    /// The keys are those of the configuration.
    Fixed(Arc<JwtKeySet>),
    /// The keys are fetched while the proxy runs.
    Fetched,
}
