//! The identity of the client: the caller that a request proves with its signature, or that is open
//! to all requests. Afterwards the client's signature is removed, and the request is signed again.
//! Pure.

mod ambient_identity;
mod caller_origin;
mod claimed_caller;
mod client_signature;
mod connection_peer;
mod derived_keys;
mod directory;
mod form_claim;
mod hand_out;
mod identity_claim;
mod identity_context;
mod identity_error;
mod identity_proof;
mod jwt_directory;
mod jwt_error;
mod jwt_key_set;
mod jwt_settings;
mod jwt_token;
mod jwt_verification;
mod limits;
mod listener_content;
mod nominated_headers;
mod peer_identities;
mod peer_index;
mod post_policy;
mod presented_identity;
mod real_key_id;
mod settings;
mod signature_claim;
mod signature_clock;
mod subject_name;
mod subject_pattern;
mod user_agent;
mod v1_claim;
mod v4_claim;
mod verification;
mod verified_tokens;

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};

pub(crate) use caller_origin::CallerOrigin;
pub(crate) use claimed_caller::{claimed_caller, claimed_key_id};
pub use client_signature::remove_client_signature;
pub(crate) use client_signature::remove_signature;
pub(crate) use connection_peer::{ClientCertificate, ConnectionPeer, UnixPeer};
pub(crate) use derived_keys::DerivedKeys;
pub use directory::Caller;
pub(crate) use directory::CallerDirectory;
#[cfg(test)]
pub(crate) use hand_out::KeyRecipient;
pub(crate) use hand_out::{HandOutError, KeyHandOut, is_handed_out};
pub(crate) use identity_claim::IdentityClaim;
pub(crate) use identity_context::IdentityContext;
pub(crate) use identity_error::{IdentityError, MalformedKind};
pub use identity_proof::IdentityProof;
pub(crate) use jwt_error::JwtError;
pub(crate) use jwt_key_set::{InvalidKeySet, JwtKeySet, JwtKeySource};
pub(crate) use jwt_settings::{JwtKeyOrigin, JwtSettings};
#[cfg(feature = "internals")]
pub(crate) use jwt_token::UnverifiedToken;
pub(crate) use limits::CallerLimits;
pub(crate) use listener_content::ListenerContent;
pub(crate) use nominated_headers::check_nominated;
pub(crate) use peer_identities::{CertificateName, NOBODY, NamedUser, PeerIdentities};
pub(crate) use post_policy::PostPolicy;
pub(crate) use real_key_id::{beginning_of_key_id, is_real_key_id};
pub(crate) use settings::{BucketListing, CallerKey, CallerSessionPolicy, CallerSettings, IdentityKinds};
pub(crate) use signature_clock::SignatureClock;
pub(crate) use subject_name::{InvalidSubject, SubjectAttribute, SubjectName};
pub(crate) use subject_pattern::{InvalidSubjectPattern, SubjectPattern};
pub(crate) use user_agent::name_in_user_agent;
pub(crate) use verified_tokens::VerifiedTokens;

use presented_identity::{PresentedIdentity, TWO_IDENTITIES};
use verification::ProvenCaller;

use crate::oss::{Bucket, FormHead, Key, Operation, Query};
use crate::sign::SignableRequest;
use crate::time::Timestamp;

/// The identity of a client, as far as it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerIdentity {
    /// No caller is configured: the listener is open to every client that reaches it.
    Open,
    /// A caller of the configuration.
    Known {
        /// The caller.
        caller: Arc<Caller>,
        /// The way in which the client proved to be the caller.
        proof: IdentityProof,
        /// The end of the token or the certificate that proves it, if it has one.
        expires: Option<Timestamp>,
    },
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
    /// The form of an upload whose signature is verified.
    pub(crate) form: Option<&'a FormHead>,
}

impl CallerIdentity {
    /// Returns the caller, if callers are configured.
    #[must_use]
    pub(crate) fn caller(&self) -> Option<&Arc<Caller>> {
        match self {
            Self::Open => None,
            Self::Known { caller, .. } => Some(caller),
        }
    }

    /// Returns the caller, if the client proved to be it. A preflight only announces one.
    #[must_use]
    pub(crate) fn proven(&self) -> Option<&Arc<Caller>> {
        match self {
            Self::Open | Self::Known { proof: IdentityProof::Announced, .. } => None,
            Self::Known { caller, .. } => Some(caller),
        }
    }

    /// Returns the end of the token or the certificate that proves the caller, if it has one.
    #[must_use]
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        match self {
            Self::Open => None,
            Self::Known { expires, .. } => *expires,
        }
    }

    /// Returns how the client proved to be a caller, if callers are configured.
    #[must_use]
    pub(crate) fn proof(&self) -> Option<IdentityProof> {
        match self {
            Self::Open => None,
            Self::Known { proof, .. } => Some(*proof),
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
        let connection = ambient_identity::find(context)?;
        if let Some(caller) = self.announced_caller(context) {
            ambient_identity::check_same(connection, &caller)?;
            return Ok(CallerIdentity::Known { caller, proof: IdentityProof::Announced, expires: None });
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
            let presented = match self.form {
                // guard: form-without-other-identity
                Some(_) if presented.is_some() => return Err(TWO_IDENTITIES.into()),
                Some(form) => Some(PresentedIdentity::Signature(form_claim::find(form, context.product)?)),
                None => presented,
            };
            let is_signable = is_signable || self.form.is_some();
            if let Some(presented) = presented.filter(|found| is_signable || !found.is_signature()) {
                let proof = presented.proof();
                let ProvenCaller { caller, expires } = verification::verify(presented, connection, context)?;
                // Both must be valid, so the first end counts.
                let of_connection = connection.and_then(|_| ambient_identity::expires(context));
                let expires = [expires, of_connection].into_iter().flatten().min();
                return Ok(CallerIdentity::Known { caller, proof, expires });
            }
        }
        if let Some(caller) = connection {
            let caller = Arc::clone(caller);
            let proof = ambient_identity::proof(context);
            return Ok(CallerIdentity::Known { caller, proof, expires: ambient_identity::expires(context) });
        }
        match directory.open() {
            Some(open) => Ok(CallerIdentity::Known {
                caller: Arc::clone(open),
                proof: IdentityProof::Open,
                expires: None,
            }),
            None if kinds.accepts_bearer() && kinds.key => Err(IdentityError::NoToken),
            None if kinds.accepts_bearer() => Err(IdentityError::NoTokenAlone),
            None if kinds.accepts_any() && !kinds.key => Err(ambient_identity::missing(context)),
            None => Err(IdentityError::Missing),
        }
    }

    /// Returns the caller in the presigned URL of the request that a preflight announces. A browser
    /// sends the URL, but not the method and the headers that its signature covers.
    fn announced_caller(&self, context: IdentityContext<'_>) -> Option<Arc<Caller>> {
        let is_preflight =
            self.operation == Operation::Preflight && !self.headers.contains_key(AUTHORIZATION);
        // guard: announced-by-preflight
        if !is_preflight || !context.kinds.key {
            return None;
        }
        claimed_caller::claimed_in_url(self.query, context.directory, context.clock_now)
    }
}

#[cfg(test)]
mod ambient_tests;
#[cfg(test)]
mod browser_tests;
#[cfg(test)]
mod hand_out_tests;
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
