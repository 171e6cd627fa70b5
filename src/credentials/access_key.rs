//! The access key that a provider returns.

use std::sync::Arc;

use crate::secret::Secret;
use crate::time::Timestamp;

/// An access key. It is immutable, so that id, secret and token always belong together.
#[derive(Debug)]
pub struct Credentials {
    /// The access key id.
    pub id: String,
    /// The access key secret.
    pub secret: Secret,
    /// The security token of temporary credentials.
    pub token: Option<Secret>,
    /// The time at which the credentials expire; `None` if it is unknown.
    pub expires: Option<Timestamp>,
    /// The provider that returned them, named as in the vendor's libraries, the outer one first:
    /// `default/oidc_role_arn`.
    pub provider: Arc<str>,
}
