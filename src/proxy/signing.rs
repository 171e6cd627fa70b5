//! Converts requests and credentials to the types of the signer. `address` and `credentials` do not
//! depend on the signer.

use http::{HeaderMap, Method};

use crate::address::{LocatedObject, ResolvedEndpoint};
use crate::credentials::Credentials;
use crate::sign::{
    SignableRequest, SignatureVersion, SigningIdentity, SigningKey, SigningScheme, SigningTime, UnsendableKey,
};

/// A request to sign, without its headers.
pub(crate) struct AddressedRequest {
    pub(crate) method: Method,
    pub(crate) object: LocatedObject,
}

impl AddressedRequest {
    /// Returns the input of a signature over these headers.
    pub(crate) fn signable<'a>(&'a self, headers: &'a HeaderMap) -> SignableRequest<'a> {
        SignableRequest {
            method: &self.method,
            bucket: self.object.bucket.as_ref(),
            key: &self.object.key,
            query: &self.object.query,
            headers,
        }
    }
}

/// A reason why requests to an endpoint cannot be signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SigningKeyError {
    /// No region is configured, and a V4 signature requires one.
    #[error("no region is configured for this upstream, and V4 signatures require one")]
    NoRegion,
    /// The access key id or the security token cannot be written into a header.
    #[error(transparent)]
    Unsendable(#[from] UnsendableKey),
}

/// Derives the key that signs requests to an endpoint at `now`.
pub(crate) fn signing_key(
    credentials: &Credentials,
    version: SignatureVersion,
    endpoint: &ResolvedEndpoint,
    now: &SigningTime,
) -> Result<SigningKey, SigningKeyError> {
    Ok(derive_key(credentials, signing_scheme(version, endpoint, now)?)?)
}

/// Selects the scheme of requests to an endpoint at `now`.
pub(super) fn signing_scheme<'a>(
    version: SignatureVersion,
    endpoint: &'a ResolvedEndpoint,
    now: &SigningTime,
) -> Result<SigningScheme<'a>, SigningKeyError> {
    SigningScheme::select(version, endpoint.region.as_ref(), now.day()).ok_or(SigningKeyError::NoRegion)
}

/// Derives the signing key of an access key.
pub(super) fn derive_key(
    credentials: &Credentials,
    scheme: SigningScheme<'_>,
) -> Result<SigningKey, UnsendableKey> {
    let Credentials { id, secret, token, .. } = credentials;
    SigningKey::new(SigningIdentity { id, secret, token: token.as_ref() }, scheme)
}
