//! Refreshes a source: in the background before expiry, after a jump of the clock, and when OSS
//! rejects the current access key.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, info, warn};

use super::attempt::RefreshAttempt;
use super::{AttemptState, CredentialSource, NextAttempt, WAIT_MAX, WatchedState};
use crate::credentials::refresh_policy::CHECK_INTERVAL;
use crate::credentials::{Credentials, ProvideError, SourceEnv, validate};
use crate::secret::Secret;
use crate::time::{Clock, Timestamp};

/// The reason of a refresh.
#[derive(Clone, Copy)]
enum RefreshReason {
    /// There were no credentials before.
    First,
    /// The state that the provider reads has changed.
    Changed,
    /// The refresh was due.
    Usual,
}

impl RefreshReason {
    fn message(self) -> &'static str {
        match self {
            Self::First => "credentials obtained",
            Self::Changed => "credentials changed",
            Self::Usual => "credentials refreshed",
        }
    }
}

impl CredentialSource {
    /// Requests credentials from the provider and keeps them. Concurrent callers share the result
    /// of one attempt. On an error the current credentials are kept. If the future is dropped
    /// midway, the attempt counts as not made.
    ///
    /// # Errors
    /// The error of the provider.
    pub(crate) async fn refresh(&self, env: &dyn SourceEnv) -> Result<Arc<Credentials>, ProvideError> {
        let before = self.history().generation;
        let _flight = self.flight.lock().await;
        if self.history().generation != before
            && let Ok(credentials) = self.get(env.now())
        {
            return Ok(credentials);
        }
        let attempt = RefreshAttempt::begin(self);
        // Files that cannot be read now count as changed once they can.
        let asked = WatchedState::capture(&*self.provider, env, &self.files).await;
        let asked = asked.unwrap_or_else(|_| Some(WatchedState::default()));
        let given = timeout(ATTEMPT_MAX, self.provider.provide(env)).await.unwrap_or_else(|_| {
            Err(ProvideError::Unavailable(format!("the source returned nothing within {ATTEMPT_MAX:?}")))
        });
        let given = given.and_then(usable).and_then(|credentials| self.keep(credentials, env.now()));
        attempt.end(&given, asked, env.now());
        given.map(|given| given.credentials)
    }

    /// Refreshes the credentials before they expire, and whenever the state that the provider reads
    /// has changed. Never returns.
    pub(crate) async fn follow(&self, env: &dyn SourceEnv) {
        let mut anchor = ClockReading::take(env);
        loop {
            let wanted = tokio::select! {
                () = sleep(self.next_wakeup(env.now())) => false,
                () = self.wanted.notified() => true,
            };
            let reading = ClockReading::take(env);
            if reading.has_jumped_since(anchor) {
                warn!(source = self.name, "system clock jumped; re-evaluating credentials");
                self.reset_after_clock_jump(reading);
            }
            anchor = reading;
            let is_due = wanted || self.is_due(env.now());
            // A refresh that is due anyway does not wait for a check of files.
            let changed = !is_due && self.has_changed(env).await;
            if !is_due && !changed {
                continue;
            }
            if wanted {
                warn!(source = self.name, "OSS rejected the access key; refreshing credentials");
            }
            let before = self.current.load_full();
            let is_first = before.is_none();
            let failed = self.history().last_logged.is_some();
            let asked_before = self.history().asked.clone();
            let outcome = self.refresh(env).await;
            let asked = self.history().asked.clone();
            let changed = asked_before.zip(asked).is_some_and(|(before, now)| before.differs_from(&now));
            let is_same = outcome
                .as_ref()
                .is_ok_and(|given| before.is_some_and(|before| Arc::ptr_eq(&before.credentials, given)));
            if is_same && !failed {
                debug!(source = self.name, "the source returned the same credentials");
            } else {
                let kind = match (is_first, changed) {
                    (_, true) => RefreshReason::Changed,
                    (true, false) => RefreshReason::First,
                    (false, false) => RefreshReason::Usual,
                };
                self.log_outcome(&outcome, kind, env.now());
            }
        }
    }

    /// Adapts to a jump of the clock. A failure may have been due to the wrong time, so a retry is
    /// due immediately. Refresh windows measured by the clock start again now.
    fn reset_after_clock_jump(&self, reading: ClockReading) {
        if let Some(snapshot) = self.current.load_full() {
            self.renew_later(&snapshot.credentials, reading.wall);
        }
        let mut history = self.history();
        if history.next.at(reading.monotonic).is_some() && history.failures > 0 {
            history.next = NextAttempt::At(reading.monotonic);
        }
    }

    /// Logs the outcome of an attempt. A failure that persists is logged once.
    fn log_outcome(
        &self,
        outcome: &Result<Arc<Credentials>, ProvideError>,
        kind: RefreshReason,
        now: Timestamp,
    ) {
        let failure = match outcome {
            Ok(fresh) => {
                let expires = fresh.expires.map(Timestamp::rfc3339);
                info!(source = self.name, provider = &*fresh.provider, expires, "{}", kind.message());
                return;
            }
            Err(failure) => failure,
        };
        let text = failure.to_string();
        let has_credentials = self.get(now).is_ok();
        let known = self.history().last_logged.replace(text.clone()).is_some_and(|known| known == text);
        match failure {
            _ if known => debug!(source = self.name, error = text, "credential refresh still fails"),
            _ if has_credentials => error!(
                source = self.name,
                error = text,
                "credential refresh failed; using the current credentials until they expire"
            ),
            ProvideError::NotConfigured(reason) => warn!(
                source = self.name,
                reason,
                "no credentials: requests are rejected with 503; set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or configure [credentials], and restart"
            ),
            // It is a reason not to start, and reported as that.
            ProvideError::Failed(_) => debug!(source = self.name, error = text, "invalid configuration"),
            ProvideError::Unavailable(_) | ProvideError::Refused(_) => error!(
                source = self.name,
                error = text,
                "no credentials: requests are rejected with 503 until a refresh succeeds"
            ),
        }
    }

    /// Returns the time until the next check.
    fn next_wakeup(&self, now: Timestamp) -> Duration {
        let check_interval = self.windows().map_or(CHECK_INTERVAL, |windows| windows.check_interval());
        let next = self.history().next.at(Instant::now());
        match next {
            Some(next) if self.urgency(now).is_some() => {
                next.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(1), check_interval)
            }
            Some(_) | None => check_interval,
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.urgency(now).is_some() && {
            let now = Instant::now();
            self.history().next.at(now).is_some_and(|next| next <= now)
        }
    }

    /// Returns whether the state that the provider reads differs from that before the last attempt.
    async fn has_changed(&self, env: &dyn SourceEnv) -> bool {
        if self.history().asked.is_none() {
            return false;
        }
        let Ok(now) = WatchedState::capture(&*self.provider, env, &self.files).await else { return false };
        let history = self.history();
        history.asked.as_ref().zip(now).is_some_and(|(asked, now)| asked.differs_from(&now))
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
        let mut asking = self.asking.subscribe();
        if let Some(other) = other() {
            return Some(other);
        }
        let AttemptState { since, done } = *asking.borrow_and_update();
        {
            let mut history = self.history();
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

/// The time of both clocks at one moment.
#[derive(Clone, Copy)]
struct ClockReading {
    monotonic: Instant,
    wall: Timestamp,
}

impl ClockReading {
    fn take(clock: &dyn SourceEnv) -> Self {
        Self { monotonic: Instant::now(), wall: clock.now() }
    }

    /// Returns whether the wall clock moved differently from the monotonic clock.
    fn has_jumped_since(self, before: Self) -> bool {
        let passed = self.monotonic.duration_since(before.monotonic).as_secs();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        (self.wall.unix_s() - before.wall.unix_s()).abs_diff(passed) > JUMP_S
    }
}

/// The timeout of one attempt.
const ATTEMPT_MAX: Duration = Duration::from_secs(20);
/// The threshold of a jump. A clock that is being adjusted (NTP slewing) remains below it.
const JUMP_S: u64 = 30;
/// The minimum interval between refreshes triggered by rejections of OSS.
const FORCED_EVERY: Duration = Duration::from_secs(10);
