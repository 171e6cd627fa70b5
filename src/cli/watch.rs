//! The files of the configuration in force, and when what they hold now is a reason to read it again. Who writes a file may
//! empty it first and fill it later: what the watch finds counts when it finds the same twice, and a file that has become empty
//! is left to whoever asks for it to be read.

use std::path::{Path, PathBuf};

use tracing::warn;

use crate::config::{Config, Digest};

/// What files held.
type Held = Vec<(PathBuf, Digest)>;

/// The files that a configuration was made from, each as it was before it was read, or when it was.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Its own.
    own: Option<(PathBuf, Digest)>,
    /// Those that it names. Those of credentials are looked after by their sources.
    named: Held,
}

/// Looks at the files of the configuration in force.
#[derive(Debug)]
pub(super) struct Watch {
    in_force: Files,
    /// What each file that is looked at held when the configuration was read last, whether it was taken or not.
    read: Held,
    /// What the last look has found.
    found: Held,
    /// The file that has become empty, which has been told.
    emptied: Option<PathBuf>,
}

impl Files {
    /// Those of this configuration: what was read for it already, and what is to be read after this.
    pub(super) fn of(config: &Config) -> Self {
        let tls = config.listen.iter().filter_map(|listen| listen.tls.as_ref());
        let tls = tls.flat_map(|tls| [Some(&tls.cert_file), tls.client_ca_file.as_ref()]);
        let roots = config.upstreams.iter().map(|upstream| upstream.ca_file.as_ref());
        let unread = tls.chain(roots).flatten().map(|path| (path.clone(), Digest::now(path)));
        let mut named = Held::new();
        for (path, digest) in config.files.iter().cloned().chain(unread) {
            // One that is named twice is one file, as it was at first.
            if of(&named, &path).is_none() {
                named.push((path, digest));
            }
        }
        Self { own: config.file.clone(), named }
    }

    /// All of them.
    fn held(&self) -> Held {
        self.own.iter().chain(&self.named).cloned().collect()
    }

    /// Those that both name, and that hold something else now: a line each. What has changed in its own file is told otherwise.
    fn rewritten(&self, before: &Self) -> Vec<String> {
        let is_other =
            |(path, digest): &&(PathBuf, Digest)| of(&before.named, path).is_some_and(|was| was != *digest);
        let line = |(path, _): &(PathBuf, Digest)| format!("{} holds something else", path.display());
        self.named.iter().filter(is_other).map(line).collect()
    }
}

impl Watch {
    pub(super) fn new(in_force: Files) -> Self {
        let read = in_force.held();
        Self { in_force, found: read.clone(), read, emptied: None }
    }

    /// Whether there is a reason to read the configuration again.
    pub(super) fn look(&mut self) -> bool {
        let found: Held = self.read.iter().map(|(path, _)| (path.clone(), Digest::now(path))).collect();
        let is_steady = found == self.found;
        self.found = found;
        if !is_steady || self.found == self.read {
            return false;
        }
        let emptied = self.emptied().map(Path::to_owned);
        if let Some(path) = emptied.as_ref().filter(|_| emptied != self.emptied) {
            warn!(
                file = %path.display(),
                "a file of the configuration is empty now, as if it was being written, and is not taken; if it is meant to be empty, send HUP"
            );
        }
        self.emptied = emptied;
        self.emptied.is_none()
    }

    /// The first file that has become empty since the configuration was read.
    fn emptied(&self) -> Option<&Path> {
        let has_become_empty = |(path, digest): &&(PathBuf, Digest)| {
            digest.is_blank() && of(&self.read, path).is_none_or(|was| !was.is_blank())
        };
        self.found.iter().find(has_become_empty).map(|(path, _)| path.as_path())
    }

    /// The configuration is about to be read. If it is not taken, the same mistake is told only once; what changes while it is
    /// read is seen later.
    pub(super) fn reading(&mut self) {
        for (path, digest) in &mut self.read {
            *digest = Digest::now(path);
        }
        self.found.clone_from(&self.read);
    }

    /// Another configuration was taken, which was made from these. Returns which of them hold something else than before.
    pub(super) fn taken(&mut self, files: Files) -> Vec<String> {
        let rewritten = files.rewritten(&self.in_force);
        *self = Self::new(files);
        rewritten
    }
}

fn of(held: &[(PathBuf, Digest)], path: &Path) -> Option<Digest> {
    held.iter().find(|(known, _)| known == path).map(|(_, digest)| *digest)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Files, Watch};
    use crate::config::Digest;

    #[test]
    fn a_change_counts_when_two_looks_find_the_same_and_an_empty_file_never() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("proxy.toml");
        let write = |text: &str| fs::write(&path, text).expect("written");
        write("whole");
        let own = Some((path.clone(), Digest::now(&path)));
        let mut watch = Watch::new(Files { own, ..Files::default() });
        let mut look = |text: &str| {
            write(text);
            watch.look()
        };
        assert!(!look("whole"));
        assert!(!look("ha") && !look("half") && !look("half of"), "it is being written");
        assert!(look("half of"), "it stays so");
        for empty in ["", "", " \n\t\n", " \n\t\n", ""] {
            assert!(!look(empty), "{empty:?}");
        }
        assert!(!look("another") && look("another"));
        assert!(!look("whole") && !look("whole"), "what it was made from");
        watch.reading();
        write("");
        assert!(!watch.look() && !watch.look());
        // As HUP has it.
        watch.reading();
        assert!(!watch.look(), "it was read so");
        write("again");
        assert!(!watch.look() && watch.look());
    }
}
