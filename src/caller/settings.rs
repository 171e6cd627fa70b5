//! Callers as configured: their names, their identities and their rights.

use super::jwt_settings::JwtSettings;
use crate::secret::Secret;

/// A caller as configured.
#[derive(Debug, Default)]
pub(crate) struct CallerSettings {
    /// The name in the log, in metrics and in routes; unique.
    pub(crate) name: String,
    /// The operations that the caller may use.
    pub(crate) access: CallerAccess,
    /// The access keys of the caller.
    pub(crate) keys: Vec<CallerKey>,
    /// The bearer token of the caller.
    pub(crate) token: Option<Secret>,
    /// The JSON Web Tokens of the caller.
    pub(crate) jwt: Option<JwtSettings>,
    /// `true` if requests without an identity are of this caller. At most one caller is open.
    pub(crate) is_open: bool,
}

/// An access key of a caller. It is valid only at this proxy.
#[derive(Debug)]
pub(crate) struct CallerKey {
    /// The access key id. A caller may have two keys with one id, while the secret is rotated.
    pub(crate) id: String,
    /// The access key secret.
    pub(crate) secret: Secret,
}

/// The operations that a caller may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CallerAccess {
    /// None.
    #[default]
    Nothing,
    /// GET, HEAD and listing.
    Read,
    /// All operations.
    Everything,
}

impl CallerAccess {
    /// Returns the value of `allow`, or `nothing` where it is not set.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Read => "read",
            Self::Everything => "everything",
        }
    }
}

/// The kinds of identity that a listener accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct IdentityKinds {
    /// Access keys of callers.
    pub(crate) key: bool,
    /// Bearer tokens of callers.
    pub(crate) token: bool,
    /// JSON Web Tokens of Kubernetes and OpenID Connect.
    pub(crate) jwt: bool,
}

impl IdentityKinds {
    /// Returns the accepted kinds, as in the configuration.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        [("key", self.key), ("token", self.token), ("jwt", self.jwt)]
            .into_iter()
            .filter(|kind| kind.1)
            .map(|kind| kind.0)
    }

    /// Returns whether the listener accepts any kind of identity.
    #[must_use]
    pub(crate) fn accepts_any(self) -> bool {
        self.key || self.accepts_bearer()
    }

    /// Returns whether the listener accepts identities that anyone who reads them can use.
    #[must_use]
    pub(crate) fn accepts_bearer(self) -> bool {
        self.token || self.jwt
    }
}
