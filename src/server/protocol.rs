//! Detects the protocol of a client on a plain listener: HTTP/2 if the first bytes are the preface
//! (RFC 9113, 3.4).
//!
//! The bytes are only peeked at. They remain in the socket for the connection to read.

use std::io;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;

use super::client_io::ClientSocket;
use super::http_version::HttpVersion;

/// Waits for as many bytes as the decision needs, and returns the protocol.
///
/// # Errors
/// If the connection breaks, or ends before its first byte.
pub(super) async fn spoken_on(socket: &impl ClientSocket) -> io::Result<HttpVersion> {
    loop {
        socket.readable().await?;
        let looked = socket.try_io(Interest::READABLE, || {
            let mut bytes = [0; PREFACE.len()];
            let (_, count) = recv(socket, &mut bytes, RecvFlags::PEEK)?;
            match &bytes[..count.min(PREFACE.len())] {
                [] => Err(io::ErrorKind::UnexpectedEof.into()),
                seen if seen == PREFACE => Ok(HttpVersion::Http2),
                // These bytes remain readable. `WouldBlock` clears the readiness, so that the loop
                // waits for more.
                seen if PREFACE.starts_with(seen) => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(HttpVersion::Http1),
            }
        });
        match looked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            looked => return looked,
        }
    }
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
