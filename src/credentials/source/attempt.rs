//! One attempt to refresh credentials. However its future ends, the source is left in a state in
//! which the next attempt works.

use tokio::time::Instant;

use super::{AttemptResult, AttemptState, CredentialSource, NextAttempt, WatchedState};
use crate::credentials::ProvideError;
use crate::time::Timestamp;

/// An attempt in progress. If it is dropped before its outcome is known, it counts as not made.
pub(super) struct RefreshAttempt<'a> {
    source: &'a CredentialSource,
    begun: Instant,
    has_outcome: bool,
}

impl<'a> RefreshAttempt<'a> {
    pub(super) fn begin(source: &'a CredentialSource) -> Self {
        let begun = Instant::now();
        source.asking.send_modify(|asking| asking.since = Some(begun));
        Self { source, begun, has_outcome: false }
    }

    /// Records the outcome.
    pub(super) fn end(
        mut self,
        given: &Result<AttemptResult, ProvideError>,
        asked: Option<WatchedState>,
        now: Timestamp,
    ) {
        self.has_outcome = true;
        let counts = &self.source.counts;
        let took = if given.is_ok() { &counts.given } else { &counts.failed };
        took.record(self.begun.elapsed());
        self.source.record_attempt(given, asked, now);
    }
}

impl Drop for RefreshAttempt<'_> {
    fn drop(&mut self) {
        if !self.has_outcome {
            let mut history = self.source.history();
            (history.next, history.forcing) = (NextAttempt::Due, false);
        }
        // Requests that wait for the attempt continue with the current credentials.
        let ended = u64::from(self.has_outcome);
        // guard: attempt-frees-source
        self.source
            .asking
            .send_modify(|asking| *asking = AttemptState { since: None, done: asking.done + ended });
    }
}
