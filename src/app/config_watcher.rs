//! Watches the files of the current configuration, and decides when to reload it. A writer may
//! truncate a file before filling it, so a change counts only after two identical checks. A file
//! that has become empty is ignored until a reload is requested. A rejected configuration is
//! retried, because the cause may disappear unnoticed.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::config::{ConfigErrors, ContentDigest, FileDigest, ProxyConfig};
use crate::offload::{BlockingLane, FILE_LIMIT};

/// The content of files, as digests by path.
type FileContents = Vec<FileDigest>;

/// The content of the watched files at one check.
#[derive(Clone, Debug)]
pub(crate) struct FileSnapshot(FileContents);

impl FileSnapshot {
    /// Returns the current content of the same files. Reads them, and may block.
    pub(crate) fn now(self) -> Self {
        Self(now(self.0))
    }
}

/// The files that a configuration was made from, each with its content before or during the read.
#[derive(Debug, Default)]
pub(crate) struct WatchedFiles {
    /// The configuration file itself.
    own: Option<FileDigest>,
    /// The files that the configuration names. Credential files are watched by their sources.
    named: FileContents,
    /// The files of callers and those that they refer to. They may belong to teams, which must not
    /// delay the changes of others.
    callers: FileContents,
}

/// The reason for the rejection of a new configuration.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct ReloadError {
    pub(crate) why: String,
    /// The content of the files that the configuration names, because the fault may be in one of
    /// them.
    files: FileContents,
}

/// The reason for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReloadReason {
    /// A reload was requested.
    Asked,
    /// The content of a file has changed.
    Changed,
    /// The configuration was rejected earlier, and is retried.
    Refused,
}

/// A watcher of the files of the current configuration.
#[derive(Debug)]
pub(crate) struct ConfigWatcher {
    in_force: WatchedFiles,
    /// The content of each watched file at the last read of the configuration, whether applied or
    /// rejected.
    read: FileContents,
    /// The content that the last check found.
    found: FileContents,
    /// The file that has become empty, and was reported.
    emptied: Option<PathBuf>,
    /// The number of checks in which only files of callers were changing.
    unsteady: u32,
    /// The rejection of the configuration at its last read, if it was rejected.
    refused: Option<RejectedConfig>,
    lane: BlockingLane,
}

#[derive(Debug)]
struct RejectedConfig {
    why: String,
    /// The backoff, and the time of the retry after it.
    pause: Duration,
    until: Instant,
}

impl From<String> for ReloadError {
    fn from(why: String) -> Self {
        Self { why, files: Vec::new() }
    }
}

impl From<ConfigErrors> for ReloadError {
    /// Reads the named files, and may block.
    fn from(errors: ConfigErrors) -> Self {
        let why = errors.to_string();
        let files = errors.into_files().into_iter();
        Self { why, files: files.filter_map(FileDigest::now).collect() }
    }
}

impl WatchedFiles {
    /// Returns the files of this configuration: those already read for it, and those to be read
    /// later. Reads the latter, and may block.
    pub(crate) fn from_config(config: &ProxyConfig) -> Self {
        let tls = config.listen.iter().filter_map(|listen| listen.tls.as_ref());
        let tls = tls.flat_map(|tls| {
            [Some(&tls.cert_file), tls.client_ca_file.as_ref(), tls.client_crl_file.as_ref()]
        });
        let roots = config.upstreams.iter().map(|upstream| upstream.ca_file.as_ref());
        // A file that is named twice counts once, with its first content. All routes share the
        // ca_file of [upstream], which is read once.
        let mut known: HashSet<&Path> = HashSet::new();
        let read = config.files.iter().filter(|file| known.insert(&file.path)).cloned();
        let mut named: FileContents = read.collect();
        let unread = tls.chain(roots).flatten().filter(|path| known.insert(path));
        named.extend(unread.cloned().filter_map(FileDigest::now));
        let callers = config.caller_files.iter().filter(|file| known.insert(&file.path)).cloned().collect();
        Self { own: config.file.clone(), named, callers }
    }

    /// Returns the error that rejects the configuration of these files.
    pub(crate) fn refused(&self, why: &dyn fmt::Display) -> ReloadError {
        ReloadError { why: why.to_string(), files: self.contents() }
    }

    /// Returns all files.
    fn contents(&self) -> FileContents {
        self.own.iter().chain(&self.named).chain(&self.callers).cloned().collect()
    }

    /// Returns one line for each file that both name and whose content differs. Changes in the
    /// configuration file itself are reported elsewhere.
    fn rewritten(&self, before: &Self) -> Vec<String> {
        let before: FileContents = before.named.iter().chain(&before.callers).cloned().collect();
        let before = by_path(&before);
        let is_other = |file: &&FileDigest| before.get(&*file.path).is_some_and(|was| *was != file.digest);
        let line = |file: &FileDigest| format!("{} changed", file.path.display());
        self.named.iter().chain(&self.callers).filter(is_other).map(line).collect()
    }
}

impl ConfigWatcher {
    pub(crate) fn new(in_force: WatchedFiles) -> Self {
        let read = in_force.contents();
        let lane = BlockingLane::default();
        Self { in_force, found: read.clone(), read, emptied: None, unsteady: 0, refused: None, lane }
    }

    /// Returns the content of the watched files at the last read of the configuration.
    pub(crate) fn known(&self) -> FileSnapshot {
        FileSnapshot(self.read.clone())
    }

    /// Returns the current content of the files, or `None` if the disk does not respond.
    pub(crate) fn find(&self) -> impl Future<Output = Option<FileSnapshot>> + use<> {
        let lane = self.lane.clone();
        let known = self.known();
        async move { lane.run(FILE_LIMIT, || known.now()).await.ok() }
    }

    /// Returns the reason for a reload after this check, if there is one.
    pub(crate) fn reload_reason(
        &mut self,
        FileSnapshot(found): FileSnapshot,
        now: Instant,
    ) -> Option<ReloadReason> {
        let is_steady = self.is_steady(&found);
        self.found = found;
        // guard: steady-file
        if !is_steady {
            return None;
        }
        let emptied = self.emptied().map(Path::to_owned);
        if let Some(path) = emptied.as_ref().filter(|_| emptied != self.emptied) {
            warn!(
                file = %path.display(),
                "configuration file is empty; ignoring it until it has content (send SIGHUP to force a reload)"
            );
        }
        self.emptied = emptied;
        // guard: emptied-file
        if self.emptied.is_some() {
            None
        } else if self.found != self.read {
            info!("a watched file changed; reloading the configuration");
            Some(ReloadReason::Changed)
        } else if self.refused.as_ref().is_some_and(|refused| refused.until <= now) {
            debug!("retrying the rejected configuration");
            // guard: rejected-is-retried
            Some(ReloadReason::Refused)
        } else {
            None
        }
    }

    /// Returns whether no file has changed since the last check. Files of callers that change all the
    /// time are waited for only a few times.
    fn is_steady(&mut self, found: &[FileDigest]) -> bool {
        if self.found == found {
            self.unsteady = 0;
            return true;
        }
        let callers = self.callers();
        let before = by_path(&self.found);
        let is_steady = |file: &FileDigest| before.get(&*file.path) == Some(&file.digest);
        let are_others_steady = found.iter().filter(|file| !callers.contains(&*file.path)).all(is_steady);
        self.unsteady = if are_others_steady { self.unsteady + 1 } else { 0 };
        self.unsteady > UNSTEADY_MAX
    }

    /// Returns the paths of the files of callers.
    fn callers(&self) -> HashSet<&Path> {
        self.in_force.callers.iter().map(|file| file.path.as_path()).collect()
    }

    /// Returns the first file that has become empty since the configuration was read.
    fn emptied(&self) -> Option<&Path> {
        let mut blank = self.found.iter().filter(|file| file.digest.is_blank()).peekable();
        blank.peek()?;
        let read = by_path(&self.read);
        let callers = self.callers();
        // An empty file of callers is reported when it is read, and its callers are kept.
        let mut blank = blank.filter(|file| !callers.contains(&*file.path));
        let has_become_empty = |file: &&FileDigest| read.get(&*file.path).is_none_or(|was| !was.is_blank());
        blank.find(has_become_empty).map(|file| file.path.as_path())
    }

    /// Records the content found before a read of the configuration. If the configuration is
    /// rejected, the same error is reported only once. Changes during the read are noticed later.
    pub(crate) fn reading(&mut self, FileSnapshot(found): FileSnapshot) {
        self.found.clone_from(&found);
        self.read = found;
    }

    /// Records a rejection, after a read for this reason. The files that may be at fault are then
    /// watched as well, and the configuration is retried after a backoff. Returns whether the error
    /// is new.
    pub(crate) fn refused(&mut self, reason: ReloadReason, refused: &ReloadError, now: Instant) -> bool {
        let known = self.refused.take().filter(|_| reason == ReloadReason::Refused);
        let is_news = known.as_ref().is_none_or(|known| known.why != refused.why);
        let pause = known.map_or(PAUSE_MIN, |known| (known.pause * 2).min(PAUSE_MAX));
        self.refused = Some(RejectedConfig { why: refused.why.clone(), pause, until: now + pause });
        let before = std::mem::take(&mut self.read);
        let before = by_path(&before);
        let in_force = self.in_force.contents();
        let mut known: HashSet<&Path> = HashSet::new();
        for file in in_force.iter().chain(&refused.files).filter(|file| known.insert(&file.path)) {
            let digest = before.get(&*file.path).copied().unwrap_or(file.digest);
            self.read.push(FileDigest { path: file.path.clone(), digest });
        }
        self.found.clone_from(&self.read);
        is_news
    }

    /// Records that a configuration made from these files was applied. Returns those whose content
    /// has changed.
    pub(crate) fn taken(&mut self, files: WatchedFiles) -> Vec<String> {
        let rewritten = files.rewritten(&self.in_force);
        *self = Self::new(files);
        rewritten
    }
}

/// Returns the current content of these files. A file that cannot be read twice counts as
/// unchanged.
fn now(files: FileContents) -> FileContents {
    let read = |file: FileDigest| FileDigest {
        digest: ContentDigest::now(&file.path).unwrap_or(file.digest),
        ..file
    };
    files.into_iter().map(read).collect()
}

/// Returns the content of files by path. Of two with the same path, the first counts.
fn by_path(files: &[FileDigest]) -> HashMap<&Path, ContentDigest> {
    files.iter().rev().map(|file| (file.path.as_path(), file.digest)).collect()
}

/// The number of checks that wait for files of callers that are changing.
const UNSTEADY_MAX: u32 = 5;
/// The backoff after the first rejection. It doubles up to `PAUSE_MAX`.
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{ConfigWatcher, ReloadError, ReloadReason, WatchedFiles};
    use crate::config::{ConfigFile, ContentDigest, FileDigest, ProxyConfig};

    fn look_at(watch: &mut ConfigWatcher, at: Instant) -> Option<ReloadReason> {
        let found = watch.known().now();
        watch.reload_reason(found, at)
    }

    #[test]
    fn a_change_counts_when_two_looks_find_the_same_and_an_empty_file_never() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("proxy.toml");
        let write = |text: &str| fs::write(&path, text).expect("written");
        write("whole");
        let own = Some(FileDigest::now(path.clone()).expect("a file"));
        let mut watch = ConfigWatcher::new(WatchedFiles { own, ..WatchedFiles::default() });
        let check = |watch: &mut ConfigWatcher, text: &str| {
            write(text);
            look_at(watch, Instant::now()) == Some(ReloadReason::Changed)
        };
        assert!(!check(&mut watch, "whole"));
        for text in ["ha", "half", "half of"] {
            assert!(!check(&mut watch, text), "it is being written");
        }
        assert!(check(&mut watch, "half of"), "it stays so");
        for empty in ["", "", " \n\t\n", " \n\t\n", ""] {
            assert!(!check(&mut watch, empty), "{empty:?}");
        }
        assert!(!check(&mut watch, "another") && check(&mut watch, "another"));
        assert!(!check(&mut watch, "whole") && !check(&mut watch, "whole"), "what it was made from");
        // The sequence of a reload by HUP.
        write("");
        watch.reading(watch.known().now());
        assert!(!check(&mut watch, "") && !check(&mut watch, ""), "it was read so");
        assert!(!check(&mut watch, "again") && check(&mut watch, "again"));
    }

    #[test]
    fn what_was_refused_is_tried_again_with_growing_pauses_and_told_once() {
        let mut watch = ConfigWatcher::new(WatchedFiles::default());
        let refused = ReloadError::from("no".to_owned());
        let mut now = Instant::now();
        assert_eq!(look_at(&mut watch, now), None);
        assert!(watch.refused(ReloadReason::Changed, &refused, now));
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(look_at(&mut watch, now + Duration::from_secs(pause - 1)), None);
            now += Duration::from_secs(pause);
            assert_eq!(look_at(&mut watch, now), Some(ReloadReason::Refused), "{pause}");
            assert!(!watch.refused(ReloadReason::Refused, &refused, now), "known");
        }
        assert!(watch.refused(ReloadReason::Refused, &ReloadError::from("another".to_owned()), now));
        assert!(watch.refused(ReloadReason::Asked, &refused, now), "whoever asks is told");
        now += Duration::from_secs(2);
        assert_eq!(look_at(&mut watch, now), Some(ReloadReason::Refused));
        watch.taken(WatchedFiles::default());
        assert_eq!(look_at(&mut watch, now + Duration::from_secs(3_600)), None);
    }

    #[test]
    fn the_files_that_a_refused_configuration_names_are_looked_at_until_another_is_taken() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.pem");
        let mut watch = ConfigWatcher::new(WatchedFiles::default());
        let files = vec![FileDigest::now(path.clone()).expect("a state")];
        let now = Instant::now();
        watch.refused(ReloadReason::Changed, &ReloadError { why: "it is missing".to_owned(), files }, now);
        assert_eq!(look_at(&mut watch, now), None);
        fs::write(&path, "it appears").expect("written");
        assert_eq!((look_at(&mut watch, now), look_at(&mut watch, now)), (None, Some(ReloadReason::Changed)));
        watch.taken(WatchedFiles::default());
        fs::write(&path, "it changes").expect("written");
        assert_eq!((look_at(&mut watch, now), look_at(&mut watch, now)), (None, None));
    }

    #[test]
    fn a_file_that_thousands_of_routes_name_is_read_once_and_thousands_of_files_are_compared_in_a_moment() {
        let directory = tempfile::tempdir().expect("a directory");
        let authorities = directory.path().join("ca.pem");
        // As large as the trust store of a host.
        fs::write(&authorities, "x".repeat(256 << 10)).expect("written");
        let mut text = format!(
            "[upstream]\nregion = \"cn-hangzhou\"\nca_file = {authorities:?}\n[credentials.default]\ntype = \"env\"\n"
        );
        for route in 0..2_000 {
            let _ = write!(text, "[[route]]\nmatch.bucket = \"bucket-{route}\"\nregion = \"cn-beijing\"\n");
        }
        let config = ProxyConfig::load(
            Some(ConfigFile { path: Path::new("proxy.toml"), text: &text }),
            &[],
            &crate::app::SystemEnv,
        );
        let mut config = config.expect("a configuration");
        let secrets = (0..5_000).map(|number| FileDigest {
            path: directory.path().join(number.to_string()),
            digest: ContentDigest::new(b"x"),
        });
        config.files.extend(secrets);
        let begun = std::time::Instant::now();
        let files = WatchedFiles::from_config(&config);
        assert_eq!(files.named.len(), 5_001);
        let refused = files.refused(&"no");
        assert_eq!(refused.files.len(), 5_002);
        let mut watch = ConfigWatcher::new(files);
        watch.refused(ReloadReason::Changed, &refused, Instant::now());
        assert!(watch.taken(WatchedFiles::from_config(&config)).is_empty());
        // This takes more than 30 s if the file is read for each route, or if each file is found by a
        // linear search.
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn what_cannot_be_read_twice_is_not_looked_at() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        // The case of `--config <(command)`.
        let own = Some(FileDigest { path, digest: ContentDigest::new(b"what came through it") });
        let mut watch = ConfigWatcher::new(WatchedFiles { own, ..WatchedFiles::default() });
        for _ in 0..3 {
            let found =
                tokio::time::timeout(Duration::from_secs(5), watch.find()).await.expect("it does not wait");
            assert_eq!(watch.reload_reason(found.expect("a disk"), Instant::now()), None);
        }
    }
}
