//! What a configuration refers to outside its own text: variables, files of secrets, certificates.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::credentials::Edge;
use crate::secret::Secret;

/// The world outside as a configuration sees it.
pub trait Outside {
    /// A variable of the environment; an empty one counts as not set.
    fn variable(&self, name: &str) -> Option<Secret>;

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
}

/// The real world: the environment as the edge shows it, and files, relative to the working directory.
pub struct Machine<'a>(pub &'a dyn Edge);

impl Outside for Machine<'_> {
    fn variable(&self, name: &str) -> Option<Secret> {
        self.0.variable(name).map(Secret::new)
    }

    fn secret(&self, path: &Path) -> io::Result<SecretFile> {
        let file = File::open(path)?;
        // Of the open file, so that it is the one that is read.
        let mode = file.metadata()?.permissions().mode();
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        file.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > LONGEST {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is over 64 KiB"));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text"))?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        Ok(SecretFile {
            secret: Secret::from(line.strip_suffix('\r').unwrap_or(line)),
            exposed: mode & READABLE_BY_OTHERS != 0,
        })
    }

    fn probe(&self, path: &Path) -> io::Result<()> {
        // Opening is not enough: a directory opens, and cannot be read.
        File::open(path)?.read(&mut [0]).map(drop)
    }
}

/// Tokens are a few KiB at most.
const LONGEST: usize = 64 * 1024;

/// Of group and others.
const READABLE_BY_OTHERS: u32 = 0o044;
