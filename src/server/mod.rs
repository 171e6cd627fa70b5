//! Sockets: listeners, the cores that serve their connections, and the drain at the end.

use std::net::SocketAddr;

use crate::policy::Policy;

/// A listener as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Names under which buckets are addressed as `BUCKET.<domain>`, in lower case.
    pub domains: Vec<String>,
    /// What it allows.
    pub policy: Policy,
}
