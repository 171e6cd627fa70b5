//! The settings and limits of upstream connections.

use std::time::Duration;

/// Settings of all upstream connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportSettings {
    /// The timeout for a dial, including the TLS handshake.
    pub connect: Duration,
    /// The time after which an idle connection is closed.
    pub idle: Duration,
    /// The timeout for the head of a response, counted from the last byte of the request.
    pub first_byte: Duration,
    /// The longest time without progress in the middle of a body, for either side.
    pub stall: Duration,
    /// The limit on connections to one destination in use at once, per worker. All destinations
    /// together may have four times as many.
    pub connections: usize,
    /// The limit on dials to one destination in progress at once, per worker. All destinations
    /// together may have four times as many.
    pub dials: usize,
    /// The longest time that a request waits in the queue of its destination.
    pub queue: Duration,
}

#[cfg(test)]
impl TransportSettings {
    /// Settings with these limits of connections and dials, and timeouts that no test reaches.
    pub(super) fn patient(connections: usize, dials: usize) -> Self {
        let long = Duration::from_secs(20);
        Self { connect: long, idle: long, first_byte: long, stall: long, connections, dials, queue: long }
    }
}

/// The limit on header lines in a head, both of a client's request and of an upstream's response.
/// OSS allows 8 KiB of user metadata, which is rarely more than a hundred lines.
pub(crate) const HEADER_LINES_MAX: usize = 256;
