//! Callers as configured: their names, their identities and their rights.

use std::sync::Arc;
use std::time::Duration;

use super::caller_origin::CallerOrigin;
use super::jwt_settings::JwtSettings;
use super::limits::CallerLimits;
use super::peer_identities::PeerIdentities;
use crate::policy::CallerRights;
use crate::secret::Secret;
use crate::time::Timestamp;

/// The rights of a caller as OSS applies them, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallerSessionPolicy {
    /// The document.
    pub(crate) text: Arc<str>,
    /// The line of the setting in the file of the caller, if it is known.
    pub(crate) line: Option<usize>,
}

/// A caller as configured.
#[derive(Debug, Default)]
pub(crate) struct CallerSettings {
    /// The name in the log, in metrics and in routes; unique.
    pub(crate) name: String,
    /// The rights of the caller.
    pub(crate) rights: CallerRights,
    /// Whether the caller may let OSS send requests to other servers.
    pub(crate) callbacks: bool,
    /// The handling of lists of all buckets.
    pub(crate) bucket_listing: BucketListing,
    /// The session policy of the roles that sign for the caller.
    pub(crate) session_policy: Option<CallerSessionPolicy>,
    /// The limits that it sets itself.
    pub(crate) limits: CallerLimits,
    /// The maximum lifetime of presigned URLs.
    pub(crate) presign_max: Option<Duration>,
    /// The access keys of the caller.
    pub(crate) keys: Vec<CallerKey>,
    /// The bearer token of the caller.
    pub(crate) token: Option<Secret>,
    /// The JSON Web Tokens of the caller.
    pub(crate) jwt: Option<JwtSettings>,
    /// Handed-out keys that were issued before this time are rejected.
    pub(crate) credentials_not_before: Option<Timestamp>,
    /// The identities that belong to a connection of the caller.
    pub(crate) peer: PeerIdentities,
    /// `true` if requests without an identity are of this caller. At most one caller is open.
    pub(crate) is_open: bool,
    /// The section that defines the caller.
    pub(crate) origin: CallerOrigin,
}

impl CallerSettings {
    /// Returns a copy with rights of at most `ceiling`, and only with the keys that `is_valid` accepts
    /// by their ids.
    #[must_use]
    pub(crate) fn restricted(&self, ceiling: &CallerRights, is_valid: impl Fn(&str) -> bool) -> Self {
        let Self { name, rights, session_policy, keys, token, jwt, peer, origin, .. } = self;
        let keys = keys.iter().filter(|key| is_valid(&key.id));
        let copy =
            |key: &CallerKey| CallerKey { id: key.id.clone(), secret: Secret::from(key.secret.expose()) };
        Self {
            name: name.clone(),
            rights: rights.below(ceiling),
            session_policy: session_policy.clone(),
            keys: keys.map(copy).collect(),
            token: token.as_ref().map(|token| Secret::from(token.expose())),
            jwt: jwt.clone(),
            peer: peer.clone(),
            origin: origin.clone(),
            ..*self
        }
    }
}

/// The handling of requests for the list of all buckets, if the caller has no right to all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum BucketListing {
    /// They are rejected.
    #[default]
    Refuse,
    /// The list has the buckets in which the caller holds a grant.
    Filter,
}

/// An access key of a caller. It is valid only at this proxy.
#[derive(Debug)]
pub(crate) struct CallerKey {
    /// The access key id. A caller may have two keys with one id, while the secret is rotated.
    pub(crate) id: String,
    /// The access key secret.
    pub(crate) secret: Secret,
}

/// The kinds of identity that a listener accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct IdentityKinds {
    /// Access keys of callers.
    pub(crate) key: bool,
    /// Client certificates.
    pub(crate) certificate: bool,
    /// Users and groups at the other end of a Unix socket.
    pub(crate) uid: bool,
    /// Bearer tokens of callers.
    pub(crate) token: bool,
    /// JSON Web Tokens of Kubernetes and OpenID Connect.
    pub(crate) jwt: bool,
}

impl IdentityKinds {
    /// Returns the accepted kinds, as in the configuration.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        let kinds = [
            ("key", self.key),
            ("certificate", self.certificate),
            ("uid", self.uid),
            ("token", self.token),
            ("jwt", self.jwt),
        ];
        kinds.into_iter().filter(|kind| kind.1).map(|kind| kind.0)
    }

    /// Returns whether the listener accepts any kind of identity.
    #[must_use]
    pub(crate) fn accepts_any(self) -> bool {
        self.key || self.certificate || self.uid || self.accepts_bearer()
    }

    /// Returns whether the listener accepts identities that anyone who reads them can use.
    #[must_use]
    pub(crate) fn accepts_bearer(self) -> bool {
        self.token || self.jwt
    }
}
