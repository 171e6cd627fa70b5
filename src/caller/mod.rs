//! The identity of the client: the caller that a request proves with its signature, or that is open
//! to all requests. Afterwards the client's signature is removed, and the request is signed again.
//! Pure.

mod client_signature;
mod derived_keys;
mod directory;
mod identity_context;
mod identity_error;
mod jwt_directory;
mod jwt_error;
mod jwt_key_set;
mod jwt_settings;
mod jwt_token;
mod jwt_verification;
mod presented_identity;
mod settings;
mod signature_claim;
mod subject_pattern;
mod v1_claim;
mod v4_claim;
mod verification;
mod verified_tokens;

use std::sync::Arc;

use http::{HeaderMap, Method};

pub use client_signature::remove_client_signature;
pub(crate) use client_signature::remove_signature;
pub(crate) use derived_keys::DerivedKeys;
pub use directory::Caller;
pub(crate) use directory::CallerDirectory;
pub(crate) use identity_context::IdentityContext;
pub(crate) use identity_error::{IdentityError, MalformedKind};
pub(crate) use jwt_error::JwtError;
pub(crate) use jwt_key_set::{InvalidKeySet, JwtKeySet, JwtKeySource};
pub(crate) use jwt_settings::{JwtKeyOrigin, JwtSettings};
pub use settings::CallerAccess;
pub(crate) use settings::{CallerKey, CallerSettings, IdentityKinds};
pub(crate) use subject_pattern::{InvalidSubject, SubjectPattern};
pub(crate) use verified_tokens::VerifiedTokens;

use presented_identity::PresentedIdentity;

use crate::oss::{Bucket, Key, Operation, Query};
use crate::sign::SignableRequest;

/// The identity of a client, as far as it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerIdentity {
    /// No caller is configured: the listener is open to every client that reaches it.
    Open,
    /// A caller of the configuration.
    Known(Arc<Caller>),
}

/// The parts of a request that identify its client.
#[derive(Debug)]
pub(crate) struct ClientRequest<'a> {
    /// The method.
    pub(crate) method: &'a Method,
    /// The operation.
    pub(crate) operation: Operation,
    /// The bucket that the client addresses; `None` for requests to the service.
    pub(crate) bucket: Option<&'a Bucket>,
    /// The object key.
    pub(crate) key: &'a Key,
    /// The query parameters; those of a signature are removed.
    pub(crate) query: &'a mut Query,
    /// The headers; those of a signature are removed.
    pub(crate) headers: &'a mut HeaderMap,
}

impl CallerIdentity {
    /// Returns the caller, if callers are configured.
    #[must_use]
    pub(crate) fn caller(&self) -> Option<&Arc<Caller>> {
        match self {
            Self::Open => None,
            Self::Known(caller) => Some(caller),
        }
    }
}

/// Returns the identity of the client and removes its own signature from the request.
///
/// # Errors
/// The reason why the client is not identified.
pub(crate) fn identify(
    request: ClientRequest<'_>,
    context: IdentityContext<'_>,
) -> Result<CallerIdentity, IdentityError> {
    let identity = request.identity(context)?;
    remove_client_signature(request.headers, request.query);
    Ok(identity)
}

impl ClientRequest<'_> {
    fn identity(&self, context: IdentityContext<'_>) -> Result<CallerIdentity, IdentityError> {
        let IdentityContext { directory, kinds, .. } = context;
        if !directory.is_enforced() {
            // A removed listener may still serve connections without its callers.
            let is_open = !kinds.accepts_any();
            return if is_open { Ok(CallerIdentity::Open) } else { Err(IdentityError::Missing) };
        }
        if kinds.accepts_any() {
            let request = SignableRequest {
                method: self.method,
                bucket: self.bucket,
                key: self.key,
                query: self.query,
                headers: self.headers,
            };
            // The signature of a form is in its body, and a preflight has none.
            let is_signable = !matches!(self.operation, Operation::PostObject | Operation::Preflight);
            let presented = PresentedIdentity::find(&request, context.product)?;
            if let Some(presented) = presented.filter(|found| is_signable || !found.is_signature()) {
                return verification::verify(presented, context).map(CallerIdentity::Known);
            }
        }
        match directory.open() {
            Some(open) => Ok(CallerIdentity::Known(Arc::clone(open))),
            None if kinds.accepts_bearer() => Err(IdentityError::NoToken),
            None => Err(IdentityError::Missing),
        }
    }
}

#[cfg(test)]
mod jwt_test_key;
#[cfg(test)]
mod jwt_tests;
#[cfg(test)]
mod jwt_vector_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod test_request;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vector_tests;
