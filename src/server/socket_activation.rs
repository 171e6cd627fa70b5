//! Sockets that systemd has opened for this process (`sd_listen_fds(3)`).

use std::collections::BTreeMap;
use std::io;

use listenfd::ListenFd;

use super::address::ListenAddress;
use super::listening_socket::{BindError, ListeningSocket};

/// The sockets that systemd passed to this process.
pub struct ActivatedSockets {
    sockets: ListenFd,
    names: Vec<String>,
    /// The sockets already taken, by index: another configuration may need them again.
    taken: BTreeMap<usize, ListeningSocket>,
}

impl ActivatedSockets {
    /// Takes the sockets that the environment describes (`LISTEN_FDS`, `LISTEN_PID`). `names` is
    /// the value of `LISTEN_FDNAMES`.
    #[must_use]
    pub(crate) fn from_environment(names: Option<&str>) -> Self {
        // Sets close-on-exec, so that no command executed by this process inherits a descriptor, not
        // even one that no listener uses. On failure a descriptor is not open. Must come first:
        // `ListenFd` removes the variables.
        let _ = sd_notify::listen_fds();
        let sockets = ListenFd::from_env();
        let mut names: Vec<_> = names.into_iter().flat_map(|all| all.split(':')).map(str::to_owned).collect();
        names.resize(sockets.len(), UNNAMED.to_owned());
        Self { sockets, names, taken: BTreeMap::new() }
    }

    /// Returns an empty set, for a process that was started without socket activation.
    #[cfg(any(test, feature = "internals"))]
    #[must_use]
    pub fn nothing() -> Self {
        Self { sockets: ListenFd::empty(), names: Vec::new(), taken: BTreeMap::new() }
    }

    /// Returns whether no socket was passed.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns all sockets with this name.
    pub(super) fn take(&mut self, name: &str) -> Result<Vec<ListeningSocket>, BindError> {
        let wanted = |(index, known): (usize, &String)| (known == name).then_some(index);
        let indexes: Vec<usize> = self.names.iter().enumerate().filter_map(wanted).collect();
        if indexes.is_empty() {
            return Err(BindError::NotInherited(name.to_owned(), self.received_names()));
        }
        let failed =
            |source| BindError::System { address: ListenAddress::Inherited(name.to_owned()), source };
        let mut sockets = Vec::new();
        for index in indexes {
            let socket = self.socket(index).map_err(failed)?;
            if socket.as_ref().is_some_and(|socket| !socket.is_listening()) {
                return Err(BindError::NotListening(name.to_owned()));
            }
            sockets.extend(socket);
        }
        Ok(sockets)
    }

    fn socket(&mut self, index: usize) -> io::Result<Option<ListeningSocket>> {
        if let Some(socket) = self.taken.get(&index) {
            return socket.try_clone().map(Some);
        }
        let socket = self.first(index)?;
        if let Some(socket) = &socket {
            self.taken.insert(index, socket.try_clone()?);
        }
        Ok(socket)
    }

    fn first(&mut self, index: usize) -> io::Result<Option<ListeningSocket>> {
        if let Ok(socket) = self.sockets.take_unix_listener(index) {
            let Some(socket) = socket else { return Ok(None) };
            socket.set_nonblocking(true)?;
            return Ok(Some(ListeningSocket::Unix(socket, None)));
        }
        let Some(socket) = self.sockets.take_tcp_listener(index)? else { return Ok(None) };
        socket.set_nonblocking(true)?;
        Ok(Some(ListeningSocket::Tcp(socket)))
    }

    /// Describes the sockets that the process received, for an error.
    fn received_names(&self) -> String {
        if self.names.is_empty() {
            return "this process received none (LISTEN_FDS, LISTEN_PID)".to_owned();
        }
        format!("this process received {}", self.names.join(", "))
    }
}

/// The name that systemd gives to a socket without a name.
const UNNAMED: &str = "unknown";
