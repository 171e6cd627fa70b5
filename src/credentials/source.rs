//! A credential provider with its cached credentials. Requests load one immutable snapshot, without
//! a lock and without waiting. The owner of the source refreshes it in the background, one attempt
//! at a time.

mod attempt;
pub(super) mod refresh_loop;
mod watched;

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::histogram_bounds::BOUNDS_US;
use super::refresh_policy::{RefreshUrgency, RefreshWindows};
use super::status::{CredentialState, SourceStatus};
use super::{Credentials, Provide, ProvideError, SourceEnv, validate};
use crate::histogram::DurationHistogram;
use crate::offload::{BlockingLane, BlockingTimeout};
use crate::secret::Secret;
use crate::time::{Clock, Timestamp};
use attempt::{AttemptLog, AttemptResult, AttemptState, RetrySchedule};
use watched::WatchedState;

/// A credential provider with the credentials that it returned last.
pub struct CredentialSource {
    name: String,
    provider: Box<dyn Provide>,
    current: ArcSwapOption<CredentialSnapshot>,
    /// Held during an attempt, so that there is one at a time.
    flight: tokio::sync::Mutex<()>,
    attempts: AttemptLog,
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
}

impl Default for SourceCounts {
    fn default() -> Self {
        Self { served: Default::default(), waits: DurationHistogram::new(&BOUNDS_US) }
    }
}

/// Credentials with their refresh windows, if they have to be refreshed.
struct CredentialSnapshot {
    credentials: Arc<Credentials>,
    windows: Option<RefreshWindows>,
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
            attempts: AttemptLog::default(),
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
        if self.attempts.asking.receiver_count() < WAITERS_MAX {
            let begun = Instant::now();
            let mut asking = self.attempts.asking.subscribe();
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

    /// Requests credentials from the provider and keeps them. Concurrent callers share the result
    /// of one attempt. On an error the current credentials are kept. If the future is dropped
    /// midway, the attempt counts as not made.
    ///
    /// # Errors
    /// The error of the provider.
    pub(crate) async fn refresh(&self, env: &dyn SourceEnv) -> Result<Arc<Credentials>, ProvideError> {
        let before = self.attempts.history().generation;
        let _flight = self.flight.lock().await;
        if self.attempts.history().generation != before
            && let Ok(credentials) = self.get(env.now())
        {
            return Ok(credentials);
        }
        let attempt = self.attempts.begin();
        // Files that cannot be read now count as changed once they can.
        let asked = self.watched_state(env).await;
        let asked = asked.unwrap_or_else(|_| Some(WatchedState::default()));
        let given = timeout(ATTEMPT_MAX, self.provider.provide(env)).await.unwrap_or_else(|_| {
            Err(ProvideError::Unavailable(format!("the source returned nothing within {ATTEMPT_MAX:?}")))
        });
        let given = given.and_then(usable).and_then(|credentials| self.keep(credentials, env.now()));
        attempt.end(&given, asked, self.retry_schedule(env.now()));
        given.map(|given| given.credentials)
    }

    /// Waits until one attempt has ended, with or without success.
    pub(crate) async fn answered(&self) {
        let mut asking = self.attempts.asking.subscribe();
        // The sender lives in `self`, so there is no error to handle.
        let _ = asking.wait_for(|asking| asking.done > 0).await;
    }

    /// Returns whether one attempt has ended, with or without success.
    #[must_use]
    pub(crate) fn has_answered(&self) -> bool {
        self.attempts.asking.borrow().done > 0
    }

    /// Returns the error of the last attempt; `None` if it succeeded or there was none.
    #[must_use]
    pub(crate) fn last_error(&self) -> Option<ProvideError> {
        self.attempts.history().last_error.clone()
    }

    /// Records that OSS has accepted a signature by these credentials.
    pub(crate) fn accept(&self, credentials: &Arc<Credentials>) {
        let taken = Arc::as_ptr(credentials).cast_mut();
        if self.accepted.load(Ordering::Relaxed) != taken {
            self.accepted.store(taken, Ordering::Relaxed);
        }
    }

    /// Returns whether OSS has accepted a signature by these credentials.
    #[must_use]
    pub(crate) fn has_accepted(&self, credentials: &Arc<Credentials>) -> bool {
        self.accepted.load(Ordering::Relaxed) == Arc::as_ptr(credentials).cast_mut()
    }

    /// Returns other credentials after OSS has rejected these with this error code, if the source
    /// has any. A rejection triggers a refresh, at most once every ten seconds. The wait for it is
    /// limited.
    pub(crate) async fn replace(
        &self,
        refused: &Arc<Credentials>,
        code: &'static str,
        clock: &dyn Clock,
    ) -> Option<Arc<Credentials>> {
        let other = || {
            let current = self.get(clock.now()).ok()?;
            (!Arc::ptr_eq(&current, refused)).then_some(current)
        };
        let mut asking = self.attempts.asking.subscribe();
        if let Some(other) = other() {
            return Some(other);
        }
        let AttemptState { since, done } = *asking.borrow_and_update();
        {
            let mut history = self.attempts.history();
            *history.rejections.entry(code).or_default() += 1;
            let now = Instant::now();
            if history.forced.is_none_or(|forced| now >= forced + FORCED_EVERY) {
                (history.forced, history.forcing) = (Some(now), true);
                self.wanted.notify_one();
            } else if since.is_none() && !history.forcing {
                return None;
            }
        }
        let answered = asking.wait_for(|asking| asking.done > done);
        // The credentials present after the wait are used, regardless of what ended it.
        let _ = timeout(WAIT_MAX, answered).await;
        other()
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
            self.attempts.history().identity_changes += 1;
            warn!(
                source = self.name,
                before = &*before.credentials.provider,
                now = &*fresh.provider,
                "signing identity changed"
            );
        }
    }

    /// Returns the state from which the time of the next attempt is derived.
    fn retry_schedule(&self, now: Timestamp) -> RetrySchedule {
        let urgency = self.urgency(now).unwrap_or(RefreshUrgency::Advisory);
        RetrySchedule { urgency, windows: self.windows(), now }
    }

    /// Captures the state of what the provider reads.
    async fn watched_state(&self, env: &dyn SourceEnv) -> Result<Option<WatchedState>, BlockingTimeout> {
        WatchedState::capture(&*self.provider, env, &self.files).await
    }

    /// Returns a snapshot of the state, for operators and metrics.
    #[must_use]
    pub(crate) fn status(&self, env: &dyn SourceEnv) -> SourceStatus {
        let now = env.now();
        let snapshot = self.current.load_full();
        let snapshot = snapshot.as_deref();
        let stage = snapshot.map_or(CredentialState::Empty, |snapshot| snapshot.stage(now));
        let explanation = self.provider.explain(env);
        let asking = *self.attempts.asking.borrow();
        let history = self.attempts.history();
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
            waiting: self.attempts.asking.receiver_count(),
            asking_for: asking.since.map(|since| since.elapsed()),
            has_answered: asking.done > 0,
            served: CredentialState::ALL
                .map(|stage| (stage, self.counts.served[stage as usize].load(Ordering::Relaxed))),
            waits: self.counts.waits.snapshot(),
            refreshes: self.attempts.durations(),
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
}

/// Rejects credentials that cannot sign, whichever provider returned them.
fn usable(given: Credentials) -> Result<Credentials, ProvideError> {
    let token = given.token.as_ref().map(Secret::expose);
    match validate::check_usable(&given.id, given.secret.expose(), token) {
        Ok(()) => Ok(given),
        Err(invalid) => Err(ProvideError::Unavailable(format!(
            "{} returned invalid credentials: {invalid}",
            given.provider
        ))),
    }
}

/// The timeout of one attempt.
const ATTEMPT_MAX: Duration = Duration::from_secs(20);
/// The minimum interval between refreshes triggered by rejections of OSS.
const FORCED_EVERY: Duration = Duration::from_secs(10);
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
