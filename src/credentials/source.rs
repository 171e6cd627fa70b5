//! A credential provider with its cached credentials. Requests load one immutable snapshot, without
//! a lock and without waiting. The owner of the source refreshes it in the background, one attempt
//! at a time.

mod attempt;
mod refresh;
mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::histogram_bounds::BOUNDS_US;
use super::refresh_policy::{RefreshUrgency, RefreshWindows, pause, pause_refused, pause_unchanged};
use super::status::{CredentialState, SourceStatus};
use super::{Credentials, Provide, ProvideError, SourceEnv};
use crate::histogram::DurationHistogram;
use crate::offload::BlockingLane;
use crate::secret::Secret;
use crate::time::{Clock, Timestamp};
use watched::WatchedState;

/// A credential provider with the credentials that it returned last.
pub struct CredentialSource {
    name: String,
    provider: Box<dyn Provide>,
    current: ArcSwapOption<CredentialSnapshot>,
    /// Held during an attempt, so that there is one at a time.
    flight: tokio::sync::Mutex<()>,
    history: Mutex<AttemptHistory>,
    asking: watch::Sender<AttemptState>,
    /// Runs the checks of the files that the provider reads.
    files: BlockingLane,
    /// The credentials that OSS accepted last; the pointer is only compared.
    accepted: AtomicPtr<Credentials>,
    /// Notified to request an immediate attempt.
    wanted: Notify,
    counts: SourceCounts,
}

/// The counters of a source for metrics.
struct SourceCounts {
    /// Requests by the state of the credentials they were signed with, including those that got
    /// none.
    served: [AtomicU64; CredentialState::ALL.len()],
    waits: DurationHistogram,
    given: DurationHistogram,
    failed: DurationHistogram,
}

impl Default for SourceCounts {
    fn default() -> Self {
        Self {
            served: Default::default(),
            waits: DurationHistogram::new(&BOUNDS_US),
            given: DurationHistogram::new(&BOUNDS_US),
            failed: DurationHistogram::new(&BOUNDS_US),
        }
    }
}

/// Credentials with their refresh windows, if they have to be refreshed.
struct CredentialSnapshot {
    credentials: Arc<Credentials>,
    windows: Option<RefreshWindows>,
}

/// The outcomes of the attempts so far.
#[derive(Default)]
struct AttemptHistory {
    /// The state of what the provider reads, captured before the last attempt.
    asked: Option<WatchedState>,
    generation: u64,
    /// Failures since the last success, and all failures by their kind.
    failures: u32,
    failed: BTreeMap<&'static str, u64>,
    next: NextAttempt,
    last_error: Option<ProvideError>,
    /// The failure that was logged last.
    last_logged: Option<String>,
    /// Rejections of the credentials by OSS, by error code.
    rejections: BTreeMap<&'static str, u64>,
    /// True until an attempt that a rejection requested has ended.
    forcing: bool,
    /// The time at which a rejection last requested an attempt.
    forced: Option<Instant>,
    identity_changes: u64,
}

/// The earliest time of the next attempt.
#[derive(Clone, Copy, Debug, Default)]
enum NextAttempt {
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
    fn at(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Due => Some(now),
            Self::At(at) => Some(at),
            Self::Never => None,
        }
    }
}

/// The attempt in progress, if any, and the number of attempts that have ended.
#[derive(Clone, Copy, Default)]
struct AttemptState {
    since: Option<Instant>,
    done: u64,
}

/// The result of a successful attempt.
struct AttemptResult {
    credentials: Arc<Credentials>,
    /// True if these were already the current credentials.
    unchanged: bool,
}

/// No credentials to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoCredentials {
    /// The source has returned no credentials yet.
    #[error("no credentials are available")]
    Empty,
    /// The credentials have expired.
    #[error("the credentials have expired")]
    Expired,
}

impl CredentialSnapshot {
    fn stage(&self, now: Timestamp) -> CredentialState {
        match self.windows {
            Some(windows) if self.credentials.expires.is_some() => match windows.urgency(now) {
                None => CredentialState::Fresh,
                Some(RefreshUrgency::Advisory) => CredentialState::Advisory,
                Some(RefreshUrgency::Mandatory) => CredentialState::Mandatory,
                Some(RefreshUrgency::Empty) => CredentialState::Expired,
            },
            Some(_) | None => CredentialState::NonExpiring,
        }
    }
}

impl CredentialSource {
    /// Creates a source without credentials; `name` is its name in the configuration.
    #[must_use]
    pub(crate) fn new(name: &str, provider: Box<dyn Provide>) -> Self {
        Self {
            name: name.to_owned(),
            provider,
            current: ArcSwapOption::empty(),
            flight: tokio::sync::Mutex::default(),
            history: Mutex::default(),
            asking: watch::Sender::default(),
            files: BlockingLane::default(),
            accepted: AtomicPtr::default(),
            wanted: Notify::new(),
            counts: SourceCounts::default(),
        }
    }

    /// Returns the name of the source in the configuration.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the credentials to sign with at `now`, without waiting.
    ///
    /// # Errors
    /// [`NoCredentials`]: nothing is ever signed with credentials that have expired, or that would
    /// expire while a request is on its way.
    pub(crate) fn get(&self, now: Timestamp) -> Result<Arc<Credentials>, NoCredentials> {
        let current = self.current.load();
        let snapshot = current.as_deref().ok_or(NoCredentials::Empty)?;
        match snapshot.windows {
            Some(windows) if windows.hard <= now => Err(NoCredentials::Expired),
            Some(_) | None => Ok(Arc::clone(&snapshot.credentials)),
        }
    }

    /// Returns the credentials for a request, and counts the request if there are any. A request
    /// that gets none may [`wait`](Self::wait).
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub(crate) fn serve(&self, now: Timestamp) -> Result<Arc<Credentials>, NoCredentials> {
        let current = self.current.load();
        let snapshot = current.as_deref().ok_or(NoCredentials::Empty)?;
        let stage = snapshot.stage(now);
        if !stage.signs() {
            return Err(NoCredentials::Expired);
        }
        self.counts.served[stage as usize].fetch_add(1, Ordering::Relaxed);
        Ok(Arc::clone(&snapshot.credentials))
    }

    /// Waits for the attempt in progress, if any, up to a timeout, and returns its credentials. It
    /// is for requests that got none from [`serve`](Self::serve).
    ///
    /// # Errors
    /// [`NoCredentials`] if there are none after the wait either.
    pub(crate) async fn wait(&self, clock: &dyn Clock) -> Result<Arc<Credentials>, NoCredentials> {
        if self.asking.receiver_count() < WAITERS_MAX {
            let begun = Instant::now();
            let mut asking = self.asking.subscribe();
            // The credentials present after the wait are used, regardless of what ended it.
            let _ = timeout(WAIT_MAX, asking.wait_for(|asking| asking.since.is_none())).await;
            self.counts.waits.record(begun.elapsed());
        }
        self.serve(clock.now()).inspect_err(|nothing| {
            let stage = match nothing {
                NoCredentials::Empty => CredentialState::Empty,
                NoCredentials::Expired => CredentialState::Expired,
            };
            self.counts.served[stage as usize].fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Returns credentials to sign with: the current ones, or the result of a refresh.
    ///
    /// # Errors
    /// The error of the provider.
    pub(crate) async fn obtain(&self, env: &dyn SourceEnv) -> Result<Arc<Credentials>, ProvideError> {
        match self.get(env.now()) {
            Ok(credentials) => Ok(credentials),
            Err(_) => self.refresh(env).await,
        }
    }

    /// Waits until one attempt has ended, with or without success.
    pub(crate) async fn answered(&self) {
        let mut asking = self.asking.subscribe();
        // The sender lives in `self`, so there is no error to handle.
        let _ = asking.wait_for(|asking| asking.done > 0).await;
    }

    /// Returns whether one attempt has ended, with or without success.
    #[must_use]
    pub(crate) fn has_answered(&self) -> bool {
        self.asking.borrow().done > 0
    }

    /// Returns the error of the last attempt; `None` if it succeeded or there was none.
    #[must_use]
    pub(crate) fn last_error(&self) -> Option<ProvideError> {
        self.history().last_error.clone()
    }

    /// Keeps new credentials, unless they have already expired.
    fn keep(&self, fresh: Credentials, now: Timestamp) -> Result<AttemptResult, ProvideError> {
        let before = self.current.load_full();
        if let Some(before) = before.as_deref() {
            let Credentials { id, expires, token, .. } = &*before.credentials;
            let same_token = token.as_ref().map(Secret::expose) == fresh.token.as_ref().map(Secret::expose);
            if *id == fresh.id && *expires == fresh.expires && same_token {
                let same = before.credentials.secret.expose() == fresh.secret.expose();
                let alive = before.windows.is_none_or(|windows| now < windows.hard);
                if same && alive {
                    self.renew_later(&before.credentials, now);
                    return Ok(AttemptResult {
                        credentials: Arc::clone(&before.credentials),
                        unchanged: true,
                    });
                }
            }
        }
        let ended = fresh.expires.filter(|expires| *expires <= now);
        let windows = self.windows_of(fresh.expires, now);
        let credentials = Arc::new(fresh);
        if ended.is_none() || self.get(now).is_err() {
            // Expired credentials sign nothing, but requests get a more precise error.
            self.current
                .store(Some(Arc::new(CredentialSnapshot { credentials: Arc::clone(&credentials), windows })));
        }
        match ended.map(Timestamp::rfc3339) {
            None => {
                // The new credentials may be allocated at the address of ones that OSS accepted.
                self.accepted.store(std::ptr::null_mut(), Ordering::Relaxed);
                self.compare(before.as_deref(), &credentials);
                Ok(AttemptResult { credentials, unchanged: false })
            }
            Some(when) => Err(ProvideError::Unavailable(format!(
                "{} returned credentials that expired at {when}; if they should be valid, check this host's clock",
                credentials.provider
            ))),
        }
    }

    fn windows_of(&self, expires: Option<Timestamp>, now: Timestamp) -> Option<RefreshWindows> {
        match (expires, self.provider.renew_after()) {
            (Some(expires), _) => Some(RefreshWindows::new(now, expires, fastrand::f64())),
            (None, Some(after)) => Some(RefreshWindows::endless(now + after)),
            (None, None) => None,
        }
    }

    /// Extends the refresh windows of credentials without an expiry, after the provider has
    /// returned the same ones.
    fn renew_later(&self, credentials: &Arc<Credentials>, now: Timestamp) {
        if credentials.expires.is_none() {
            let windows = self.windows_of(None, now);
            self.current
                .store(Some(Arc::new(CredentialSnapshot { credentials: Arc::clone(credentials), windows })));
        }
    }

    /// Logs and counts a change of the provider that signs.
    fn compare(&self, before: Option<&CredentialSnapshot>, fresh: &Credentials) {
        let Some(before) = before else { return };
        if before.credentials.provider != fresh.provider {
            self.history().identity_changes += 1;
            warn!(
                source = self.name,
                before = &*before.credentials.provider,
                now = &*fresh.provider,
                "signing identity changed"
            );
        }
    }

    /// Records the outcome of an attempt and the earliest time of the next one.
    fn record_attempt(
        &self,
        given: &Result<AttemptResult, ProvideError>,
        asked: Option<WatchedState>,
        now: Timestamp,
    ) {
        let urgency = self.urgency(now).unwrap_or(RefreshUrgency::Advisory);
        let windows = self.windows();
        let longest = match (urgency, windows) {
            (RefreshUrgency::Advisory, Some(windows)) => windows.pause_max(now),
            (RefreshUrgency::Advisory | RefreshUrgency::Mandatory | RefreshUrgency::Empty, _) => {
                Duration::MAX
            }
        };
        let mut history = self.history();
        (history.asked, history.forcing) = (asked, false);
        match given {
            Ok(given) => {
                history.generation += u64::from(!given.unchanged);
                (history.failures, history.last_error, history.last_logged) = (0, None, None);
                let pause = match (given.unchanged, windows) {
                    // The service itself refreshes them late.
                    (true, Some(windows)) => pause_unchanged(windows.left(now), fastrand::f64()),
                    (true | false, _) => Duration::ZERO,
                };
                history.next = NextAttempt::At(Instant::now() + pause);
            }
            Err(error) => {
                history.failures = history.failures.saturating_add(1);
                *history.failed.entry(error.kind()).or_default() += 1;
                history.last_error = Some(error.clone());
                let after = |pause| NextAttempt::At(Instant::now() + pause);
                history.next = match error {
                    ProvideError::Unavailable(_) => {
                        after(pause(urgency, history.failures, fastrand::f64()).min(longest))
                    }
                    ProvideError::Refused(_) | ProvideError::NotConfigured(_) => {
                        after(pause_refused(history.failures))
                    }
                    ProvideError::Failed(_) => NextAttempt::Never,
                };
            }
        }
    }

    /// Returns a snapshot of the state, for operators and metrics.
    #[must_use]
    pub(crate) fn status(&self, env: &dyn SourceEnv) -> SourceStatus {
        let now = env.now();
        let snapshot = self.current.load_full();
        let snapshot = snapshot.as_deref();
        let stage = snapshot.map_or(CredentialState::Empty, |snapshot| snapshot.stage(now));
        let explanation = self.provider.explain(env);
        let asking = *self.asking.borrow();
        let history = self.history();
        SourceStatus {
            name: self.name.clone(),
            stage,
            provider: snapshot.map(|snapshot| Arc::clone(&snapshot.credentials.provider)),
            expires: snapshot.and_then(|snapshot| snapshot.credentials.expires),
            renewal: snapshot.and_then(|snapshot| Some(snapshot.windows?.advisory)),
            generation: history.generation,
            failed: history.failed.clone(),
            failures: history.failures,
            rejected: history.rejections.clone(),
            identity_changes: history.identity_changes,
            waiting: self.asking.receiver_count(),
            asking_for: asking.since.map(|since| since.elapsed()),
            has_answered: asking.done > 0,
            served: CredentialState::ALL
                .map(|stage| (stage, self.counts.served[stage as usize].load(Ordering::Relaxed))),
            waits: self.counts.waits.snapshot(),
            refreshes: [("ok", self.counts.given.snapshot()), ("failed", self.counts.failed.snapshot())],
            last_error: history.last_error.as_ref().map(ToString::to_string),
            explanation,
        }
    }

    fn windows(&self) -> Option<RefreshWindows> {
        self.current.load().as_deref().and_then(|snapshot| snapshot.windows)
    }

    /// Returns the urgency of a refresh; `None` if none is needed.
    fn urgency(&self, now: Timestamp) -> Option<RefreshUrgency> {
        match self.current.load().as_deref() {
            None => Some(RefreshUrgency::Empty),
            Some(snapshot) => snapshot.windows.and_then(|windows| windows.urgency(now)),
        }
    }

    fn history(&self) -> MutexGuard<'_, AttemptHistory> {
        self.history.lock()
    }
}

/// The limit on the wait of a request for an attempt in progress.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The limit on the number of requests that wait.
const WAITERS_MAX: usize = 1024;

#[cfg(test)]
mod dropped_network_tests;
#[cfg(test)]
mod dropped_tests;
#[cfg(test)]
mod life_tests;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
