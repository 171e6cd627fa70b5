//! Accepts connections from listeners of every kind.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tracing::warn;

use super::address::ListenAddress;
use super::listening_socket::ListeningSocket;

/// A socket to accept from.
#[derive(Debug)]
pub struct AcceptSocket {
    /// The actual address, with the actual port.
    pub(crate) address: ListenAddress,
    pub(super) socket: ListeningSocket,
}

/// An accepted connection that is not assigned to a worker yet.
pub enum AcceptedSocket {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A Unix socket connection.
    Unix(UnixStream),
}

impl AcceptedSocket {
    /// Returns the address that the client connected to, even if the listener is bound to all
    /// addresses.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Returns the address of the other side.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

enum AsyncListener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl AsyncListener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<AcceptedSocket>> {
        Poll::Ready(match self {
            Self::Tcp(socket) => ready!(socket.poll_accept(cx))?.0.into_std().map(AcceptedSocket::Tcp),
            Self::Unix(socket) => ready!(socket.poll_accept(cx))?.0.into_std().map(AcceptedSocket::Unix),
        })
    }
}

impl AcceptSocket {
    /// Accepts connections forever and passes each to `serve` with a permit from `permit`. When no
    /// permit is available, waits for `freed` and accepts nothing: new clients remain in the queue
    /// of the socket. If the socket is taken over, its next owner accepts them. When accepting
    /// fails, for example because the file table is full, retries after a pause.
    ///
    /// # Errors
    /// If there is no runtime to register the socket with.
    pub async fn accept<Permit>(
        self,
        permit: impl Fn() -> Option<Permit>,
        freed: impl AsyncFn(),
        mut serve: impl FnMut(AcceptedSocket, Permit),
    ) -> io::Result<Infallible> {
        let listener = match self.socket {
            ListeningSocket::Tcp(socket) => AsyncListener::Tcp(tokio::net::TcpListener::from_std(socket)?),
            ListeningSocket::Unix(socket, _) => {
                AsyncListener::Unix(tokio::net::UnixListener::from_std(socket)?)
            }
        };
        let mut is_warned = false;
        loop {
            let next = poll_fn(|cx| {
                // Take the permit for this poll only: an idle listener must not hold one.
                let Some(permit) = permit() else { return Poll::Ready(None) };
                listener.poll_accept(cx).map(|accepted| Some(accepted.map(|accepted| (accepted, permit))))
            });
            match next.await {
                None => freed().await,
                Some(Ok((accepted, permit))) => {
                    is_warned = false;
                    serve(accepted, permit);
                }
                Some(Err(error)) if is_of_one_connection(&error) => {}
                Some(Err(error)) => {
                    if !is_warned {
                        warn!(
                            %error,
                            "cannot accept connections, retrying; if too many files are open, raise the limit of this process (ulimit -n, LimitNOFILE=), or lower client_connections in [limits]"
                        );
                    }
                    is_warned = true;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

const PAUSE: Duration = Duration::from_millis(50);
