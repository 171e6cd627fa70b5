//! The reason why no connection to a destination can be made.

use super::connect_error::ConnectFailure;

/// The reason why no connection to a destination can be made.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// No address of the destination accepts a connection.
    #[error("cannot connect to {at}: {reason}")]
    Unreachable {
        /// Host and port.
        at: String,
        /// The error that the system or TLS reported.
        reason: String,
        /// The failure class, for callers that branch on it.
        failure: ConnectFailure,
    },
    /// The name resolves to this machine.
    #[error(
        "{name} resolves to {address}, which is this host: the request would loop back to the proxy; set `connect` of the upstream to the real address, or correct the DNS record"
    )]
    Loop {
        /// The dialled name.
        name: String,
        /// The address of this machine.
        address: std::net::SocketAddr,
    },
}
