//! The directory to which the file references of a team are confined.

use std::io;
use std::path::{Path, PathBuf};

use crate::credentials::SourceEnv;

/// A directory to which references are confined.
#[derive(Clone, Debug)]
pub(super) struct ConfinedDirectory {
    /// The path as configured.
    written: PathBuf,
    /// The path without symbolic links.
    resolved: PathBuf,
}

impl ConfinedDirectory {
    pub(super) fn new(path: &Path, env: &dyn SourceEnv) -> io::Result<Self> {
        Ok(Self { written: path.to_owned(), resolved: env.resolve_path(path)? })
    }

    /// Returns the path without symbolic links and `..`. The links of a mounted `ConfigMap` are
    /// inside.
    ///
    /// # Errors
    /// If the path leads out of the directory, or cannot be resolved.
    pub(super) fn resolve(&self, path: &Path, env: &dyn SourceEnv) -> io::Result<PathBuf> {
        let resolved = env.resolve_path(path)?;
        // guard: confined-reference
        if !resolved.starts_with(&self.resolved) {
            return Err(io::Error::other(format!("it is outside of {}", self.written.display())));
        }
        Ok(resolved)
    }
}
