//! The watched state of a provider, to detect changes. Files are checked outside the threads that
//! serve requests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::credentials::secret_file::{FileFingerprint, state};
use crate::credentials::{Provide, SourceEnv, StateFingerprint};
use crate::offload::{BlockingLane, BlockingTimeout, FILE_LIMIT};

/// The state of what a provider reads, at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct WatchedState {
    fingerprint: Option<StateFingerprint>,
    files: BTreeMap<PathBuf, FileFingerprint>,
}

impl WatchedState {
    /// Captures the current state. Returns `None` if there is nothing to watch.
    ///
    /// # Errors
    /// [`BlockingTimeout`] if the file system does not respond.
    pub(super) async fn capture(
        provider: &dyn Provide,
        env: &dyn SourceEnv,
        lane: &BlockingLane,
    ) -> Result<Option<Self>, BlockingTimeout> {
        let fingerprint = provider.fingerprint(env);
        let paths = provider.files(env);
        if paths.is_empty() {
            return Ok(fingerprint.map(|_| Self { fingerprint, files: BTreeMap::new() }));
        }
        let look = move || paths.into_iter().map(|path| (path.clone(), state(&path))).collect();
        let files = lane.run(FILE_LIMIT, look).await?;
        Ok(Some(Self { fingerprint, files }))
    }

    /// Returns whether `now` differs from this state. A file that is no longer watched is ignored.
    pub(super) fn differs_from(&self, now: &Self) -> bool {
        self.fingerprint != now.fingerprint
            || now.files.iter().any(|(path, state)| self.files.get(path) != Some(state))
    }
}
