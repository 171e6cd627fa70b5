//! The settings for all client connections.

use std::time::Duration;

/// The settings for all client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// The number of workers; at least one.
    pub cores: usize,
    /// The maximum number of open client connections, over all workers.
    pub connections: usize,
    /// The maximum size of a request head in bytes, including its first line.
    pub header_bytes: usize,
    /// The timeout for a request head from its first byte; on a new connection, from its start.
    pub header_read: Duration,
    /// The idle timeout of a client connection between requests.
    pub idle: Duration,
    /// The timeout for a client that reads no bytes of a response.
    pub stall: Duration,
    /// The timeout of the drain for requests in flight.
    pub drain: Duration,
}
