//! Listeners: their settings and sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tracing::warn;

use super::accept::AcceptSocket;
use super::address::ListenAddress;
use super::listening_socket::{BindError, ListeningSocket};
use super::socket_activation::ActivatedSockets;
use super::tls::TlsFiles;
use super::trusted_proxies::TrustedProxies;
use super::unix;
use crate::caller::{IdentityKinds, ListenerContent};
use crate::policy::AccessPolicy;

/// A listener as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSettings {
    /// The address to listen on.
    pub address: ListenAddress,
    /// The number among listeners with the same address, as only port 0 allows. A reload keeps it.
    pub(crate) number: usize,
    /// True if clients without an identity are served: there are no callers, or one is open.
    pub(crate) is_open: bool,
    /// True if an open listener may be reachable from other machines.
    pub(crate) unsafe_open: bool,
    /// True if tokens may be sent without TLS from other machines.
    pub(crate) unsafe_plain: bool,
    /// The kinds of identity that clients may present.
    pub(crate) identify: IdentityKinds,
    /// True if clients may sign with keys that the proxy has handed out.
    pub(crate) accepts_handed_out: bool,
    /// What the listener serves.
    pub(crate) content: ListenerContent,
    /// Domains under which buckets are addressed as `BUCKET.<domain>`, in lower case.
    pub(crate) domains: Vec<String>,
    /// The access policy of the listener.
    pub(crate) policy: AccessPolicy,
    /// The TLS files; `None` for plain HTTP.
    pub(crate) tls: Option<TlsFiles>,
    /// The load balancers that connect with the PROXY protocol; `None` if clients connect directly.
    pub(crate) trusted_proxies: Option<Arc<TrustedProxies>>,
}

impl ListenSettings {
    /// Creates a listener without TLS, domains, rules or callers.
    #[must_use]
    pub fn plain(address: ListenAddress) -> Self {
        Self {
            address,
            number: 0,
            is_open: true,
            unsafe_open: false,
            unsafe_plain: false,
            identify: IdentityKinds::default(),
            accepts_handed_out: false,
            content: ListenerContent::default(),
            domains: Vec::new(),
            policy: AccessPolicy::default(),
            tls: None,
            trusted_proxies: None,
        }
    }

    /// Returns whether both listeners have the same settings, under any numbers.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Self { number: other.number, ..self.clone() } == *other
    }

    /// Checks the actual sockets of the listener. The addresses of systemd sockets are known only
    /// once the sockets are passed.
    ///
    /// # Errors
    /// [`BindError::Open`] and [`BindError::PlainTokens`].
    pub(crate) fn check_open(&self, sockets: &[SharedListener]) -> Result<(), BindError> {
        let ListenAddress::Inherited(name) = &self.address else { return Ok(()) };
        let has_secrets =
            self.identify.accepts_bearer() || self.content.is_credentials() || self.accepts_handed_out;
        let has_plain_tokens = has_secrets && self.tls.is_none() && !self.unsafe_plain;
        let ports = sockets.iter().filter_map(|held| held.address.socket());
        for address in ports.filter(|address| !address.ip().to_canonical().is_loopback()) {
            if has_plain_tokens {
                return Err(BindError::PlainTokens(name.to_owned(), address));
            }
            if !self.is_open {
                continue;
            }
            if !self.unsafe_open {
                return Err(BindError::Open(name.to_owned(), address));
            }
            warn!(name, %address, "listening on a non-loopback address (unsafe_open); any client that can connect can use the credentials");
        }
        Ok(())
    }
}

/// A bound listener that is not accepting yet.
#[derive(Debug)]
pub struct BoundListener {
    /// The actual address, with the actual port.
    pub(crate) address: ListenAddress,
    socket: ListeningSocket,
    held: SharedListener,
}

/// A handle to the socket of a running listener, from which another listener can take it over.
#[derive(Clone, Debug)]
pub struct SharedListener {
    /// The actual address, with the actual port.
    pub(crate) address: ListenAddress,
    socket: Arc<ListeningSocket>,
}

/// A listening socket with the address of its listener as configured.
#[derive(Clone, Debug)]
pub(crate) struct ConfiguredSocket {
    /// The address as configured.
    pub(crate) configured: ListenAddress,
    /// The number of the listener among those with this address.
    pub(crate) number: usize,
    /// The socket.
    pub(crate) listener: SharedListener,
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
        let failed = |source| BindError::from_io(listen.address.clone(), source);
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
    pub(crate) fn probe(listen: &ListenSettings, inherited: &mut ActivatedSockets) -> Result<(), BindError> {
        let failed = |source| BindError::from_io(listen.address.clone(), source);
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

impl ConfiguredSocket {
    /// Returns whether this is a socket of the listener.
    pub(crate) fn is_of(&self, listen: &ListenSettings) -> bool {
        if self.configured != listen.address {
            return false;
        }
        // guard: sockets-of-equal-addresses
        self.number == listen.number
    }
}

impl SharedListener {
    /// Removes the file of the socket, if this process created it. Used while the accept thread
    /// still runs, because the process may end before that thread does.
    pub(crate) fn unlink(&self) {
        if let ListeningSocket::Unix(_, Some(file)) = &*self.socket {
            file.remove();
        }
    }

    /// Returns whether this is a Unix socket, which no DNS name can point to.
    pub(super) fn is_unix(&self) -> bool {
        matches!(*self.socket, ListeningSocket::Unix(..))
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = name(address)?;
    socket.listen(unix::BACKLOG)?;
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;

    use super::{BindError, IdentityKinds, ListenAddress, ListenSettings, ListeningSocket, SharedListener};

    #[test]
    fn only_an_open_listener_needs_unsafe_open_for_a_socket_of_systemd() {
        let address = ListenAddress::Tcp("10.0.0.1:80".parse().expect("an address"));
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let sockets = [SharedListener { address, socket: Arc::new(ListeningSocket::Tcp(socket)) }];
        let open = ListenSettings::plain(ListenAddress::Inherited("oss".to_owned()));
        assert!(matches!(open.check_open(&sockets), Err(BindError::Open(..))));
        assert!(ListenSettings { unsafe_open: true, ..open.clone() }.check_open(&sockets).is_ok());
        let closed = ListenSettings { is_open: false, ..open };
        assert!(closed.check_open(&sockets).is_ok());
        let tokens = IdentityKinds { token: true, ..IdentityKinds::default() };
        let handed_out = ListenSettings { accepts_handed_out: true, ..closed.clone() };
        assert!(matches!(handed_out.check_open(&sockets), Err(BindError::PlainTokens(..))));
        let plain = ListenSettings { identify: tokens, ..closed };
        assert!(matches!(plain.check_open(&sockets), Err(BindError::PlainTokens(..))));
        assert!(ListenSettings { unsafe_plain: true, ..plain }.check_open(&sockets).is_ok());
    }
}
