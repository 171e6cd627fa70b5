//! Listeners: their addresses, settings and sockets.

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

/// The address of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An IP address and a port; port 0 picks a free one.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// The sockets with this name that systemd passes (`FileDescriptorName=`).
    Inherited(String),
}

impl ListenAddress {
    /// Returns the IP address and port, if it has one.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) | Self::Inherited(_) => None,
        }
    }

    /// Returns whether the process that listens here may be a running proxy. For a port this cannot
    /// be known, so the result is `true`.
    #[must_use]
    pub fn may_be_held_by_a_proxy(&self) -> bool {
        match self {
            Self::Tcp(_) => true,
            Self::Unix(path) => unix::is_held_by_this_program(path),
            Self::Inherited(_) => false,
        }
    }

    /// Returns whether the two addresses conflict, so that only one of them can be listened on.
    /// Port 0 picks a free port.
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

/// Returns whether `all` is an unspecified address that includes `one`. The one of IPv6 includes
/// IPv4.
fn includes_address(all: IpAddr, one: IpAddr) -> bool {
    all.is_unspecified() && (all.is_ipv6() || one.is_ipv4())
}

/// Returns whether two paths are equal once made absolute. Symbolic links are not followed.
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
    /// The address to listen on.
    pub address: ListenAddress,
    /// True if the listener may be reachable from other machines.
    pub unsafe_open: bool,
    /// Domains under which buckets are addressed as `BUCKET.<domain>`, in lower case.
    pub domains: Vec<String>,
    /// The access policy of the listener.
    pub policy: AccessPolicy,
    /// The TLS files; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
}

impl ListenSettings {
    /// Creates a listener without TLS, domains or rules.
    #[must_use]
    pub fn plain(address: ListenAddress) -> Self {
        Self { address, unsafe_open: false, domains: Vec::new(), policy: AccessPolicy::default(), tls: None }
    }

    /// Checks the actual sockets of the listener. The addresses of systemd sockets are known only
    /// once the sockets are passed.
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

/// A bound listener that is not accepting yet.
#[derive(Debug)]
pub struct BoundListener {
    /// The actual address, with the actual port.
    pub address: ListenAddress,
    pub(super) socket: ListeningSocket,
    held: SharedListener,
}

/// A socket to accept from.
#[derive(Debug)]
pub struct AcceptSocket {
    /// The actual address, with the actual port.
    pub address: ListenAddress,
    pub(super) socket: ListeningSocket,
}

/// A handle to the socket of a running listener, from which another listener can take it over.
#[derive(Clone, Debug)]
pub struct SharedListener {
    /// The actual address, with the actual port.
    pub address: ListenAddress,
    socket: Arc<ListeningSocket>,
}

/// A listening socket, TCP or Unix.
#[derive(Debug)]
pub(super) enum ListeningSocket {
    Tcp(TcpListener),
    /// With the file to remove at the end, if this process created it.
    Unix(UnixListener, Option<Arc<SocketFile>>),
}

/// An error that prevents listening.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens on the address.
    #[error(
        "{0} is already in use by another process; stop it, or choose another address with --listen or `address`"
    )]
    InUse(ListenAddress),
    /// This process already listens on the address, or on a part of it.
    #[error(
        "{0} overlaps with {1}, where this proxy listens itself; take another port, or first a configuration without {1} and then this one, or start the proxy anew"
    )]
    Ours(ListenAddress, ListenAddress),
    /// The port is privileged, or this user cannot write to the directory.
    #[error(
        "this user may not listen on {0}; choose a port from 1024 upwards, or a directory that this user may write"
    )]
    Forbidden(ListenAddress),
    /// The path is taken by a file that is not a socket.
    #[error("{0} is a file and no socket; remove it, or choose another path")]
    NoSocket(ListenAddress),
    /// systemd passed no socket with this name.
    #[error(
        "no socket {0:?} was handed over by systemd: {1}; the name is FileDescriptorName= of the .socket unit"
    )]
    NotInherited(String, String),
    /// The socket from systemd does not listen, so it cannot accept connections.
    #[error(
        "the socket {0:?} of systemd does not listen; the .socket unit needs ListenStream= and Accept=no"
    )]
    NotListening(String),
    /// The socket from systemd can be reached from other machines.
    #[error(
        "the socket {0:?} of systemd listens on {1}, which can be reached from other machines, and everybody who reaches it is signed for; change ListenStream= to 127.0.0.1, or set unsafe_open = true if the network keeps others out"
    )]
    Open(String, SocketAddr),
    /// Any other error of the system.
    #[error("cannot listen on {address}: {source}")]
    System {
        /// The address of the listener.
        address: ListenAddress,
        /// The error of the system.
        source: io::Error,
    },
}

impl BoundListener {
    /// Binds the sockets of a listener: one, or all that systemd passes under its name. A socket in
    /// `going` with the same address is taken over, together with the connections in its accept
    /// queue.
    ///
    /// # Errors
    /// [`BindError`], with a message that says how to fix it.
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

    /// Checks that [`Self::bind`] could bind the sockets of a listener, and keeps none. The sockets
    /// of systemd can be checked only in a process that received some.
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

    /// Separates the socket to accept from and the handle that keeps it open. Only the handle
    /// removes the file of a Unix socket, which may block.
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
    /// Removes the file of the socket, if this process created it. Used while the accept thread
    /// still runs, because the process may end before that thread does.
    pub fn unlink(&self) {
        if let ListeningSocket::Unix(_, Some(file)) = &*self.socket {
            file.remove();
        }
    }

    /// Returns whether this is a Unix socket, which no DNS name can lead to.
    pub(super) fn is_unix(&self) -> bool {
        matches!(*self.socket, ListeningSocket::Unix(..))
    }
}

impl ListeningSocket {
    /// Returns another handle to the same socket.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket, file) => Self::Unix(socket.try_clone()?, file.clone()),
        })
    }

    /// Returns whether the socket is listening.
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
    /// Returns whether the fix is a change of the configuration or of the systemd unit.
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

/// Returns a socket that is bound to the address but not listening, so clients cannot connect yet.
/// Other sockets may be bound to it too, until one of them listens.
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

/// The maximum number of connections in the accept queue.
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
