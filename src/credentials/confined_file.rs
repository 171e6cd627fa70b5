//! Opens files that must be inside of a directory. The check and the open are one step, because
//! another party may replace a symbolic link at any time.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat, openat2};
use rustix::io::Errno;

/// Opens a file by its path relative to a directory, without waiting for a pipe.
///
/// # Errors
/// [`io::ErrorKind::CrossesDevices`] if the path leads out of the directory, by `..` or by a symbolic
/// link. A link with an absolute path always does.
pub(super) fn open_beneath(directory: &Path, path: &Path) -> io::Result<File> {
    let directory = open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // guard: opened-beneath
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..ATTEMPTS_MAX {
        match openat2(&directory, path, READ, Mode::empty(), resolve) {
            Ok(file) => return Ok(file.into()),
            // A directory was renamed at the same time.
            Err(Errno::AGAIN) => {}
            // The system is older than Linux 5.6, or its sandbox does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => break,
            Err(error) => return Err(error.into()),
        }
    }
    open_and_compare(&directory, path)
}

/// Opens a file as [`open_beneath`] does, by comparing the paths of what was found before it is read.
fn open_and_compare(directory: &OwnedFd, path: &Path) -> io::Result<File> {
    let found = openat(directory, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let link_of = |fd: BorrowedFd<'_>| PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let link = link_of(std::os::fd::AsFd::as_fd(&found));
    let real = std::fs::read_link(&link)?;
    let inside = std::fs::read_link(link_of(std::os::fd::AsFd::as_fd(directory)))?;
    if !real.starts_with(inside) {
        return Err(Errno::XDEV.into());
    }
    // The link leads to what was compared, whatever has its name now.
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(link)
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
/// The number of attempts while directories are renamed.
const ATTEMPTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{self, ErrorKind, Read as _};
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use rustix::fs::{Mode, OFlags, open};

    use super::{open_and_compare, open_beneath};

    /// Returns the content of a file that was opened, or the kind of the error.
    fn content(opened: io::Result<File>) -> Result<String, ErrorKind> {
        let mut text = String::new();
        opened.and_then(|mut file| file.read_to_string(&mut text)).map_err(|error| error.kind())?;
        Ok(text)
    }

    #[test]
    fn only_files_inside_are_opened_with_and_without_the_call_of_the_system() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().join("d");
        fs::create_dir_all(directory.join("..2026/deep")).expect("folders");
        fs::write(folder.path().join("outside"), "outside").expect("written");
        fs::write(directory.join("plain"), "plain").expect("written");
        fs::write(directory.join("..2026/team.toml"), "mounted").expect("written");
        // The form of a mounted ConfigMap.
        symlink("..2026", directory.join("..data")).expect("a link");
        symlink("..data/team.toml", directory.join("team.toml")).expect("a link");
        symlink("../outside", directory.join("relative")).expect("a link");
        symlink(folder.path().join("outside"), directory.join("absolute")).expect("a link");
        symlink("..", directory.join("up")).expect("a link");
        let fd = open(&directory, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("a directory");
        for (path, expected) in [
            ("plain", Ok("plain")),
            ("team.toml", Ok("mounted")),
            ("..2026/deep/../team.toml", Ok("mounted")),
            ("relative", Err(ErrorKind::CrossesDevices)),
            ("absolute", Err(ErrorKind::CrossesDevices)),
            ("../outside", Err(ErrorKind::CrossesDevices)),
            ("up/outside", Err(ErrorKind::CrossesDevices)),
            ("none", Err(ErrorKind::NotFound)),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(content(open_beneath(&directory, Path::new(path))), expected, "{path}");
            assert_eq!(content(open_and_compare(&fd, Path::new(path))), expected, "{path}");
        }
    }
}
