//! Connections as they come, from listeners of every kind.

use std::convert::Infallible;
use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::listen::{Bound, ListeningSocket};
use super::unix::SocketFile;

/// A connection, on no core yet.
pub enum Accepted {
    /// Over a port.
    Tcp(TcpStream),
    /// Over a path.
    Unix(UnixStream),
}

enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix(
        tokio::net::UnixListener,
        #[expect(dead_code, reason = "dropped with the listener")] Option<Arc<SocketFile>>,
    ),
}

impl Listener {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(socket) => Ok(Accepted::Tcp(socket.accept().await?.0.into_std()?)),
            Self::Unix(socket, _) => Ok(Accepted::Unix(socket.accept().await?.0.into_std()?)),
        }
    }
}

impl Bound {
    /// Accepts for ever and gives every connection to `serve`. A full file table passes; it is waited for.
    ///
    /// # Errors
    /// If there is no runtime to register the socket with.
    pub async fn accept(self, mut serve: impl AsyncFnMut(Accepted)) -> io::Result<Infallible> {
        let listener = match self.socket {
            ListeningSocket::Tcp(socket) => Listener::Tcp(tokio::net::TcpListener::from_std(socket)?),
            ListeningSocket::Unix(socket, file) => {
                Listener::Unix(tokio::net::UnixListener::from_std(socket)?, file)
            }
        };
        let mut is_told = false;
        loop {
            match listener.accept().await {
                Ok(accepted) => {
                    is_told = false;
                    serve(accepted).await;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if !is_told {
                        warn!(
                            %error,
                            "cannot accept connections for now; if too many files are open, raise the limit of this process (ulimit -n, LimitNOFILE=), or lower client_connections in [limits]"
                        );
                    }
                    is_told = true;
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
