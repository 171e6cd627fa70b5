//! Reads the PROXY protocol header of a connection from a load balancer. Nothing after it is read.

use std::io;
use std::net::SocketAddr;

use rustix::net::{RecvFlags, recv};

use super::client_io::ClientSocket;
use super::peek::peek;
use super::proxy_header::{HEADER_MAX, ProxyHeader};

/// Waits for the header, and returns the address of the client; `None` if the header names none.
///
/// # Errors
/// If the connection does not begin with a header, breaks or ends.
pub(super) async fn proxied_client(socket: &impl ClientSocket) -> io::Result<Option<SocketAddr>> {
    let parse = |bytes: &[u8]| {
        ProxyHeader::parse(bytes).map_err(|invalid| io::Error::new(io::ErrorKind::InvalidData, invalid))
    };
    let header = peek::<HEADER_MAX, _>(socket, parse).await?;
    let mut bytes = [0; HEADER_MAX];
    let (_, count) = recv(socket, &mut bytes[..header.length], RecvFlags::empty())?;
    if count != header.length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(header.client)
}
