//! Access to the resources that a configuration refers to: variables, secret files, certificates.

use std::cell::RefCell;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::credentials::SourceEnv;
use crate::secret::Secret;

/// The environment of a configuration.
pub trait ConfigEnv {
    /// Returns an environment variable; an empty one counts as not set.
    fn variable(&self, name: &str) -> Option<Secret>;

    /// Returns whether a variable has a value that is not UTF-8, which [`Self::variable`] cannot
    /// return.
    fn is_not_text(&self, _name: &str) -> bool {
        false
    }

    /// Reads a file that holds one secret, and removes the line break at its end.
    ///
    /// # Errors
    /// The reason that the file cannot be read.
    fn secret(&self, path: &Path) -> io::Result<SecretFile>;

    /// Checks that a file can be read.
    ///
    /// # Errors
    /// The reason that the file cannot be read.
    fn probe(&self, path: &Path) -> io::Result<()>;
}

/// A file that holds one secret.
#[derive(Debug)]
pub struct SecretFile {
    /// The secret.
    pub secret: Secret,
    /// True if users other than its owner can read it.
    pub exposed: bool,
    /// The digest of the whole content.
    pub digest: ContentDigest,
}

/// A digest that distinguishes contents of a file. A file that cannot be read has a digest by its
/// error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentDigest {
    hash: u64,
    is_blank: bool,
}

impl ContentDigest {
    /// Returns the digest of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self::either(Ok(content))
    }

    /// Returns the digest of the current content of a file, of which at most 16 MiB are read.
    /// Returns `None` if it is not a regular file: a pipe can be read only once, and a second read
    /// may block forever.
    #[must_use]
    pub fn now(path: &Path) -> Option<Self> {
        if fs::metadata(path).is_ok_and(|known| !known.is_file()) {
            return None;
        }
        // The content may be a secret.
        let mut content = Zeroizing::new(Vec::new());
        let read = File::open(path).and_then(|file| file.take(LOOK_MAX).read_to_end(&mut content));
        Some(Self::either(read.map(|_| content.as_slice()).map_err(|error| error.kind())))
    }

    /// Returns whether the file is empty or holds only whitespace.
    #[must_use]
    pub fn is_blank(self) -> bool {
        self.is_blank
    }

    fn either(content: Result<&[u8], ErrorKind>) -> Self {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let is_blank = content.is_ok_and(|content| content.trim_ascii().is_empty());
        Self { hash: hasher.finish(), is_blank }
    }
}

/// The variables of a [`SourceEnv`] and the files of the system, relative to the working directory.
pub struct SystemFiles<'a>(pub &'a dyn SourceEnv);

impl ConfigEnv for SystemFiles<'_> {
    fn variable(&self, name: &str) -> Option<Secret> {
        self.0.variable(name).map(Secret::new)
    }

    fn is_not_text(&self, name: &str) -> bool {
        self.0.is_not_text(name)
    }

    fn secret(&self, path: &Path) -> io::Result<SecretFile> {
        let file = File::open(path)?;
        // The mode is that of the open file, so that it belongs to the content that is read.
        let mode = file.metadata()?.permissions().mode();
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        file.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > LONGEST {
            return Err(io::Error::new(ErrorKind::FileTooLarge, "larger than 64 KiB"));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| io::Error::new(ErrorKind::InvalidData, "not valid UTF-8"))?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        Ok(SecretFile {
            secret: Secret::from(line.strip_suffix('\r').unwrap_or(line)),
            exposed: mode & READABLE_BY_OTHERS != 0,
            digest: ContentDigest::of(&bytes),
        })
    }

    fn probe(&self, path: &Path) -> io::Result<()> {
        // Opening is not sufficient: a directory can be opened but not read.
        File::open(path)?.read(&mut [0]).map(drop)
    }
}

/// A [`ConfigEnv`] that records the paths of the files that are requested from it.
pub(super) struct TrackedEnv<'a> {
    outside: &'a dyn ConfigEnv,
    files: RefCell<Vec<PathBuf>>,
}

impl<'a> TrackedEnv<'a> {
    pub(super) fn new(outside: &'a dyn ConfigEnv) -> Self {
        Self { outside, files: RefCell::default() }
    }

    /// Returns the paths of the files, including missing ones.
    pub(super) fn into_files(self) -> Vec<PathBuf> {
        self.files.into_inner()
    }
}

impl ConfigEnv for TrackedEnv<'_> {
    fn variable(&self, name: &str) -> Option<Secret> {
        self.outside.variable(name)
    }

    fn is_not_text(&self, name: &str) -> bool {
        self.outside.is_not_text(name)
    }

    fn secret(&self, path: &Path) -> io::Result<SecretFile> {
        self.files.borrow_mut().push(path.to_owned());
        self.outside.secret(path)
    }

    fn probe(&self, path: &Path) -> io::Result<()> {
        self.files.borrow_mut().push(path.to_owned());
        self.outside.probe(path)
    }
}

/// The maximum size of a digested content. A bundle of all public certificate authorities is less
/// than 1 MiB.
const LOOK_MAX: u64 = 16 << 20;
/// The maximum size of a secret file. Tokens are a few KiB at most.
const LONGEST: usize = 64 * 1024;

/// The read permissions of group and others.
const READABLE_BY_OTHERS: u32 = 0o044;
