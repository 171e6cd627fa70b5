//! Listeners: where they are, and their sockets.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::net::sockopt::socket_acceptconn;
use tracing::warn;

use super::socket_activation::ActivatedSockets;
use super::tls::TlsFiles;
use super::unix::{self, SocketFile};
use crate::policy::AccessPolicy;

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// On a port; 0 takes a free one.
    Tcp(SocketAddr),
    /// At a path of this machine.
    Unix(PathBuf),
    /// On the sockets of this name that systemd hands over (`FileDescriptorName=`).
    Inherited(String),
}

impl ListenAddress {
    /// The address and the port, if it has one.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) | Self::Inherited(_) => None,
        }
    }

    /// Whether the process that listens here may be a running proxy. Of a port it cannot be known.
    #[must_use]
    pub fn may_be_held_by_a_proxy(&self) -> bool {
        match self {
            Self::Tcp(_) => true,
            Self::Unix(path) => unix::is_held_by_this_program(path),
            Self::Inherited(_) => false,
        }
    }

    /// Whether the two cannot both be listened on. Port 0 takes a free one.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(two)) => {
                let (one_ip, two_ip) = (one.ip().to_canonical(), two.ip().to_canonical());
                one.port() == two.port()
                    && one.port() != 0
                    && (one_ip == two_ip
                        || includes_address(one_ip, two_ip)
                        || includes_address(two_ip, one_ip))
            }
            (Self::Unix(one), Self::Unix(two)) => is_same_path(one, two),
            (_, _) => self == other,
        }
    }
}

/// Whether a listener on every address takes this one too. Every address of IPv6 includes those of IPv4.
fn includes_address(all: IpAddr, one: IpAddr) -> bool {
    all.is_unspecified() && (all.is_ipv6() || one.is_ipv4())
}

/// Whether two paths are the same, however they are written. Links are not followed.
fn is_same_path(one: &Path, two: &Path) -> bool {
    match (std::path::absolute(one), std::path::absolute(two)) {
        (Ok(one), Ok(two)) => one == two,
        (_, _) => one == two,
    }
}

impl fmt::Display for ListenAddress {
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
pub struct ListenSettings {
    /// Where it listens.
    pub address: ListenAddress,
    /// Whether it may be reached from other machines.
    pub unsafe_open: bool,
    /// Names under which buckets are addressed as `BUCKET.<domain>`, in lower case.
    pub domains: Vec<String>,
    /// What it allows.
    pub policy: AccessPolicy,
    /// With what it speaks TLS; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
}

impl ListenSettings {
    /// A listener without names or rules of its own.
    #[must_use]
    pub fn plain(address: ListenAddress) -> Self {
        Self { address, unsafe_open: false, domains: Vec::new(), policy: AccessPolicy::default(), tls: None }
    }

    /// Checks what only the sockets that it has can tell: those that systemd hands over are known when they are there.
    ///
    /// # Errors
    /// [`BindError::Open`].
    pub fn check_open(&self, sockets: &[SharedListener]) -> Result<(), BindError> {
        let ListenAddress::Inherited(name) = &self.address else { return Ok(()) };
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
pub struct BoundListener {
    /// The address it has; a port is a real one.
    pub address: ListenAddress,
    pub(super) socket: ListeningSocket,
    held: SharedListener,
}

/// A socket to accept from.
#[derive(Debug)]
pub struct AcceptSocket {
    /// The address it has; a port is a real one.
    pub address: ListenAddress,
    pub(super) socket: ListeningSocket,
}

/// A socket that somebody accepts from, for who may have to take it over.
#[derive(Clone, Debug)]
pub struct SharedListener {
    /// The address it has; a port is a real one.
    pub address: ListenAddress,
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
    InUse(ListenAddress),
    /// This process has it, or a part of it.
    #[error(
        "{0} overlaps with {1}, where this proxy listens itself; take another port, or first a configuration without {1} and then this one, or start the proxy anew"
    )]
    Ours(ListenAddress, ListenAddress),
    /// The port is reserved, or the directory is somebody else's.
    #[error(
        "this user may not listen on {0}; choose a port from 1024 upwards, or a directory that this user may write"
    )]
    Forbidden(ListenAddress),
    /// The path is taken by something that no listener left behind.
    #[error("{0} is a file and no socket; remove it, or choose another path")]
    NoSocket(ListenAddress),
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
        address: ListenAddress,
        /// What the system said.
        source: io::Error,
    },
}

impl BoundListener {
    /// Takes the sockets of a listener: one, or as many as systemd has under its name. One of those that are `going` is taken
    /// over as it is, with whoever waits to be accepted.
    ///
    /// # Errors
    /// [`BindError`] says what to do.
    pub fn bind(
        listen: &ListenSettings,
        inherited: &mut ActivatedSockets,
        going: &[SharedListener],
    ) -> Result<Vec<Self>, BindError> {
        let failed = |source| BindError::of(listen.address.clone(), source);
        let going = going.iter().find(|held| held.address == listen.address);
        let sockets = match (&listen.address, going) {
            (_, Some(held)) => vec![held.socket.try_clone().map_err(failed)?],
            (ListenAddress::Tcp(address), None) => {
                vec![ListeningSocket::Tcp(bind(*address).map_err(failed)?)]
            }
            (ListenAddress::Unix(path), None) => {
                let (socket, file) = unix::bind(path).map_err(failed)?;
                vec![ListeningSocket::Unix(socket, Some(Arc::new(file)))]
            }
            (ListenAddress::Inherited(name), None) => inherited.take(name)?,
        };
        let bound = |socket: ListeningSocket| {
            let address = socket.port().map_or_else(|| listen.address.clone(), ListenAddress::Tcp);
            let held = SharedListener {
                address: address.clone(),
                socket: Arc::new(socket.try_clone().map_err(failed)?),
            };
            listen.check_open(std::slice::from_ref(&held))?;
            Ok(Self { address, socket, held })
        };
        sockets.into_iter().map(bound).collect()
    }

    /// Checks that [`Self::bind`] could take the sockets of a listener, and takes none. Those of systemd can only be checked in a
    /// process that was handed some.
    ///
    /// # Errors
    /// [`BindError`], as from [`Self::bind`].
    pub fn probe(listen: &ListenSettings, inherited: &mut ActivatedSockets) -> Result<(), BindError> {
        let failed = |source| BindError::of(listen.address.clone(), source);
        match &listen.address {
            ListenAddress::Tcp(address) => name(*address).map(drop).map_err(failed),
            ListenAddress::Unix(path) => unix::probe(path).map_err(failed),
            ListenAddress::Inherited(_) if inherited.is_empty() => Ok(()),
            ListenAddress::Inherited(_) => Self::bind(listen, inherited, &[]).map(drop),
        }
    }

    /// Separates the socket to accept from and the handle that keeps it. Only the handle removes the file of a unix socket,
    /// which may block.
    #[must_use]
    pub fn into_parts(self) -> (AcceptSocket, SharedListener) {
        let Self { address, socket, held } = self;
        let socket = match socket {
            ListeningSocket::Unix(socket, _) => ListeningSocket::Unix(socket, None),
            tcp @ ListeningSocket::Tcp(_) => tcp,
        };
        (AcceptSocket { address, socket }, held)
    }
}

impl SharedListener {
    /// Removes the file of the socket, if it is ours, before who accepts from it is gone: the process may end before that.
    pub fn unlink(&self) {
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
    pub(super) fn try_clone(&self) -> io::Result<Self> {
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
        match self {
            Self::NoSocket(_) | Self::NotInherited(..) | Self::NotListening(_) | Self::Open(..) => true,
            // A path that is too long.
            Self::System { source, .. } => source.kind() == io::ErrorKind::InvalidInput,
            Self::InUse(_) | Self::Ours(..) | Self::Forbidden(_) => false,
        }
    }

    fn of(address: ListenAddress, source: io::Error) -> Self {
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
    let socket = name(address)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A socket with this address, on which nobody can connect yet. Others may have the address too, until one of them listens.
fn name(address: SocketAddr) -> io::Result<socket2::Socket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// How many connections may wait to be accepted.
pub(super) const BACKLOG: i32 = 1024;

#[cfg(test)]
mod tests {
    use super::{ListenAddress, PathBuf};

    #[test]
    fn addresses_overlap_that_cannot_both_be_listened_on() {
        let tcp = |text: &str| ListenAddress::Tcp(text.parse().expect("an address"));
        let unix = |text: &str| ListenAddress::Unix(PathBuf::from(text));
        for (one, two, overlap) in [
            (tcp("127.0.0.1:80"), tcp("127.0.0.1:80"), true),
            (tcp("127.0.0.1:80"), tcp("127.0.0.1:81"), false),
            (tcp("127.0.0.1:0"), tcp("127.0.0.1:0"), false),
            (tcp("0.0.0.0:80"), tcp("127.0.0.1:80"), true),
            (tcp("[::]:80"), tcp("0.0.0.0:80"), true),
            (tcp("[::]:80"), tcp("127.0.0.1:80"), true),
            (tcp("[::]:80"), tcp("[::1]:80"), true),
            (tcp("[::1]:80"), tcp("127.0.0.1:80"), false),
            (tcp("[::1]:80"), tcp("0.0.0.0:80"), false),
            (tcp("[::ffff:127.0.0.1]:80"), tcp("127.0.0.1:80"), true),
            (tcp("[::ffff:0.0.0.0]:80"), tcp("127.0.0.1:80"), true),
            (tcp("[::ffff:0.0.0.0]:80"), tcp("[::1]:80"), false),
            (unix("/run/a.sock"), unix("/run/a.sock"), true),
            (unix("/run/a.sock"), unix("/run/./a.sock"), true),
            (unix("/run/a.sock"), unix("/run//a.sock"), true),
            (unix("a.sock"), unix("./a.sock"), true),
            (unix("/run/a.sock"), unix("/run/b.sock"), false),
            (unix("127.0.0.1:80"), tcp("127.0.0.1:80"), false),
            (ListenAddress::Inherited("a".to_owned()), ListenAddress::Inherited("a".to_owned()), true),
        ] {
            assert_eq!(one.overlaps(&two), overlap, "{one} and {two}");
            assert_eq!(two.overlaps(&one), overlap, "{two} and {one}");
        }
    }
}
