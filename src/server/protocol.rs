//! Which protocol a client speaks on a plain listener: HTTP/2 if its first bytes are the preface (RFC 9113, 3.4).
//!
//! The bytes are looked at and left in the socket, for whoever serves the connection to read.

use std::io;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;

use super::client_io::ClientSocket;

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpVersion {
    Http1,
    Http2,
}

/// Waits for as many bytes as it takes to tell.
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
                // They stay readable, so the socket must be taken for empty, or this would not wait for more of them.
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
