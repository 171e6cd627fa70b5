//! Replaces a file as a whole: a reader sees either all of the old text or all of the new one.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::key_material::{ALPHABET, random_text};

/// A file that was read, and that is replaced as a whole.
pub(super) struct ReplacedFile {
    /// The path without symbolic links, which thus remain.
    path: PathBuf,
    /// The file, whose lock keeps other commands away; `None` if it does not exist yet.
    file: Option<File>,
    text: String,
}

/// A reason why a file is not replaced. It has not changed then.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplaceError {
    #[error("cannot be read: {0}; name a file that this user may read")]
    Unreadable(io::Error),
    #[error("is not a regular file; name a file")]
    NotRegular,
    #[error("is not UTF-8; correct the file first")]
    NotText,
    #[error("is being changed by another command; try again")]
    Locked,
    #[error("was changed by another program at the same time; try again")]
    Changed,
    #[error("cannot be written: {0}; name a file in a directory that this user may write to")]
    Unwritable(#[from] io::Error),
}

impl ReplacedFile {
    /// Opens a file that exists.
    pub(super) fn open(path: &Path) -> Result<Self, ReplaceError> {
        let path = fs::canonicalize(path).map_err(ReplaceError::Unreadable)?;
        // A pipe would block, so it is not opened.
        if !fs::metadata(&path).map_err(ReplaceError::Unreadable)?.is_file() {
            return Err(ReplaceError::NotRegular);
        }
        let mut file = File::open(&path).map_err(ReplaceError::Unreadable)?;
        // Some file systems have no locks. The comparison before the replacement still protects.
        if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Err(ReplaceError::Locked);
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(ReplaceError::Unreadable)?;
        let text = String::from_utf8(text).map_err(|_| ReplaceError::NotText)?;
        Ok(Self { path, file: Some(file), text })
    }

    /// Opens a file, which is empty if it does not exist.
    pub(super) fn open_or_create(path: &Path) -> Result<Self, ReplaceError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(Self { path: path.to_owned(), file: None, text: String::new() })
            }
            Ok(_) | Err(_) => Self::open(path),
        }
    }

    /// Returns the text of the file.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Replaces the file. Its owner and its mode are kept.
    pub(super) fn replace(self, text: &str) -> Result<(), ReplaceError> {
        let folder = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        let suffix = random_text(ALPHABET, TEMPORARY_SUFFIX_LENGTH)
            .ok_or_else(|| io::Error::from(ErrorKind::Other))?;
        let temporary = TemporaryFile(folder.join(format!(".oss-signing-proxy-{suffix}.tmp")));
        let mode = if self.file.is_some() { OWNER_ONLY } else { CREATED };
        let mut written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary.0)?;
        if let Some(file) = &self.file {
            let old = file.metadata()?;
            let new = written.metadata()?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                fchown(&written, Some(old.uid()), Some(old.gid()))?;
            }
            written.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
        }
        written.write_all(text.as_bytes())?;
        written.sync_all()?;
        self.check_unchanged()?;
        fs::rename(&temporary.0, &self.path)?;
        // The file has been replaced. A file system that cannot write its folder now does so later.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }

    /// Checks that the file has the text that was read.
    fn check_unchanged(&self) -> Result<(), ReplaceError> {
        match (fs::read(&self.path), &self.file) {
            (Ok(current), Some(_)) if current == self.text.as_bytes() => Ok(()),
            (Err(error), None) if error.kind() == ErrorKind::NotFound => Ok(()),
            (Err(error), Some(_)) if error.kind() != ErrorKind::NotFound => {
                Err(ReplaceError::Unreadable(error))
            }
            (Ok(_) | Err(_), _) => Err(ReplaceError::Changed),
        }
    }
}

/// Creates a file with a secret, which only its owner can read. It must not exist.
pub(super) fn create_secret(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    let written = file.write_all(secret.as_bytes()).and_then(|()| file.write_all(b"\n"));
    let result = written.and_then(|()| file.sync_all());
    if result.is_err() {
        let _ = fs::remove_file(path);
    }
    result
}

/// A file that is removed when dropped, unless it has been renamed.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

const TEMPORARY_SUFFIX_LENGTH: usize = 16;
/// The mode of a secret.
const OWNER_ONLY: u32 = 0o600;
/// The mode of a new file, from which the system subtracts the umask.
const CREATED: u32 = 0o666;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::{ReplaceError, ReplacedFile, create_secret};

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_through_links_and_without_a_trace() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("proxy.toml");
        let link = folder.path().join("link.toml");
        symlink("proxy.toml", &link).expect("a link");
        fs::write(&path, "old").expect("written");
        for mode in [0o600, 0o640, 0o664] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
            ReplacedFile::open(&link).expect("a file").replace("new").expect("replaced");
            assert_eq!(fs::read_to_string(&path).expect("text"), "new");
            assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o7777, mode);
            assert!(fs::symlink_metadata(&link).expect("metadata").is_symlink());
            assert_eq!(names(folder.path()), ["link.toml", "proxy.toml"]);
        }
    }

    #[test]
    fn a_change_by_another_program_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("proxy.toml");
        let created = ReplacedFile::open_or_create(&path).expect("no file");
        fs::write(&path, "first").expect("written");
        assert!(matches!(created.replace("ours"), Err(ReplaceError::Changed)));
        let opened = ReplacedFile::open(&path).expect("a file");
        assert!(matches!(ReplacedFile::open(&path), Err(ReplaceError::Locked)));
        fs::write(&path, "theirs").expect("written");
        assert!(matches!(opened.replace("ours"), Err(ReplaceError::Changed)));
        let opened = ReplacedFile::open(&path).expect("a file");
        fs::remove_file(&path).expect("removed");
        assert!(matches!(opened.replace("ours"), Err(ReplaceError::Changed)));
        assert_eq!(names(folder.path()), [""; 0]);
        ReplacedFile::open_or_create(&path).expect("no file").replace("ours").expect("created");
        assert_eq!(fs::read_to_string(&path).expect("text"), "ours");
    }

    #[test]
    fn only_regular_files_of_text_are_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("proxy.toml");
        assert!(matches!(ReplacedFile::open(&path), Err(ReplaceError::Unreadable(_))));
        assert!(matches!(ReplacedFile::open(folder.path()), Err(ReplaceError::NotRegular)));
        assert!(matches!(ReplacedFile::open(Path::new("/dev/null")), Err(ReplaceError::NotRegular)));
        let link = folder.path().join("link.toml");
        symlink("nothing.toml", &link).expect("a link");
        assert!(matches!(ReplacedFile::open_or_create(&link), Err(ReplaceError::Unreadable(_))));
        fs::write(&path, b"\xff").expect("written");
        assert!(matches!(ReplacedFile::open(&path), Err(ReplaceError::NotText)));
        let missing = folder.path().join("none/proxy.toml");
        let created = ReplacedFile::open_or_create(&missing).expect("no file");
        assert!(matches!(created.replace("ours"), Err(ReplaceError::Unwritable(_))));
    }

    #[test]
    fn a_secret_file_is_only_for_its_owner_and_overwrites_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        create_secret(&path, "s3cret").expect("created");
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_to_string(&path).expect("text"), "s3cret\n");
        assert!(create_secret(&path, "other").is_err());
        assert_eq!(fs::read_to_string(&path).expect("text"), "s3cret\n");
    }
}
