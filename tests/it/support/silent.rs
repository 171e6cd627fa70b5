//! An address that answers no connection attempt, as one behind a broken route.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A listener on loopback whose queue is full: the kernel drops new connections.
pub(crate) struct SilentListener {
    pub(crate) address: SocketAddr,
    _kept: (socket2::Socket, Vec<TcpStream>),
}

impl SilentListener {
    pub(crate) fn start() -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        socket.listen(0).expect("a queue");
        let address = socket.local_addr().expect("bound").as_socket().expect("an address");
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            queued.push(stream);
        }
        Self { address, _kept: (socket, queued) }
    }
}
