//! Sockets that systemd has opened for this process (`sd_listen_fds(3)`).

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use listenfd::ListenFd;
use rustix::io::{FdFlags, fcntl_setfd};

use super::listen::{BindError, ListenAddress, ListeningSocket};

/// What was handed over and has not been taken.
pub struct ActivatedSockets {
    sockets: ListenFd,
    names: Vec<String>,
    /// Those that were taken, by index: another configuration may want them once more.
    taken: Vec<(usize, ListeningSocket)>,
}

impl ActivatedSockets {
    /// Takes what the environment tells of (`LISTEN_FDS`, `LISTEN_PID`); `names` is what `LISTEN_FDNAMES` says.
    #[must_use]
    pub fn from_environment(names: Option<&str>) -> Self {
        let sockets = ListenFd::from_env();
        (FIRST..).take(sockets.len()).for_each(keep_from_commands);
        let mut names: Vec<_> = names.into_iter().flat_map(|all| all.split(':')).map(str::to_owned).collect();
        names.resize(sockets.len(), UNNAMED.to_owned());
        Self { sockets, names, taken: Vec::new() }
    }

    /// Of a process that was started in another way.
    #[must_use]
    pub fn nothing() -> Self {
        Self { sockets: ListenFd::empty(), names: Vec::new(), taken: Vec::new() }
    }

    /// Whether nothing was handed over.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All sockets of this name.
    pub(super) fn take(&mut self, name: &str) -> Result<Vec<ListeningSocket>, BindError> {
        let wanted = |(index, known): (usize, &String)| (known == name).then_some(index);
        let indexes: Vec<usize> = self.names.iter().enumerate().filter_map(wanted).collect();
        if indexes.is_empty() {
            return Err(BindError::NotInherited(name.to_owned(), self.told()));
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
        if let Some((_, socket)) = self.taken.iter().find(|(known, _)| *known == index) {
            return socket.try_clone().map(Some);
        }
        let socket = self.first(index)?;
        if let Some(socket) = &socket {
            self.taken.push((index, socket.try_clone()?));
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

    fn told(&self) -> String {
        if self.names.is_empty() {
            return "none was handed over to this process (LISTEN_FDS, LISTEN_PID)".to_owned();
        }
        format!("there are {}", self.names.join(", "))
    }
}

/// Has no command that this process executes inherit this descriptor, whether anybody names it or not.
#[expect(unsafe_code, reason = "what is handed over is known by its number only")]
fn keep_from_commands(descriptor: RawFd) {
    // SAFETY: it is borrowed for one call, which closes nothing and reads nothing. Whoever started this process says that it is
    // open; if it is not, the call fails and changes nothing.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    // What is not open is inherited by nobody.
    let _ = fcntl_setfd(descriptor, FdFlags::CLOEXEC);
}

/// The first that is handed over (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
/// What systemd itself calls a socket without a name.
const UNNAMED: &str = "unknown";
