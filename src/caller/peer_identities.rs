//! The identities of a caller that belong to its connection: certificate, user and group.

use std::fmt;

use super::subject_name::SubjectName;

/// The identities of a caller that belong to its connection, as configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerIdentities {
    /// The name in the client certificate.
    pub(crate) certificate: Option<CertificateName>,
    /// The user id of the process at the other end of a Unix socket.
    pub(crate) uid: Option<u32>,
    /// Its group id.
    pub(crate) gid: Option<u32>,
    /// Its user by name.
    pub(crate) user: Option<NamedUser>,
}

/// A name in a client certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CertificateName {
    /// A DNS name, in lower case.
    Dns(String),
    /// The only URI.
    Uri(String),
    /// The subject.
    Subject(SubjectName),
}

/// A user of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedUser {
    /// The name.
    pub(crate) name: String,
    /// The id that the system had for the name when the configuration was loaded.
    pub(crate) uid: u32,
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "certificate dns {name}"),
            Self::Uri(uri) => write!(f, "certificate uri {uri}"),
            Self::Subject(subject) => write!(f, "certificate subject {subject}"),
        }
    }
}

impl PeerIdentities {
    /// Returns whether there are any.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        let Self { certificate, uid, gid, user } = self;
        certificate.is_none() && uid.is_none() && gid.is_none() && user.is_none()
    }

    /// Returns a description of each.
    #[must_use]
    pub(crate) fn descriptions(&self) -> Vec<String> {
        let Self { certificate, uid, gid, user } = self;
        let certificate = certificate.as_ref().map(CertificateName::to_string);
        let uid = uid.map(|uid| format!("uid {uid}"));
        let gid = gid.map(|gid| format!("gid {gid}"));
        let user = user.as_ref().map(|NamedUser { name, uid }| format!("user {name} (uid {uid})"));
        [certificate, uid, gid, user].into_iter().flatten().collect()
    }
}

/// The user and group id of nobody. The system also reports it for ids that it cannot map, such as
/// those of other containers, so it identifies no caller.
pub(crate) const NOBODY: u32 = 65_534;
