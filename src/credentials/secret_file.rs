//! Reads files with secrets in one piece into memory that is wiped, and checks their permissions.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;
use tracing::warn;
use zeroize::Zeroizing;

use super::confined_file::open_beneath;
use crate::secret::Secret;

/// The content of a file with a secret.
#[derive(Debug)]
pub struct SecretText {
    /// The whole content.
    pub(crate) text: Secret,
    /// True if users other than the owner can read the file.
    pub(crate) is_exposed: bool,
}

/// A reader for the credential files of other programs.
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

/// An open file with a secret. The metadata is that of the open file, so that it belongs to the
/// content that is read.
struct OpenSecretFile {
    file: File,
    metadata: Metadata,
}

impl SecretText {
    /// Creates the content of a file that only its owner can read.
    #[must_use]
    pub fn new(text: Secret) -> Self {
        Self { text, is_exposed: false }
    }

    /// Reads a file of at most 64 KiB. The file may be a pipe.
    ///
    /// # Errors
    /// The reason that the file cannot be read.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let file = OpenSecretFile::new(File::open(path)?)?;
        let is_exposed = file.is_exposed();
        Ok(Self { text: Secret::from(file.read()?.as_str()), is_exposed })
    }

    /// Reads a regular file of at most `max` bytes.
    ///
    /// # Errors
    /// The reason that the file cannot be read.
    pub(crate) fn read_regular(path: &Path, max: usize) -> io::Result<Self> {
        // The open is non-blocking, because opening a pipe without a writer would block.
        Self::read_open(OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?, max)
    }

    /// Reads a regular file of at most `max` bytes inside of a directory, by its path relative to it.
    ///
    /// # Errors
    /// The reason that the file cannot be read; [`ErrorKind::CrossesDevices`] if it is outside.
    pub(crate) fn read_beneath(directory: &Path, path: &Path, max: usize) -> io::Result<Self> {
        Self::read_open(open_beneath(directory, path)?, max)
    }

    fn read_open(file: File, max: usize) -> io::Result<Self> {
        let file = OpenSecretFile::new(file)?;
        if !file.metadata.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
        }
        let is_exposed = file.is_exposed();
        Ok(Self { text: Secret::from(file.read_at_most(max)?.as_str()), is_exposed })
    }
}

impl SecretFileReader {
    pub(super) fn new(strict: bool) -> Self {
        Self { strict, warned: AtomicBool::new(false) }
    }

    /// Returns the content of a file whose permissions are acceptable.
    pub(super) fn read(&self, path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
        let name = || path.display().to_string();
        let file = OpenSecretFile::open_regular(path)?;
        if file.is_exposed() {
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
        file.read().map_err(|error| SecretFileError::new(path, error))
    }

    /// Returns the content of a file without a check of its permissions.
    pub(super) fn read_unchecked(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
        OpenSecretFile::open_regular(path)?.read().map_err(|error| SecretFileError::new(path, error))
    }
}

impl OpenSecretFile {
    fn new(file: File) -> io::Result<Self> {
        Ok(Self { metadata: file.metadata()?, file })
    }

    /// Opens a regular file.
    fn open_regular(path: &Path) -> Result<Self, SecretFileError> {
        // The open is non-blocking, because opening a pipe without a writer would block.
        let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path);
        let file = file.and_then(Self::new).map_err(|error| SecretFileError::new(path, error))?;
        if file.metadata.is_file() {
            Ok(file)
        } else {
            Err(SecretFileError::NotRegular(path.display().to_string()))
        }
    }

    /// Returns whether users other than the owner can read the file.
    fn is_exposed(&self) -> bool {
        self.metadata.permissions().mode() & READABLE_BY_OTHERS != 0
    }

    fn read(self) -> io::Result<Zeroizing<String>> {
        self.read_at_most(LONGEST)
    }

    fn read_at_most(self, max: usize) -> io::Result<Zeroizing<String>> {
        // The buffer is never reallocated, so no copy of the secret remains in freed memory. A
        // larger one has the size of the file.
        let size = usize::try_from(self.metadata.len()).unwrap_or(usize::MAX);
        let mut bytes = Zeroizing::new(Vec::with_capacity(max.min(size.max(LONGEST)) + 1));
        self.file.take(max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > max {
            let message = format!("larger than {} KiB", max >> 10);
            return Err(io::Error::new(ErrorKind::FileTooLarge, message));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| io::Error::new(ErrorKind::InvalidData, "not valid UTF-8"))?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

impl SecretFileError {
    fn new(path: &Path, error: io::Error) -> Self {
        let name = path.display().to_string();
        if error.kind() == ErrorKind::FileTooLarge { Self::TooLarge(name) } else { Self::Failed(name, error) }
    }

    /// Returns whether the file does not exist.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Failed(_, error) if error.kind() == ErrorKind::NotFound)
    }
}

/// Returns the current state of a file.
pub(super) fn state(path: &Path) -> FileFingerprint {
    let found = fs::metadata(path).ok()?;
    let [device, inode, size] = [found.dev(), found.ino(), found.size()].map(u64::cast_signed);
    Some([device, inode, size, found.mtime(), found.mtime_nsec()])
}

const O_NONBLOCK: i32 = OFlags::NONBLOCK.bits().cast_signed();
/// The maximum size of a file with a secret, in bytes. Tokens are a few KiB at most.
const LONGEST: usize = 64 * 1024;
/// The permission bits that let group and others read.
const READABLE_BY_OTHERS: u32 = 0o044;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt as _;

    use super::{LONGEST, SecretFileError, SecretFileReader, SecretText};

    #[test]
    fn every_reader_rejects_a_file_that_is_too_large_even_within_a_character() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        let reader = SecretFileReader::new(false);
        fs::write(&path, "x".repeat(LONGEST)).expect("a file");
        assert_eq!(SecretText::read(&path).expect("a secret").text.expose().len(), LONGEST);
        assert_eq!(reader.read(&path).expect("a secret").len(), LONGEST);
        assert_eq!(SecretFileReader::read_unchecked(&path).expect("a secret").len(), LONGEST);
        for excess in ["x", "ü"] {
            fs::write(&path, "x".repeat(LONGEST) + excess).expect("a file");
            assert_eq!(SecretText::read(&path).expect_err(excess).kind(), ErrorKind::FileTooLarge);
            assert!(matches!(reader.read(&path), Err(SecretFileError::TooLarge(_))), "{excess}");
            let unchecked = SecretFileReader::read_unchecked(&path);
            assert!(matches!(unchecked, Err(SecretFileError::TooLarge(_))), "{excess}");
        }
    }

    #[test]
    fn only_the_strict_reader_rejects_a_file_that_others_can_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        fs::write(&path, "x").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("its owner");
        let strict = SecretFileReader::new(true).read(&path);
        assert!(matches!(strict, Err(SecretFileError::Exposed(_))), "{strict:?}");
        assert_eq!(SecretFileReader::read_unchecked(&path).expect("a secret").as_str(), "x");
        assert!(SecretText::read(&path).expect("a secret").is_exposed);
    }
}
