//! Sockets: listeners, the cores that serve their connections, and the drain at the end.
//!
//! Connections are accepted in one place and handed to the core that has the fewest; there they stay, with the upstream
//! connections that serve them. A core is a thread with a runtime of its own.

mod client;
mod connection;
mod cores;
mod drain;
mod presence;
mod protocol;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

pub use drain::{Drain, Drained};

use crate::policy::Policy;
use crate::proxy::{Core, Gate};
use cores::Cores;

/// A listener as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Names under which buckets are addressed as `BUCKET.<domain>`, in lower case.
    pub domains: Vec<String>,
    /// What it allows.
    pub policy: Policy,
}

impl Listen {
    /// A listener without names or rules of its own.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, domains: Vec::new(), policy: Policy::default() }
    }
}

/// A listener with its socket, not yet accepting.
#[derive(Debug)]
pub struct Bound {
    /// The address it has; the port is a real one.
    pub address: SocketAddr,
    socket: TcpListener,
    listen: Listen,
}

/// A listener that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has the port.
    #[error(
        "{0} is already in use by another process; stop it, or choose another address with --listen or `address`"
    )]
    InUse(SocketAddr),
    /// The port is reserved.
    #[error("this user may not listen on {0}; choose a port from 1024 upwards")]
    Forbidden(SocketAddr),
    /// Anything else the system says.
    #[error("cannot listen on {address}: {source}")]
    System {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Settings of all client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many cores serve; at least one.
    pub cores: usize,
    /// How long the head of a request may take from its first byte; on a new connection, from the beginning.
    pub header_read: Duration,
    /// How long a client connection may be silent between requests.
    pub idle: Duration,
    /// How long a client may take nothing of an answer.
    pub stall: Duration,
    /// How long the drain waits for requests in flight.
    pub drain: Duration,
}

/// Makes the state of a core, in the thread of the core.
pub type MakeCore = Arc<dyn Fn() -> Core + Send + Sync>;

impl Bound {
    /// Takes the socket. Must be called inside a runtime's thread or outside of any.
    ///
    /// # Errors
    /// [`BindError`] says what to do.
    pub fn bind(listen: &Listen) -> Result<Self, BindError> {
        let address = listen.address;
        let socket = bind(address).map_err(|source| BindError::of(address, source))?;
        let address = socket.local_addr().map_err(|source| BindError::System { address, source })?;
        Ok(Self { address, socket, listen: listen.clone() })
    }

    /// The socket, for who accepts by himself.
    ///
    /// # Errors
    /// If there is no runtime to register it with.
    pub fn into_tokio(self) -> io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.socket)
    }
}

impl BindError {
    fn of(address: SocketAddr, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::InUse(address)
        } else if source.kind() == io::ErrorKind::PermissionDenied {
            Self::Forbidden(address)
        } else {
            Self::System { address, source }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Accepts on all listeners until the drain begins, then lets requests in flight end. Returns how that went.
///
/// # Errors
/// If the system gives no threads or sockets at all.
pub async fn serve(
    listeners: Vec<Bound>,
    settings: Settings,
    make_core: MakeCore,
    drain: Drain,
) -> io::Result<Drained> {
    let gates: Arc<[Gate]> = listeners
        .iter()
        .map(|bound| Gate { domains: bound.listen.domains.clone(), policy: bound.listen.policy.clone() })
        .collect();
    let cores = Rc::new(Cores::start(settings, make_core, gates, &drain)?);
    let mut accepting = Vec::new();
    for (index, bound) in listeners.into_iter().enumerate() {
        let listener = bound.into_tokio()?;
        let cores = Rc::clone(&cores);
        accepting.push(tokio::task::spawn_local(accept(listener, index, cores)));
    }
    drain.begun().await;
    for task in accepting {
        task.abort();
    }
    Ok(cores.drained(settings.drain, &drain).await)
}

/// Accepts for ever. A full file table passes; it is waited for.
async fn accept(listener: tokio::net::TcpListener, index: usize, cores: Rc<Cores>) {
    loop {
        match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => cores.hand_over(stream, index),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

const BACKLOG: i32 = 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
