//! The directory to which the file references of a team are confined.

use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use crate::credentials::{SecretText, SourceEnv};

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

    /// Reads a regular file of at most `max` bytes. The links of a mounted `ConfigMap` are inside.
    ///
    /// # Errors
    /// If the path leads out of the directory, or the file cannot be read.
    pub(super) fn read(&self, path: &Path, max: usize, env: &dyn SourceEnv) -> io::Result<SecretText> {
        if let Some(inside) = self.written_inside(path) {
            let read = env.read_beneath(&self.resolved, inside, max);
            let leads_out = read.as_ref().is_err_and(|error| error.kind() == ErrorKind::CrossesDevices);
            if !leads_out {
                return read;
            }
        }
        // The path has another form, or a link with an absolute path, which may lead inside.
        let resolved = env.resolve_path(path)?;
        let Ok(inside) = resolved.strip_prefix(&self.resolved) else { return Err(self.outside()) };
        let read = env.read_beneath(&self.resolved, inside, max);
        read.map_err(|error| if error.kind() == ErrorKind::CrossesDevices { self.outside() } else { error })
    }

    /// Returns the rest of a path that begins with the directory as configured.
    fn written_inside<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        let inside = path.strip_prefix(&self.written).ok()?;
        inside.components().all(|part| matches!(part, Component::Normal(_))).then_some(inside)
    }

    fn outside(&self) -> io::Error {
        io::Error::other(format!("it is outside of {}", self.written.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    use super::ConfinedDirectory;
    use crate::app::SystemEnv;
    use crate::credentials::SourceEnv;
    use crate::time::{Clock, Timestamp};

    /// An environment in which a team replaces its folder with a link to another, right after a path was
    /// resolved.
    struct SwappedFolder {
        own: PathBuf,
        other: PathBuf,
    }

    impl Clock for SwappedFolder {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_s(0)
        }
    }

    impl SourceEnv for SwappedFolder {
        fn variable(&self, _name: &str) -> Option<String> {
            None
        }

        fn resolve_path(&self, path: &Path) -> io::Result<PathBuf> {
            let resolved = fs::canonicalize(path)?;
            fs::rename(&self.own, self.own.with_extension("old"))?;
            symlink(&self.other, &self.own)?;
            Ok(resolved)
        }
    }

    #[test]
    fn a_folder_that_is_replaced_after_the_check_is_not_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().join("d");
        fs::create_dir_all(directory.join("real")).expect("folders");
        fs::create_dir(folder.path().join("outside")).expect("a folder");
        fs::write(directory.join("real/secret"), "own").expect("written");
        fs::write(folder.path().join("outside/secret"), "stolen").expect("written");
        let link = directory.join("link");
        symlink(directory.join("real"), &link).expect("a link");
        let confined = ConfinedDirectory::new(&directory, &SystemEnv).expect("a directory");
        let path = link.join("secret");
        let read = |env: &dyn SourceEnv| confined.read(&path, 1024, env);
        // An absolute link inside is followed.
        assert_eq!(read(&SystemEnv).expect("a secret").text.expose(), "own");
        let swapped = SwappedFolder { own: directory.join("real"), other: folder.path().join("outside") };
        let error = read(&swapped).expect_err("it is outside");
        assert!(error.to_string().contains("it is outside of"), "{error}");
        let error = read(&SystemEnv).expect_err("it is still outside");
        assert!(error.to_string().contains("it is outside of"), "{error}");
    }
}
