//! Unix sockets: made at a path, and removed from it.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use socket2::{Domain, SockAddr, Socket, Type};

use super::listen::BACKLOG;

/// The file of a socket; removed with this, unless somebody has put another one in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// Makes a socket that user and group can connect to. One that a process left behind is replaced.
///
/// # Errors
/// `AddrInUse` if somebody listens there, `AlreadyExists` if something else than a socket is there, and what the system says.
pub(super) fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    remove_dead(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(&fs::symlink_metadata(path)?) };
    // Before this nobody can connect, so nobody can before the mode is right.
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), file))
}

/// Checks that [`bind`] could make a socket at `path`, and makes none.
///
/// # Errors
/// As [`bind`].
pub(super) fn probe(path: &Path) -> io::Result<()> {
    SockAddr::unix(path)?;
    inspect_path(path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(access(directory.unwrap_or_else(|| Path::new(".")), Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Whether the process that listens at `path` runs a program of this one's name. A proxy that is running is one.
pub(super) fn is_held_by_this_program(path: &Path) -> bool {
    let holder = || {
        let stream = std::os::unix::net::UnixStream::from(connect(path).ok()?);
        tokio::net::UnixStream::from_std(stream).ok()?.peer_cred().ok()?.pid()
    };
    let program = |process: &str| fs::read_to_string(format!("/proc/{process}/comm")).ok();
    let of_holder = holder().and_then(|process| program(&process.to_string()));
    of_holder.is_some() && of_holder == program("self")
}

/// What is at the path of a socket.
enum PathOccupant {
    Nothing,
    /// A socket that a process left behind.
    Dead,
}

fn remove_dead(path: &Path) -> io::Result<()> {
    match inspect_path(path)? {
        PathOccupant::Nothing => Ok(()),
        PathOccupant::Dead => fs::remove_file(path),
    }
}

/// Looks at the path. What cannot be replaced is an error.
fn inspect_path(path: &Path) -> io::Result<PathOccupant> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(PathOccupant::Nothing),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(PathOccupant::Dead),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        Ok(_) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// Connects without waiting: if the queue of the listener is full, that is an error too.
fn connect(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl SocketFile {
    /// Removes the file now; there is nothing to remove later.
    pub(super) fn remove(&self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|now| identity(&now) == self.identity) {
            // What cannot be removed is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Others must not reach the signer.
const MODE: u32 = 0o660;
