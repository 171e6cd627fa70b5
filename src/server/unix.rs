//! Creates, checks and removes Unix sockets.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a socket. Dropping this removes it, unless another file has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: FileIdentity,
}

/// The identity of a file, which no other file has as long as it exists.
#[derive(Debug, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
}

/// Binds a socket that the user and the group can connect to. Replaces a stale one that another
/// process left behind.
///
/// # Errors
/// `AddrInUse` if a process listens there, `AlreadyExists` if the file is not a socket, and other
/// errors of the system.
pub(super) fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    remove_dead(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file =
        SocketFile { path: path.to_owned(), identity: FileIdentity::new(&fs::symlink_metadata(path)?) };
    // Clients can connect only after `listen`, when the mode is already set.
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), file))
}

/// Checks that [`bind`] could create a socket at `path`, and creates none.
///
/// # Errors
/// As for [`bind`].
pub(super) fn probe(path: &Path) -> io::Result<()> {
    SockAddr::unix(path)?;
    inspect_path(path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(access(directory.unwrap_or_else(|| Path::new(".")), Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Returns whether the process that listens at `path` has the same program name as this one. A
/// running proxy does.
pub(super) fn is_held_by_this_program(path: &Path) -> bool {
    let holder = || {
        let stream = std::os::unix::net::UnixStream::from(connect(path).ok()?);
        tokio::net::UnixStream::from_std(stream).ok()?.peer_cred().ok()?.pid()
    };
    let program = |process: &str| fs::read_to_string(format!("/proc/{process}/comm")).ok();
    let of_holder = holder().and_then(|process| program(&process.to_string()));
    of_holder.is_some() && of_holder == program("self")
}

/// The current state of the path of a socket.
enum PathOccupant {
    Nothing,
    /// A stale socket that a process left behind.
    Dead,
}

fn remove_dead(path: &Path) -> io::Result<()> {
    match inspect_path(path)? {
        PathOccupant::Nothing => Ok(()),
        PathOccupant::Dead => fs::remove_file(path),
    }
}

/// Inspects the path. Anything that cannot be replaced is an error.
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

/// Connects without waiting. A full accept queue is an error too.
fn connect(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

impl FileIdentity {
    fn new(file: &Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino() }
    }
}

impl SocketFile {
    /// Removes the file, unless another file has replaced it. A later drop finds nothing to remove.
    pub(super) fn remove(&self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|now| FileIdentity::new(&now) == self.identity) {
            // A file that cannot be removed is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The mode of a socket. Users outside the owner and the group must not reach the signer.
const MODE: u32 = 0o660;

/// The maximum number of connections in the accept queue.
pub(super) const BACKLOG: i32 = 1024;
