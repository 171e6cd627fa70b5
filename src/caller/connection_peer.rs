//! The peer of a connection, as TLS and the system report it. A request cannot change it.

use super::subject_name::SubjectName;
use crate::time::Timestamp;

/// The peer of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionPeer {
    /// The certificate that the client has proven to own, and whose issuer the listener trusts.
    pub(crate) certificate: Option<ClientCertificate>,
    /// The process that has connected to a Unix socket.
    pub(crate) unix: Option<UnixPeer>,
}

/// The names in the certificate of a client, and its validity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// The DNS names, in lower case.
    pub(crate) dns_names: Vec<String>,
    /// The URIs.
    pub(crate) uris: Vec<String>,
    /// The subject; `None` if it is empty, or has no text form.
    pub(crate) subject: Option<SubjectName>,
    /// True if the certificate says that it is for clients (extended key usage clientAuth).
    pub(crate) is_for_clients: bool,
    /// The last second of its validity.
    pub(crate) not_after: Timestamp,
    /// False if a reload has revoked it, or has removed its issuer.
    pub(crate) is_trusted: bool,
}

/// The process at the other end of a Unix socket, when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnixPeer {
    /// The effective user id.
    pub(crate) uid: u32,
    /// The effective group id, which is the primary group of the user unless the process changed it.
    pub(crate) gid: u32,
}
