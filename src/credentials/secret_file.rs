//! Reads files with secrets in one piece into memory that is wiped, and checks their permissions.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;
use tracing::warn;
use zeroize::Zeroizing;

/// A reader for files with secrets.
#[derive(Debug, Default)]
pub(super) struct SecretFileReader {
    /// If set, a file that other users can read is rejected.
    strict: bool,
    /// Set once the warning about permissions was logged.
    warned: AtomicBool,
}

/// Reasons why a file cannot be used. All are temporary, because another program owns the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretFileError {
    #[error("cannot read {0}: {1}; check that it exists and that this user may read it")]
    Failed(String, io::Error),
    #[error("{0} is too large for a credential file: more than 64 KiB")]
    TooLarge(String),
    #[error("{0} is readable by other users, and strict_file_modes is set; run chmod 600 on it")]
    Exposed(String),
    #[error("{0} is not a regular file; set the path of a regular file")]
    NotRegular(String),
}

/// The state of a file, with symbolic links followed; `None` if its metadata cannot be read.
pub(super) type FileFingerprint = Option<[i64; 5]>;

impl SecretFileReader {
    pub(super) fn new(strict: bool) -> Self {
        Self { strict, warned: AtomicBool::new(false) }
    }

    /// Returns the content of a file.
    pub(super) fn read(&self, path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
        let name = || path.display().to_string();
        let failed = |error| SecretFileError::Failed(name(), error);
        // The open is non-blocking, because opening a pipe without a writer would block.
        let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(SecretFileError::NotRegular(name()));
        }
        let mode = found.permissions().mode();
        if mode & READABLE_BY_OTHERS != 0 {
            if self.strict {
                return Err(SecretFileError::Exposed(name()));
            }
            if !self.warned.swap(true, Ordering::Relaxed) {
                warn!(
                    path = name(),
                    "credential file is readable by other users of this host; run chmod 600 on it"
                );
            }
        }
        // The buffer is never reallocated, so no copy of the secret remains in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(LONGEST + 1));
        file.take(LONGEST as u64 + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() > LONGEST {
            return Err(SecretFileError::TooLarge(name()));
        }
        Ok(text)
    }
}

impl SecretFileError {
    /// Returns whether the file does not exist.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Failed(_, error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Returns the current state of a file.
pub(super) fn state(path: &Path) -> FileFingerprint {
    let found = fs::metadata(path).ok()?;
    let [device, inode, size] = [found.dev(), found.ino(), found.size()].map(u64::cast_signed);
    Some([device, inode, size, found.mtime(), found.mtime_nsec()])
}

const O_NONBLOCK: i32 = OFlags::NONBLOCK.bits().cast_signed();
/// Maximum size of a credential file, in bytes.
const LONGEST: usize = 64 * 1024;
/// The permission bits that let group and others read.
const READABLE_BY_OTHERS: u32 = 0o044;
