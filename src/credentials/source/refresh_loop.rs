//! Refreshes a source in the background: before the credentials expire, after a jump of the clock,
//! and when a request asks for it because OSS rejected the access key.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use super::CredentialSource;
use super::attempt::NextAttempt;
use crate::credentials::refresh_policy::CHECK_INTERVAL;
use crate::credentials::{Credentials, ProvideError, SourceEnv};
use crate::time::Timestamp;

/// The loop that keeps the credentials of a source fresh.
#[derive(Clone, Copy)]
pub(crate) struct RefreshLoop<'a> {
    source: &'a CredentialSource,
    env: &'a dyn SourceEnv,
}

impl<'a> RefreshLoop<'a> {
    /// Creates the loop of a source.
    #[must_use]
    pub(crate) fn new(source: &'a CredentialSource, env: &'a dyn SourceEnv) -> Self {
        Self { source, env }
    }

    /// Refreshes the credentials before they expire, and whenever the state that the provider reads
    /// has changed. Never returns.
    pub(crate) async fn run(self) {
        let Self { source, env } = self;
        let mut anchor = ClockReading::take(env);
        loop {
            let wanted = tokio::select! {
                () = sleep(self.next_wakeup(env.now())) => false,
                () = source.wanted.notified() => true,
            };
            let reading = ClockReading::take(env);
            if reading.has_jumped_since(anchor) {
                warn!(source = source.name, "system clock jumped; re-evaluating credentials");
                self.reset_after_clock_jump(reading);
            }
            anchor = reading;
            let is_due = wanted || self.is_due(env.now());
            // A refresh that is due anyway does not wait for a check of files.
            let changed = !is_due && self.has_changed().await;
            if !is_due && !changed {
                continue;
            }
            if wanted {
                warn!(source = source.name, "OSS rejected the access key; refreshing credentials");
            }
            let before = source.current.load_full();
            let is_first = before.is_none();
            let failed = source.attempts.history().last_logged.is_some();
            let asked_before = source.attempts.history().asked.clone();
            let outcome = source.refresh(env).await;
            let asked = source.attempts.history().asked.clone();
            let changed = asked_before.zip(asked).is_some_and(|(before, now)| before.differs_from(&now));
            let is_same = outcome
                .as_ref()
                .is_ok_and(|given| before.is_some_and(|before| Arc::ptr_eq(&before.credentials, given)));
            if is_same && !failed {
                debug!(source = source.name, "the source returned the same credentials");
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
        if let Some(snapshot) = self.source.current.load_full() {
            self.source.renew_later(&snapshot.credentials, reading.wall);
        }
        let mut history = self.source.attempts.history();
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
                info!(source = self.source.name, provider = &*fresh.provider, expires, "{}", kind.message());
                return;
            }
            Err(failure) => failure,
        };
        let text = failure.to_string();
        let has_credentials = self.source.get(now).is_ok();
        let known = self
            .source
            .attempts
            .history()
            .last_logged
            .replace(text.clone())
            .is_some_and(|known| known == text);
        match failure {
            _ if known => debug!(source = self.source.name, error = text, "credential refresh still fails"),
            _ if has_credentials => error!(
                source = self.source.name,
                error = text,
                "credential refresh failed; using the current credentials until they expire"
            ),
            ProvideError::NotConfigured(reason) => warn!(
                source = self.source.name,
                reason,
                "no credentials: requests are rejected with 503; set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or configure [credentials], and restart"
            ),
            // It is a reason not to start, and reported as that.
            ProvideError::Failed(_) => {
                debug!(source = self.source.name, error = text, "invalid configuration")
            }
            ProvideError::Unavailable(_) | ProvideError::Refused(_) => error!(
                source = self.source.name,
                error = text,
                "no credentials: requests are rejected with 503 until a refresh succeeds"
            ),
        }
    }

    /// Returns the time until the next check.
    fn next_wakeup(&self, now: Timestamp) -> Duration {
        let check_interval = self.source.windows().map_or(CHECK_INTERVAL, |windows| windows.check_interval());
        let next = self.source.attempts.history().next.at(Instant::now());
        match next {
            Some(next) if self.source.urgency(now).is_some() => {
                next.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(1), check_interval)
            }
            Some(_) | None => check_interval,
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.source.urgency(now).is_some() && {
            let now = Instant::now();
            self.source.attempts.history().next.at(now).is_some_and(|next| next <= now)
        }
    }

    /// Returns whether the state that the provider reads differs from that before the last attempt.
    async fn has_changed(&self) -> bool {
        if self.source.attempts.history().asked.is_none() {
            return false;
        }
        let Ok(now) = self.source.watched_state(self.env).await else { return false };
        let history = self.source.attempts.history();
        history.asked.as_ref().zip(now).is_some_and(|(asked, now)| asked.differs_from(&now))
    }
}

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

/// The threshold of a jump. A clock that is being adjusted (NTP slewing) remains below it.
const JUMP_S: u64 = 30;
