//! The environment that the configuration and the providers read.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use nix::unistd::User;

use super::secret_file::SecretText;
use crate::time::Clock;

/// The environment that the configuration and the providers read, behind a trait so that tests can
/// replace it. Files are those of the host unless an implementation replaces them.
pub trait SourceEnv: Clock {
    /// Returns an environment variable; an empty one counts as not set.
    fn variable(&self, name: &str) -> Option<String>;

    /// Returns the names of all environment variables.
    fn variable_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns whether a variable has a value that is not UTF-8, which [`Self::variable`] cannot
    /// return.
    fn is_not_text(&self, _name: &str) -> bool {
        false
    }

    /// Returns whether a variable is set to `true`, in any case.
    fn is_true(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Reads a file with a secret that the configuration refers to.
    ///
    /// # Errors
    /// The reason that the file cannot be read.
    fn read_secret(&self, path: &Path) -> io::Result<SecretText> {
        SecretText::read(path)
    }

    /// Returns the id of a user of the system, or `None` if it has no such user.
    ///
    /// # Errors
    /// The reason that the user database cannot be read.
    fn user_id(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
    }

    /// Checks that a file that the configuration refers to can be read.
    ///
    /// # Errors
    /// The reason that the file cannot be read.
    fn check_readable(&self, path: &Path) -> io::Result<()> {
        // Opening is not sufficient: a directory can be opened but not read.
        File::open(path)?.read(&mut [0]).map(drop)
    }

    /// Reads a regular file of at most `max` bytes. Unlike [`Self::read_secret`], it never waits for
    /// a pipe, because the file may belong to a party that must not delay others.
    ///
    /// # Errors
    /// The reason that the file cannot be read.
    fn read_regular(&self, path: &Path, max: usize) -> io::Result<SecretText> {
        SecretText::read_regular(path, max)
    }

    /// Reads a regular file inside of a directory as [`Self::read_regular`] does, by its path relative
    /// to the directory. The check that it is inside and the open are one step.
    ///
    /// # Errors
    /// The reason that the file cannot be read. It is [`io::ErrorKind::CrossesDevices`] if the path
    /// leads out of the directory, also by a symbolic link.
    fn read_beneath(&self, directory: &Path, path: &Path, max: usize) -> io::Result<SecretText> {
        SecretText::read_beneath(directory, path, max)
    }

    /// Returns the names of the entries of a directory, in any order. Names that are not UTF-8 are
    /// left out.
    ///
    /// # Errors
    /// The reason that the directory cannot be read.
    fn list_directory(&self, path: &Path) -> io::Result<Vec<String>> {
        list_names(path)
    }

    /// Returns an existing path without symbolic links.
    ///
    /// # Errors
    /// The reason that the path cannot be resolved.
    fn resolve_path(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }
}

/// Returns the names of the entries of a directory of the host, as [`SourceEnv::list_directory`].
pub(crate) fn list_names(path: &Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name().into_string().ok());
    fs::read_dir(path)?.filter_map(|entry| name(entry).transpose()).collect()
}
