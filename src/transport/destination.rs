//! The destination of a request, by which connections are pooled.

use super::names::DialName;
use super::trust_store_entry::TrustStoreId;

/// The destination of a request. Requests share connections if their destinations are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UpstreamDestination {
    /// The host and port to dial.
    pub(crate) dial: DialName,
    /// The verification of the certificate; `None` without TLS.
    pub(crate) tls: Option<UpstreamTls>,
    /// The check that the dialled name does not lead back to this machine.
    pub(crate) guard: LoopbackPolicy,
}

impl UpstreamDestination {
    /// Returns host and port, for the log.
    pub(super) fn at(&self) -> String {
        self.dial.to_string()
    }
}

/// The verification of the certificate of a destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UpstreamTls {
    /// The name that the certificate must have.
    pub(crate) name: String,
    /// The id of the trust store.
    pub(crate) trust: TrustStoreId,
}

/// The loopback addresses that a dialled name may resolve to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LoopbackPolicy {
    /// The configuration names the address: any is allowed except the proxy's own listeners.
    Configured,
    /// An OSS endpoint name: no address of this machine is allowed.
    OssName,
}
