//! Detects the protocol of a client on a plain listener: HTTP/2 if the first bytes are the preface
//! (RFC 9113, 3.4).
//!
//! The bytes are only peeked at. They remain in the socket for the connection to read.

use std::io;

use super::client_io::ClientSocket;
use super::http_version::HttpVersion;
use super::peek::peek;

/// Waits for as many bytes as the decision needs, and returns the protocol.
///
/// # Errors
/// If the connection breaks, or ends before the decision.
pub(super) async fn spoken_on(socket: &impl ClientSocket) -> io::Result<HttpVersion> {
    let decide = |seen: &[u8]| {
        Ok(match seen {
            seen if seen == PREFACE => Some(HttpVersion::Http2),
            seen if PREFACE.starts_with(seen) => None,
            _ => Some(HttpVersion::Http1),
        })
    };
    peek::<{ PREFACE.len() }, _>(socket, decide).await
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
