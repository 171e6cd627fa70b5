//! What a configuration refers to outside its own text: variables, files of secrets, certificates.

use std::cell::RefCell;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::credentials::SourceEnv;
use crate::secret::Secret;

/// The world outside as a configuration sees it.
pub trait ConfigEnv {
    /// A variable of the environment; an empty one counts as not set.
    fn variable(&self, name: &str) -> Option<Secret>;

    /// Whether a variable has a value that is not UTF-8, which [`Self::variable`] cannot return.
    fn is_not_text(&self, _name: &str) -> bool {
        false
    }

    /// What a file of one secret holds, without the line break at its end.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn secret(&self, path: &Path) -> io::Result<SecretFile>;

    /// Whether a file can be read.
    ///
    /// # Errors
    /// Why not.
    fn probe(&self, path: &Path) -> io::Result<()>;
}

/// A file that holds one secret.
#[derive(Debug)]
pub struct SecretFile {
    /// The secret.
    pub secret: Secret,
    /// Whether users other than its owner can read it.
    pub exposed: bool,
    /// Of all that it holds.
    pub digest: ContentDigest,
}

/// What tells the content of a file from another; of one that cannot be read, that it cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentDigest {
    hash: u64,
    is_blank: bool,
}

impl ContentDigest {
    /// Of this content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self::either(Ok(content))
    }

    /// Of what the file holds now, as far as it is looked at. `None` if it is none that can be read twice: a pipe gives what it has
    /// once, and whoever reads it again may wait for ever.
    #[must_use]
    pub fn now(path: &Path) -> Option<Self> {
        if fs::metadata(path).is_ok_and(|known| !known.is_file()) {
            return None;
        }
        // It may be a secret.
        let mut content = Zeroizing::new(Vec::new());
        let read = File::open(path).and_then(|file| file.take(LOOK_MAX).read_to_end(&mut content));
        Some(Self::either(read.map(|_| content.as_slice()).map_err(|error| error.kind())))
    }

    /// Whether there is nothing in the file, or nothing to be seen.
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

/// The real world: the environment as the edge shows it, and files, relative to the working directory.
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
        // Of the open file, so that it is the one that is read.
        let mode = file.metadata()?.permissions().mode();
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        file.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > LONGEST {
            return Err(io::Error::new(ErrorKind::FileTooLarge, "it is over 64 KiB"));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not text"))?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        Ok(SecretFile {
            secret: Secret::from(line.strip_suffix('\r').unwrap_or(line)),
            exposed: mode & READABLE_BY_OTHERS != 0,
            digest: ContentDigest::of(&bytes),
        })
    }

    fn probe(&self, path: &Path) -> io::Result<()> {
        // Opening is not enough: a directory opens, and cannot be read.
        File::open(path)?.read(&mut [0]).map(drop)
    }
}

/// The world outside, and the files that were looked for there.
pub(super) struct TrackedEnv<'a> {
    outside: &'a dyn ConfigEnv,
    files: RefCell<Vec<PathBuf>>,
}

impl<'a> TrackedEnv<'a> {
    pub(super) fn new(outside: &'a dyn ConfigEnv) -> Self {
        Self { outside, files: RefCell::default() }
    }

    /// The files, whether they are there or not.
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

/// The authorities of the world are less than 1 MiB.
const LOOK_MAX: u64 = 16 << 20;
/// Tokens are a few KiB at most.
const LONGEST: usize = 64 * 1024;

/// Of group and others.
const READABLE_BY_OTHERS: u32 = 0o044;
