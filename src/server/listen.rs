//! Listeners: where they are, and their sockets.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::net::sockopt::socket_acceptconn;
use tracing::warn;

use super::inherited::Inherited;
use super::tls::TlsFiles;
use super::unix::{self, SocketFile};
use crate::policy::Policy;

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// On a port; 0 takes a free one.
    Tcp(SocketAddr),
    /// At a path of this machine.
    Unix(PathBuf),
    /// On the sockets of this name that systemd hands over (`FileDescriptorName=`).
    Inherited(String),
}

impl Address {
    /// The address and the port, if it has one.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) | Self::Inherited(_) => None,
        }
    }

    /// Whether the two cannot both be listened on. Port 0 takes a free one.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (Some(one), Some(two)) = (self.socket(), other.socket()) else { return self == other };
        let everywhere = one.ip().is_unspecified() || two.ip().is_unspecified();
        one.port() == two.port()
            && one.port() != 0
            && (one.ip() == two.ip() || (everywhere && one.is_ipv4() == two.is_ipv4()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// A listener as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where it listens.
    pub address: Address,
    /// Whether it may be reached from other machines.
    pub unsafe_open: bool,
    /// Names under which buckets are addressed as `BUCKET.<domain>`, in lower case.
    pub domains: Vec<String>,
    /// What it allows.
    pub policy: Policy,
    /// With what it speaks TLS; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
}

impl Listen {
    /// A listener without names or rules of its own.
    #[must_use]
    pub fn plain(address: Address) -> Self {
        Self { address, unsafe_open: false, domains: Vec::new(), policy: Policy::default(), tls: None }
    }

    /// Checks what only the sockets that it has can tell: those that systemd hands over are known when they are there.
    ///
    /// # Errors
    /// [`BindError::Open`].
    pub fn check_open(&self, sockets: &[Held]) -> Result<(), BindError> {
        let Address::Inherited(name) = &self.address else { return Ok(()) };
        let ports = sockets.iter().filter_map(|held| held.address.socket());
        for address in ports.filter(|address| !address.ip().to_canonical().is_loopback()) {
            if !self.unsafe_open {
                return Err(BindError::Open(name.to_owned(), address));
            }
            warn!(name, %address, "can be reached from other machines, and everybody who reaches it is signed for (unsafe_open)");
        }
        Ok(())
    }
}

/// A listener with its socket, not yet accepting.
#[derive(Debug)]
pub struct Bound {
    /// The address it has; a port is a real one.
    pub address: Address,
    pub(super) socket: ListeningSocket,
    held: Held,
}

/// A socket that somebody accepts from, for who may have to take it over.
#[derive(Clone, Debug)]
pub struct Held {
    /// The address it has; a port is a real one.
    pub address: Address,
    socket: Arc<ListeningSocket>,
}

/// A socket of either kind.
#[derive(Debug)]
pub(super) enum ListeningSocket {
    Tcp(TcpListener),
    /// With the file that is removed in the end, if it is ours.
    Unix(UnixListener, Option<Arc<SocketFile>>),
}

/// A listener that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has it.
    #[error(
        "{0} is already in use by another process; stop it, or choose another address with --listen or `address`"
    )]
    InUse(Address),
    /// This process has it, or a part of it.
    #[error(
        "{0} overlaps with {1}, where this proxy listens itself; take another port, or first a configuration without {1} and then this one, or start the proxy anew"
    )]
    Ours(Address, Address),
    /// The port is reserved, or the directory is somebody else's.
    #[error(
        "this user may not listen on {0}; choose a port from 1024 upwards, or a directory that this user may write"
    )]
    Forbidden(Address),
    /// The path is taken by something that no listener left behind.
    #[error("{0} is a file and no socket; remove it, or choose another path")]
    NoSocket(Address),
    /// systemd has handed over no socket of that name.
    #[error(
        "no socket {0:?} was handed over by systemd: {1}; the name is FileDescriptorName= of the .socket unit"
    )]
    NotInherited(String, String),
    /// What systemd has handed over does not listen, so no connection can come through it.
    #[error(
        "the socket {0:?} of systemd does not listen; the .socket unit needs ListenStream= and Accept=no"
    )]
    NotListening(String),
    /// What systemd has handed over can be reached from other machines.
    #[error(
        "the socket {0:?} of systemd listens on {1}, which can be reached from other machines, and everybody who reaches it is signed for; change ListenStream= to 127.0.0.1, or set unsafe_open = true if the network keeps others out"
    )]
    Open(String, SocketAddr),
    /// Anything else the system says.
    #[error("cannot listen on {address}: {source}")]
    System {
        /// The address.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
}

impl Bound {
    /// Takes the sockets of a listener: one, or as many as systemd has under its name. One of those that are `going` is taken
    /// over as it is, with whoever waits to be accepted.
    ///
    /// # Errors
    /// [`BindError`] says what to do.
    pub fn bind(listen: &Listen, inherited: &mut Inherited, going: &[Held]) -> Result<Vec<Self>, BindError> {
        let failed = |source| BindError::of(listen.address.clone(), source);
        let going = going.iter().find(|held| held.address == listen.address);
        let sockets = match (&listen.address, going) {
            (_, Some(held)) => vec![held.socket.again().map_err(failed)?],
            (Address::Tcp(address), None) => vec![ListeningSocket::Tcp(bind(*address).map_err(failed)?)],
            (Address::Unix(path), None) => {
                let (socket, file) = unix::bind(path).map_err(failed)?;
                vec![ListeningSocket::Unix(socket, Some(Arc::new(file)))]
            }
            (Address::Inherited(name), None) => inherited.take(name)?,
        };
        let bound = |socket: ListeningSocket| {
            let address = socket.port().map_or_else(|| listen.address.clone(), Address::Tcp);
            let held = Held { address: address.clone(), socket: Arc::new(socket.again().map_err(failed)?) };
            listen.check_open(std::slice::from_ref(&held))?;
            Ok(Self { address, socket, held })
        };
        sockets.into_iter().map(bound).collect()
    }

    /// For who may have to take the socket over.
    #[must_use]
    pub fn held(&self) -> Held {
        self.held.clone()
    }
}

impl Held {
    /// Removes the file of the socket, if it is ours, before who accepts from it is gone: the process may end before that.
    pub fn vanish(&self) {
        if let ListeningSocket::Unix(_, Some(file)) = &*self.socket {
            file.remove();
        }
    }

    /// Whether it is a path of this machine, to which no name of any name service leads.
    pub(super) fn is_unix(&self) -> bool {
        matches!(*self.socket, ListeningSocket::Unix(..))
    }
}

impl ListeningSocket {
    /// Another handle of the same socket.
    pub(super) fn again(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket, file) => Self::Unix(socket.try_clone()?, file.clone()),
        })
    }

    /// Whether connections can be accepted from it.
    pub(super) fn is_listening(&self) -> bool {
        let listens = match self {
            Self::Tcp(socket) => socket_acceptconn(socket),
            Self::Unix(socket, _) => socket_acceptconn(socket),
        };
        listens.unwrap_or(false)
    }

    fn port(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }
}

impl BindError {
    /// Whether the configuration must change, or what systemd was told.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::NoSocket(_) | Self::NotInherited(..) | Self::NotListening(_) | Self::Open(..))
    }

    fn of(address: Address, source: io::Error) -> Self {
        let is = |kind| source.kind() == kind;
        if is(io::ErrorKind::AddrInUse) {
            Self::InUse(address)
        } else if is(io::ErrorKind::PermissionDenied) {
            Self::Forbidden(address)
        } else if is(io::ErrorKind::AlreadyExists) {
            Self::NoSocket(address)
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

/// How many connections may wait to be accepted.
pub(super) const BACKLOG: i32 = 1024;
