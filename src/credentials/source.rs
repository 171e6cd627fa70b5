//! A source with what it gave last. Requests load one immutable snapshot, without a lock and without waiting; whoever keeps
//! the source renews it in the background, one attempt at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, info};

use super::schedule::{LOOK_EVERY, Urgency, Windows, pause, pause_refused};
use super::{Credentials, Edge, Fingerprint, Provide, ProvideError};
use crate::time::{Clock, Timestamp};

/// A source with what it gave last.
pub struct Source {
    name: String,
    provider: Box<dyn Provide>,
    current: ArcSwapOption<Snapshot>,
    /// Held while the source is asked: there is one attempt at a time.
    flight: tokio::sync::Mutex<()>,
    history: Mutex<History>,
    asking: watch::Sender<bool>,
}

/// Credentials with the stages of their life, if that has an end.
struct Snapshot {
    credentials: Arc<Credentials>,
    windows: Option<Windows>,
}

/// What the attempts so far have come to.
#[derive(Default)]
struct History {
    /// The state of what the provider reads, before it was last asked.
    asked: Option<Fingerprint>,
    generation: u64,
    /// Failures since the last success.
    failures: u32,
    /// Before this there is no other attempt; `None` if one cannot come to anything else.
    next: Option<Instant>,
    last_error: Option<String>,
}

/// There is nothing to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The source has given nothing yet.
    #[error("no credentials are available")]
    Empty,
    /// What it gave has ended.
    #[error("the credentials have expired")]
    Expired,
}

impl Source {
    /// A source that has not been asked; `name` is the configuration's.
    #[must_use]
    pub fn new(name: &str, provider: Box<dyn Provide>) -> Self {
        Self {
            name: name.to_owned(),
            provider,
            current: ArcSwapOption::empty(),
            flight: tokio::sync::Mutex::default(),
            history: Mutex::default(),
            asking: watch::Sender::new(false),
        }
    }

    /// The configuration's name of the source.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The credentials to sign with at `now`, without waiting.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing is ever signed with what has ended, or ends while a request is on its way.
    pub fn get(&self, now: Timestamp) -> Result<Arc<Credentials>, Unavailable> {
        let current = self.current.load();
        let snapshot = current.as_deref().ok_or(Unavailable::Empty)?;
        match snapshot.windows {
            Some(windows) if windows.hard <= now => Err(Unavailable::Expired),
            Some(_) | None => Ok(Arc::clone(&snapshot.credentials)),
        }
    }

    /// The same; if there is nothing and the source is just being asked, its answer is waited for, in limited time.
    ///
    /// # Errors
    /// [`Unavailable`] if it gives nothing either.
    pub async fn wait(&self, clock: &dyn Clock) -> Result<Arc<Credentials>, Unavailable> {
        if self.asking.receiver_count() >= WAITERS_MAX {
            return self.get(clock.now());
        }
        let mut asking = self.asking.subscribe();
        // However the wait ends, what counts is what is there then.
        let _ = timeout(WAIT_MAX, asking.wait_for(|asking| !asking)).await;
        self.get(clock.now())
    }

    /// What can be signed with now: what is there, or what the source gives when it is asked.
    ///
    /// # Errors
    /// Those of the source.
    pub async fn obtain(&self, edge: &dyn Edge) -> Result<Arc<Credentials>, ProvideError> {
        match self.get(edge.now()) {
            Ok(credentials) => Ok(credentials),
            Err(_) => self.refresh(edge).await,
        }
    }

    /// Asks the source and keeps what it gives; who comes while it is asked gets the same answer. What was there before stays
    /// on an error.
    ///
    /// # Errors
    /// Those of the source.
    pub async fn refresh(&self, edge: &dyn Edge) -> Result<Arc<Credentials>, ProvideError> {
        let before = self.history().generation;
        let _flight = self.flight.lock().await;
        if self.history().generation != before
            && let Ok(credentials) = self.get(edge.now())
        {
            return Ok(credentials);
        }
        let asked = self.provider.fingerprint();
        self.asking.send_replace(true);
        let given = timeout(ATTEMPT_MAX, self.provider.provide(edge)).await.unwrap_or_else(|_| {
            Err(ProvideError::Unavailable(format!("the source gave nothing within {ATTEMPT_MAX:?}")))
        });
        let given = given.and_then(|credentials| self.keep(credentials, edge.now()));
        self.note(&given, asked, edge.now());
        self.asking.send_replace(false);
        given
    }

    /// Keeps fresh credentials, unless they have ended before they came.
    fn keep(&self, fresh: Credentials, now: Timestamp) -> Result<Arc<Credentials>, ProvideError> {
        let ended = fresh.expires.filter(|expires| *expires <= now);
        let windows = fresh.expires.map(|expires| Windows::of(now, expires, fastrand::f64()));
        let credentials = Arc::new(fresh);
        if ended.is_none() || self.get(now).is_err() {
            // What has ended signs nothing, but it tells requests more than that there is nothing.
            self.current.store(Some(Arc::new(Snapshot { credentials: Arc::clone(&credentials), windows })));
        }
        match ended.map(Timestamp::rfc3339) {
            None => Ok(credentials),
            Some(when) => Err(ProvideError::Unavailable(format!(
                "{} gave credentials that have expired, at {when}; if they should be good, look at the clock of this machine",
                credentials.provider
            ))),
        }
    }

    /// Notes what an attempt came to, and when there may be another.
    fn note(
        &self,
        given: &Result<Arc<Credentials>, ProvideError>,
        asked: Option<Fingerprint>,
        now: Timestamp,
    ) {
        let urgency = self.urgency(now).unwrap_or(Urgency::Advisory);
        let windows = self.windows();
        let longest = match (urgency, windows) {
            (Urgency::Advisory, Some(windows)) => windows.pause_max(now),
            (Urgency::Advisory | Urgency::Mandatory | Urgency::Empty, _) => Duration::MAX,
        };
        let mut history = self.history();
        history.asked = asked;
        match given {
            Ok(_) => {
                *history = History { asked, generation: history.generation + 1, ..History::default() };
                history.next = Some(Instant::now());
            }
            Err(error) => {
                history.failures = history.failures.saturating_add(1);
                let pause = match error {
                    ProvideError::Unavailable(_) => {
                        Some(pause(urgency, history.failures, fastrand::f64()).min(longest))
                    }
                    ProvideError::Refused(_) => Some(pause_refused(history.failures)),
                    ProvideError::NotConfigured(_) | ProvideError::Failed(_) => None,
                };
                history.next = pause.map(|pause| Instant::now() + pause);
            }
        }
    }

    /// Renews the credentials before they end, and asks the source again whenever what it reads has changed. Never returns.
    pub async fn follow(&self, edge: &dyn Edge) {
        loop {
            sleep(self.rest(edge.now())).await;
            let changed = self.has_changed();
            if !changed && !self.is_due(edge.now()) {
                continue;
            }
            let outcome = self.refresh(edge).await;
            self.tell(&outcome, changed);
        }
    }

    /// Logs what an attempt came to; a failure that goes on is told once.
    fn tell(&self, outcome: &Result<Arc<Credentials>, ProvideError>, changed: bool) {
        match outcome {
            Ok(fresh) => {
                let expires = fresh.expires.map(Timestamp::rfc3339);
                let what = if changed { "credentials have changed" } else { "credentials renewed" };
                info!(source = self.name, provider = &*fresh.provider, expires, "{what}");
            }
            Err(failure) => {
                let text = failure.to_string();
                let known =
                    self.history().last_error.replace(text.clone()).is_some_and(|known| known == text);
                if known {
                    debug!(source = self.name, error = text, "still no new credentials");
                } else {
                    error!(
                        source = self.name,
                        error = text,
                        "no new credentials; what was there before is used for as long as it lasts"
                    );
                }
            }
        }
    }

    /// How long there is nothing to look at.
    fn rest(&self, now: Timestamp) -> Duration {
        let look_every = self.windows().map_or(LOOK_EVERY, |windows| windows.look_every());
        let next = self.history().next;
        match next {
            Some(next) if self.urgency(now).is_some() => {
                next.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(1), look_every)
            }
            Some(_) | None => look_every,
        }
    }

    fn windows(&self) -> Option<Windows> {
        self.current.load().as_deref().and_then(|snapshot| snapshot.windows)
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.urgency(now).is_some() && self.history().next.is_some_and(|next| next <= Instant::now())
    }

    /// How urgent it is to ask the source; `None` if there is no need.
    fn urgency(&self, now: Timestamp) -> Option<Urgency> {
        match self.current.load().as_deref() {
            None => Some(Urgency::Empty),
            Some(snapshot) => snapshot.windows.and_then(|windows| windows.urgency(now)),
        }
    }

    fn has_changed(&self) -> bool {
        let asked = self.history().asked;
        asked.is_some() && self.provider.fingerprint() != asked
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(20);
/// How long a request waits for a source that is being asked.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How many requests wait.
const WAITERS_MAX: usize = 1024;

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
