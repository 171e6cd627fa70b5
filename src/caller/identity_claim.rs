//! What at most one caller may have: its name, and each of its identities.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::peer_identities::{CertificateName, PeerIdentities};
use super::settings::CallerSettings;

/// A name or an identity that at most one caller may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IdentityClaim<'a> {
    /// The name of the caller.
    Name(&'a str),
    /// The id of an access key.
    KeyId(&'a str),
    /// The SHA-256 of a bearer token.
    Token([u8; 32]),
    /// The name in a client certificate.
    Certificate(&'a CertificateName),
    /// The user id of a process.
    Uid(u32),
    /// The group id of a process.
    Gid(u32),
}

impl<'a> IdentityClaim<'a> {
    /// Returns the name and the identities of a caller. Two keys with one id are one identity.
    pub(crate) fn all(caller: &'a CallerSettings) -> Vec<Self> {
        let mut claims = vec![Self::Name(&caller.name)];
        for key in &caller.keys {
            let claim = Self::KeyId(&key.id);
            if !claims.contains(&claim) {
                claims.push(claim);
            }
        }
        let token = caller.token.as_ref();
        claims.extend(token.map(|token| Self::Token(Sha256::digest(token.expose()).into())));
        let PeerIdentities { certificate, uid, gid, user } = &caller.peer;
        claims.extend(certificate.as_ref().map(Self::Certificate));
        let uids = [*uid, user.as_ref().map(|user| user.uid)];
        claims.extend(uids.into_iter().flatten().map(Self::Uid));
        claims.extend(gid.map(Self::Gid));
        claims
    }
}

impl fmt::Display for IdentityClaim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "name {name:?}"),
            Self::KeyId(id) => write!(f, "key id {id:?}"),
            Self::Token(_) => f.write_str("token"),
            Self::Certificate(name) => write!(f, "{name}"),
            Self::Uid(uid) => write!(f, "uid {uid}"),
            Self::Gid(gid) => write!(f, "gid {gid}"),
        }
    }
}
