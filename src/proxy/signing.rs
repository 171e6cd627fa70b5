//! Converts requests and credentials to the types of the signer. `address` and `credentials` do not
//! depend on the signer.

use http::{HeaderMap, Method};

use crate::address::LocatedObject;
use crate::credentials::Credentials;
use crate::sign::{SignableRequest, SigningIdentity, SigningKey, SigningScheme, UnsendableKey};

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

/// Derives the signing key of an access key.
pub(crate) fn signing_key(
    credentials: &Credentials,
    scheme: SigningScheme<'_>,
) -> Result<SigningKey, UnsendableKey> {
    let Credentials { id, secret, token, .. } = credentials;
    SigningKey::new(SigningIdentity { id, secret, token: token.as_ref() }, scheme)
}
