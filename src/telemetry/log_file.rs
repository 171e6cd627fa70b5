//! The log file, which is reopened on request after it was moved away (log rotation).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::fs::{Access, Mode, OFlags, access};
use rustix::io::Errno;
use tracing::error;

/// The log file, owned by the thread that writes it.
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    wanted: Arc<AtomicBool>,
}

impl LogFile {
    /// Opens the file for appending, or creates it. Setting `anew` reopens it before the next
    /// write.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(crate) fn open(path: &Path, anew: Arc<AtomicBool>) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: open(path)?, wanted: anew })
    }

    /// Waits until all that was written is on the disk.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self.file.sync_data() {
            // Pipes and devices have nothing to synchronize.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }

    /// Checks that [`Self::open`] would succeed, without creating the file.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(crate) fn probe(path: &Path) -> io::Result<()> {
        // Without `NONBLOCK`, opening a pipe that has no reader would block.
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                Ok(access(directory.unwrap_or_else(|| Path::new(".")), Access::WRITE_OK | Access::EXEC_OK)?)
            }
            opened => Ok(opened.map(drop)?),
        }
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.wanted.swap(false, Relaxed) {
            match open(&self.path) {
                Ok(file) => {
                    self.file = file;
                    let is_new = self.file.metadata().is_ok_and(|known| known.len() == 0);
                    if is_new && bytes == b"\n" {
                        // This newline terminates a partial line, which is in the old file.
                        return Ok(bytes.len());
                    }
                }
                // This event is logged like any other.
                Err(error) => error!(
                    path = %self.path.display(),
                    %error,
                    "cannot reopen the log file; still writing to the old one"
                ),
            }
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

/// Not readable by all users: the log has names of buckets and errors.
const MODE: u32 = 0o640;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::LogFile;

    #[test]
    fn a_probe_makes_no_file_and_fails_where_opening_would() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        fs::write(at("log"), "a line\n").expect("written");
        for (name, is_good) in
            [("log", true), ("new", true), ("missing/log", false), ("log/log", false), ("", false)]
        {
            assert_eq!(LogFile::probe(&at(name)).is_ok(), is_good, "{name:?}");
        }
        assert!(!at("new").exists());
        assert_eq!(fs::read_to_string(at("log")).expect("a file"), "a line\n");
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_when_it_is_asked_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let moved = directory.path().join("log.1");
        let anew = Arc::new(AtomicBool::new(false));
        let mut log = LogFile::open(&path, Arc::clone(&anew)).expect("a file");
        log.write_all(b"one\n").expect("written");
        fs::rename(&path, &moved).expect("moved");
        log.write_all(b"two\n").expect("written");
        anew.store(true, Relaxed);
        log.write_all(b"three\n").expect("written");
        assert_eq!(fs::read_to_string(&moved).expect("a file"), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "three\n");
        // The newline after a partial line is not written to another file.
        for (write, expected) in [("\n", "three\n\n"), ("\n", "")] {
            if expected.is_empty() {
                fs::remove_file(&path).expect("removed");
            }
            anew.store(true, Relaxed);
            log.write_all(write.as_bytes()).expect("written");
            assert_eq!(fs::read_to_string(&path).expect("a file"), expected);
        }
        // If reopening fails, lines still go to the old file.
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a directory in its way");
        anew.store(true, Relaxed);
        log.write_all(b"four\n").expect("written");
    }
}
