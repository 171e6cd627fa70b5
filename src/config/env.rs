//! The files that a configuration refers to: a record of their paths, and digests of their contents.
//!
//! Four types detect changes, because what they compare differs:
//! - [`ContentDigest`] compares the content of the files of the configuration. A file that is
//!   rewritten with the same content does not cause a reload.
//! - `FileFingerprint` of the credentials compares the metadata of a credential file. It is taken
//!   every second, and never reads a secret.
//! - `StateFingerprint` of the credentials compares state other than files. A provider of an
//!   embedding program returns it, so it is public and says nothing about the state.
//! - `ValueFingerprint` of the effective settings compares a value that may be a secret. It stays
//!   in memory with the redacted value, and is therefore keyed.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::credentials::{SecretText, SourceEnv, list_names};
use crate::time::{Clock, Timestamp};

/// A digest that distinguishes contents of a file. A file that cannot be read has a digest by its
/// error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentDigest {
    hash: u64,
    is_blank: bool,
}

impl ContentDigest {
    /// Returns the digest of `content`.
    #[must_use]
    pub(crate) fn new(content: &[u8]) -> Self {
        Self::either(Ok(content))
    }

    /// Returns the digest of the current content of a file, of which at most 16 MiB are read, or of
    /// the names of the callers files in a directory. Returns `None` if it is neither a regular file
    /// nor a directory: a pipe can be read only once, and a second read may block forever.
    #[must_use]
    pub(crate) fn now(path: &Path) -> Option<Self> {
        match fs::metadata(path) {
            Ok(known) if known.is_dir() => return Some(Self::of_names(list_names(path))),
            Ok(known) if !known.is_file() => return None,
            Ok(_) | Err(_) => {}
        }
        // The content may be a secret.
        let mut content = Zeroizing::new(Vec::new());
        let read = File::open(path).and_then(|file| file.take(HASHED_FILE_MAX).read_to_end(&mut content));
        Some(Self::either(read.map(|_| content.as_slice()).map_err(|error| error.kind())))
    }

    /// Returns the digest of a directory with these entries: of the names of its callers files.
    #[must_use]
    pub(super) fn of_names(names: io::Result<Vec<String>>) -> Self {
        let joined = names.map(|names| callers_file_names(names).join("/"));
        let Self { hash, .. } = Self::either(joined.as_deref().map(str::as_bytes).map_err(io::Error::kind));
        // A directory without callers files is not a file that is about to be written.
        Self { hash, is_blank: false }
    }

    /// Returns the digest of a file that could not be read. It equals that of later checks while the
    /// file is the same.
    #[must_use]
    fn of_unread(path: &Path, error: &io::Error) -> Self {
        let kind = error.kind();
        // The file may have appeared in the meantime, which is a change.
        let is_absent = matches!(kind, ErrorKind::NotFound | ErrorKind::PermissionDenied);
        let now = if is_absent { None } else { Self::now(path) };
        now.unwrap_or_else(|| Self::either(Err(kind)))
    }

    /// Returns whether the file is empty or holds only whitespace.
    #[must_use]
    pub(crate) fn is_blank(self) -> bool {
        self.is_blank
    }

    fn either(content: Result<&[u8], ErrorKind>) -> Self {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let is_blank = content.is_ok_and(|content| content.trim_ascii().is_empty());
        Self { hash: hasher.finish(), is_blank }
    }
}

/// A file with the digest of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileDigest {
    /// The path of the file.
    pub path: PathBuf,
    /// The digest of its content.
    pub digest: ContentDigest,
}

impl FileDigest {
    /// Reads a file, as [`ContentDigest::now`] does.
    pub(crate) fn now(path: PathBuf) -> Option<Self> {
        ContentDigest::now(&path).map(|digest| Self { path, digest })
    }

    /// Returns the digest of a file that could not be read.
    pub(super) fn of_unread(path: &Path, error: &io::Error) -> Self {
        Self { path: path.to_owned(), digest: ContentDigest::of_unread(path, error) }
    }
}

/// Returns the names of the callers files among the entries of a directory, in order. A mounted
/// `ConfigMap` has further entries, whose names begin with `..`.
pub(super) fn callers_file_names(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| !name.starts_with('.') && name.ends_with(".toml"));
    names.sort_unstable();
    names
}

/// A [`SourceEnv`] that records the paths of the files that are requested from it.
pub(super) struct TrackedEnv<'a> {
    env: &'a dyn SourceEnv,
    files: Mutex<Vec<PathBuf>>,
}

impl<'a> TrackedEnv<'a> {
    pub(super) fn new(env: &'a dyn SourceEnv) -> Self {
        Self { env, files: Mutex::default() }
    }

    /// Returns the paths of the files, including missing ones.
    pub(super) fn into_files(self) -> Vec<PathBuf> {
        self.files.into_inner()
    }
}

impl Clock for TrackedEnv<'_> {
    fn now(&self) -> Timestamp {
        self.env.now()
    }
}

impl SourceEnv for TrackedEnv<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.env.variable(name)
    }

    fn variable_names(&self) -> Vec<String> {
        self.env.variable_names()
    }

    fn is_not_text(&self, name: &str) -> bool {
        self.env.is_not_text(name)
    }

    fn read_secret(&self, path: &Path) -> io::Result<SecretText> {
        self.files.lock().push(path.to_owned());
        self.env.read_secret(path)
    }

    fn user_id(&self, name: &str) -> io::Result<Option<u32>> {
        self.env.user_id(name)
    }

    fn check_readable(&self, path: &Path) -> io::Result<()> {
        self.files.lock().push(path.to_owned());
        self.env.check_readable(path)
    }

    fn read_regular(&self, path: &Path, max: usize) -> io::Result<SecretText> {
        self.files.lock().push(path.to_owned());
        self.env.read_regular(path, max)
    }

    fn read_beneath(&self, directory: &Path, path: &Path, max: usize) -> io::Result<SecretText> {
        self.files.lock().push(directory.join(path));
        self.env.read_beneath(directory, path, max)
    }

    fn list_directory(&self, path: &Path) -> io::Result<Vec<String>> {
        self.env.list_directory(path)
    }

    fn resolve_path(&self, path: &Path) -> io::Result<PathBuf> {
        self.env.resolve_path(path)
    }
}

/// The maximum size of a digested content. A bundle of all public certificate authorities is less
/// than 1 MiB.
const HASHED_FILE_MAX: u64 = 16 << 20;
