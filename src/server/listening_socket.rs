//! A listening socket of either kind, and the errors that prevent one.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use rustix::net::sockopt::socket_acceptconn;

use super::address::ListenAddress;
use super::unix::SocketFile;

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
        "{0} overlaps with {1}, on which this proxy already listens; use another port, or first apply a configuration without {1}, or restart the proxy"
    )]
    Ours(ListenAddress, ListenAddress),
    /// The port is privileged, or this user cannot write to the directory.
    #[error(
        "cannot listen on {0}: permission denied; choose a port of 1024 or above, or a directory that this user can write to"
    )]
    Forbidden(ListenAddress),
    /// The path is taken by a file that is not a socket.
    #[error("{0} is not a socket; remove the file, or choose another path")]
    NoSocket(ListenAddress),
    /// systemd passed no socket with this name.
    #[error(
        "systemd passed no socket named {0:?}: {1}; the name must match FileDescriptorName= of the .socket unit"
    )]
    NotInherited(String, String),
    /// The socket from systemd does not listen, so it cannot accept connections.
    #[error(
        "the systemd socket {0:?} is not listening; the .socket unit must have ListenStream= and Accept=no"
    )]
    NotListening(String),
    /// The socket from systemd can be reached from other machines.
    #[error(
        "the systemd socket {0:?} listens on the non-loopback address {1}, where any client that can connect can use the credentials; change ListenStream= to 127.0.0.1, or set unsafe_open = true if the network restricts access"
    )]
    Open(String, SocketAddr),
    /// The socket from systemd can be reached from other machines, which would send tokens in plain.
    #[error(
        "the systemd socket {0:?} listens on the non-loopback address {1}, where tokens would be sent unencrypted; set tls, or unsafe_plain = true if the network is trusted"
    )]
    PlainTokens(String, SocketAddr),
    /// Any other error of the system.
    #[error("cannot listen on {address}: {source}")]
    System {
        /// The address of the listener.
        address: ListenAddress,
        /// The error of the system.
        source: io::Error,
    },
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

    pub(super) fn port(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }
}

impl BindError {
    /// Returns whether the fix is a change of the configuration or of the systemd unit.
    #[must_use]
    pub(crate) fn is_configuration(&self) -> bool {
        match self {
            Self::NoSocket(_)
            | Self::NotInherited(..)
            | Self::NotListening(_)
            | Self::Open(..)
            | Self::PlainTokens(..) => true,
            // A path that is too long.
            Self::System { source, .. } => source.kind() == io::ErrorKind::InvalidInput,
            Self::InUse(_) | Self::Ours(..) | Self::Forbidden(_) => false,
        }
    }

    pub(super) fn from_io(address: ListenAddress, source: io::Error) -> Self {
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
