//! The attempts of a source to refresh its credentials: the one in progress and the outcomes so far.
//! However the future of an attempt ends, the next attempt works.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;

use super::watched::WatchedState;
use crate::credentials::histogram_bounds::BOUNDS_US;
use crate::credentials::refresh_policy::{
    RefreshUrgency, RefreshWindows, pause, pause_refused, pause_unchanged,
};
use crate::credentials::{Credentials, ProvideError};
use crate::histogram::{DurationHistogram, HistogramSnapshot};
use crate::time::Timestamp;

/// The attempts of a source.
pub(super) struct AttemptLog {
    history: Mutex<AttemptHistory>,
    /// Notifies those that wait for the attempt in progress.
    pub(super) asking: watch::Sender<AttemptState>,
    /// The durations of successful attempts.
    given: DurationHistogram,
    /// The durations of failed attempts.
    failed: DurationHistogram,
}

impl Default for AttemptLog {
    fn default() -> Self {
        Self {
            history: Mutex::default(),
            asking: watch::Sender::default(),
            given: DurationHistogram::new(&BOUNDS_US),
            failed: DurationHistogram::new(&BOUNDS_US),
        }
    }
}

impl AttemptLog {
    /// Begins an attempt.
    pub(super) fn begin(&self) -> RefreshAttempt<'_> {
        let begun = Instant::now();
        self.asking.send_modify(|asking| asking.since = Some(begun));
        RefreshAttempt { log: self, begun, has_outcome: false }
    }

    pub(super) fn history(&self) -> MutexGuard<'_, AttemptHistory> {
        self.history.lock()
    }

    /// Returns the durations of the attempts by outcome.
    pub(super) fn durations(&self) -> [(&'static str, HistogramSnapshot); 2] {
        [("ok", self.given.snapshot()), ("failed", self.failed.snapshot())]
    }
}

/// An attempt in progress. If it is dropped before its outcome is known, it counts as not made.
pub(super) struct RefreshAttempt<'a> {
    log: &'a AttemptLog,
    begun: Instant,
    has_outcome: bool,
}

impl RefreshAttempt<'_> {
    /// Records the outcome.
    pub(super) fn end(
        mut self,
        given: &Result<AttemptResult, ProvideError>,
        asked: Option<WatchedState>,
        schedule: RetrySchedule,
    ) {
        self.has_outcome = true;
        let took = if given.is_ok() { &self.log.given } else { &self.log.failed };
        took.record(self.begun.elapsed());
        self.log.history().record(given, asked, schedule);
    }
}

impl Drop for RefreshAttempt<'_> {
    fn drop(&mut self) {
        if !self.has_outcome {
            let mut history = self.log.history();
            (history.next, history.forcing) = (NextAttempt::Due, false);
        }
        // Requests that wait for the attempt continue with the current credentials.
        let ended = u64::from(self.has_outcome);
        // guard: attempt-frees-source
        self.log
            .asking
            .send_modify(|asking| *asking = AttemptState { since: None, done: asking.done + ended });
    }
}

/// The outcomes of the attempts so far.
#[derive(Default)]
pub(super) struct AttemptHistory {
    /// The state of what the provider reads, captured before the last attempt.
    pub(super) asked: Option<WatchedState>,
    pub(super) generation: u64,
    /// Failures since the last success, and all failures by their kind.
    pub(super) failures: u32,
    pub(super) failed: BTreeMap<&'static str, u64>,
    pub(super) next: NextAttempt,
    pub(super) last_error: Option<ProvideError>,
    /// The failure that was logged last.
    pub(super) last_logged: Option<String>,
    /// Rejections of the credentials by OSS, by error code.
    pub(super) rejections: BTreeMap<&'static str, u64>,
    /// True until an attempt that a rejection requested has ended.
    pub(super) forcing: bool,
    /// The time at which a rejection last requested an attempt.
    pub(super) forced: Option<Instant>,
    pub(super) identity_changes: u64,
}

/// The earliest time of the next attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum NextAttempt {
    /// Immediately: no attempt was made, or one was abandoned before its outcome.
    #[default]
    Due,
    /// Not before this time.
    At(Instant),
    /// Never: the configuration is invalid, so another attempt would have the same outcome.
    Never,
}

impl NextAttempt {
    /// Returns the time, given the current time; `None` for never.
    pub(super) fn at(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Due => Some(now),
            Self::At(at) => Some(at),
            Self::Never => None,
        }
    }
}

/// The attempt in progress, if any, and the number of attempts that have ended.
#[derive(Clone, Copy, Default)]
pub(super) struct AttemptState {
    pub(super) since: Option<Instant>,
    pub(super) done: u64,
}

/// The result of a successful attempt.
pub(super) struct AttemptResult {
    pub(super) credentials: Arc<Credentials>,
    /// True if these were already the current credentials.
    pub(super) unchanged: bool,
}

impl AttemptHistory {
    /// Records the outcome of an attempt and the earliest time of the next one.
    fn record(
        &mut self,
        given: &Result<AttemptResult, ProvideError>,
        asked: Option<WatchedState>,
        schedule: RetrySchedule,
    ) {
        (self.asked, self.forcing) = (asked, false);
        match given {
            Ok(given) => {
                self.generation += u64::from(!given.unchanged);
                (self.failures, self.last_error, self.last_logged) = (0, None, None);
                let pause = match (given.unchanged, schedule.windows) {
                    // The service itself refreshes them late.
                    (true, Some(windows)) => pause_unchanged(windows.left(schedule.now), fastrand::f64()),
                    (true | false, _) => Duration::ZERO,
                };
                self.next = NextAttempt::At(Instant::now() + pause);
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                *self.failed.entry(error.kind()).or_default() += 1;
                self.last_error = Some(error.clone());
                let after = |pause| NextAttempt::At(Instant::now() + pause);
                self.next = match error {
                    ProvideError::Unavailable(_) => after(
                        pause(schedule.urgency, self.failures, fastrand::f64()).min(schedule.pause_max()),
                    ),
                    ProvideError::Refused(_) | ProvideError::NotConfigured(_) => {
                        after(pause_refused(self.failures))
                    }
                    ProvideError::Failed(_) => NextAttempt::Never,
                };
            }
        }
    }
}

/// The state from which the time of the next attempt is derived.
#[derive(Clone, Copy)]
pub(super) struct RetrySchedule {
    pub(super) urgency: RefreshUrgency,
    /// The windows of the current credentials.
    pub(super) windows: Option<RefreshWindows>,
    pub(super) now: Timestamp,
}

impl RetrySchedule {
    /// Returns the limit on the pause before the next attempt.
    fn pause_max(self) -> Duration {
        match (self.urgency, self.windows) {
            (RefreshUrgency::Advisory, Some(windows)) => windows.pause_max(self.now),
            (RefreshUrgency::Advisory | RefreshUrgency::Mandatory | RefreshUrgency::Empty, _) => {
                Duration::MAX
            }
        }
    }
}
