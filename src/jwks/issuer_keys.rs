//! The keys of one issuer, and when they are fetched: regularly, and on demand of a request whose key
//! is unknown. Clients choose the key ids in their tokens, so the demand is limited to one fetch a
//! minute for all of them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::key_request::{KeyRequestError, KeyRequester, KeySetConfig};
use crate::caller::JwtKeySet;

/// The keys of an issuer.
pub(crate) struct IssuerKeys {
    requester: KeyRequester,
    keys: ArcSwapOption<JwtKeySet>,
    state: Mutex<FetchState>,
    /// Notified when a request needs a fetch.
    demand: Notify,
    /// The number of fetches that have ended.
    ended: watch::Sender<u64>,
    /// A permit for each request that may wait for a fetch.
    waiting: Semaphore,
}

/// The state of the fetches of an issuer.
struct FetchState {
    /// `true` while a fetch is in progress or about to begin.
    is_fetching: bool,
    /// The time of the last fetch on demand.
    demanded: Option<Instant>,
    /// The time of the last successful fetch.
    fetched: Option<Instant>,
    successes: u64,
    failures: u64,
    /// The failures since the last success.
    failures_in_row: u32,
    /// The last failure that was logged as a warning.
    warned: Option<LoggedFailure>,
}

struct LoggedFailure {
    text: String,
    at: Instant,
}

/// A snapshot of the keys of an issuer, for metrics.
#[derive(Clone, Debug)]
pub(crate) struct KeySetStatus {
    /// The issuer.
    pub(crate) issuer: String,
    /// The number of keys.
    pub(crate) keys: usize,
    /// The time since the last successful fetch; `None` before it.
    pub(crate) age: Option<Duration>,
    /// The number of successful fetches.
    pub(crate) successes: u64,
    /// The number of failed fetches.
    pub(crate) failures: u64,
}

impl IssuerKeys {
    /// Creates the state of an issuer whose keys will be fetched by [`Self::run`].
    pub(super) fn new(config: KeySetConfig) -> Self {
        let state = FetchState {
            is_fetching: true,
            demanded: None,
            fetched: None,
            successes: 0,
            failures: 0,
            failures_in_row: 0,
            warned: None,
        };
        Self {
            requester: KeyRequester::new(config),
            keys: ArcSwapOption::empty(),
            state: Mutex::new(state),
            demand: Notify::new(),
            ended: watch::Sender::new(0),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    pub(super) fn config(&self) -> &KeySetConfig {
        self.requester.config()
    }

    /// Returns the current keys; `None` if there are none yet.
    pub(super) fn keys(&self) -> Option<Arc<JwtKeySet>> {
        self.keys.load_full()
    }

    /// Fetches the keys regularly and on demand. Never returns.
    pub(crate) async fn run(&self) {
        loop {
            self.fetch().await;
            let pause = self.state.lock().pause();
            tokio::select! {
                () = sleep(pause) => self.state.lock().is_fetching = true,
                () = self.demand.notified() => {}
            }
        }
    }

    /// Waits until a fetch has ended that may bring the key of a request, but only for a few seconds.
    /// Does not wait if the last fetch on demand was within a minute, or if many requests wait.
    pub(super) async fn refreshed(&self) {
        // guard: few-wait-for-keys
        let Ok(_permit) = self.waiting.try_acquire() else { return };
        let mut ended = self.ended.subscribe();
        if self.state.lock().demand(Instant::now(), &self.demand) {
            // Without a result in time, the request is rejected with the keys that are known.
            let _ = timeout(WAIT_MAX, ended.changed()).await;
        }
    }

    /// Fetches the keys once, without [`Self::run`]. There is no fetch on demand soon after it.
    pub(super) async fn fetch_once(&self) {
        self.state.lock().demanded = Some(Instant::now());
        self.fetch().await;
    }

    async fn fetch(&self) {
        let result = self.requester.request().await;
        let now = Instant::now();
        let mut state = self.state.lock();
        let issuer = &self.config().issuer;
        match result {
            Ok(keys) => {
                if state.failures_in_row > 0 {
                    info!(issuer, keys = keys.key_count(), "fetched the keys of a token issuer again");
                }
                self.keys.store(Some(keys));
                state.succeeded(now);
            }
            Err(error) => state.failed(issuer, &error, now),
        }
        state.is_fetching = false;
        drop(state);
        self.ended.send_modify(|ended| *ended += 1);
    }

    /// Returns a snapshot.
    pub(super) fn status(&self) -> KeySetStatus {
        let state = self.state.lock();
        KeySetStatus {
            issuer: self.config().issuer.clone(),
            keys: self.keys().map_or(0, |keys| keys.key_count()),
            age: state.fetched.map(|at| at.elapsed()),
            successes: state.successes,
            failures: state.failures,
        }
    }
}

impl FetchState {
    /// Returns whether a fetch is in progress, or begins one if the last one on demand is long ago.
    fn demand(&mut self, now: Instant, demand: &Notify) -> bool {
        if self.is_fetching {
            return true;
        }
        // guard: one-fetch-a-minute
        if self.demanded.is_some_and(|at| now.duration_since(at) < DEMAND_INTERVAL) {
            return false;
        }
        self.demanded = Some(now);
        self.is_fetching = true;
        demand.notify_one();
        true
    }

    fn succeeded(&mut self, now: Instant) {
        self.fetched = Some(now);
        self.successes += 1;
        self.failures_in_row = 0;
        self.warned = None;
    }

    /// Records and logs a failure. The same failure is a warning only once in a while.
    fn failed(&mut self, issuer: &str, error: &KeyRequestError, now: Instant) {
        self.failures += 1;
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        let text = error.to_string();
        let is_known =
            |known: &LoggedFailure| known.text == text && now.duration_since(known.at) < WARN_INTERVAL;
        if self.warned.as_ref().is_some_and(is_known) {
            debug!(issuer, error = text, "still cannot fetch the keys of a token issuer");
        } else {
            let kept = self.fetched.is_some();
            warn!(issuer, error = text, kept, "cannot fetch the keys of a token issuer; known keys are kept");
            self.warned = Some(LoggedFailure { text, at: now });
        }
    }

    /// Returns the time until the next regular fetch.
    fn pause(&self) -> Duration {
        match self.failures_in_row {
            0 => REFRESH_INTERVAL,
            failures => (RETRY_MIN * 2_u32.saturating_pow(failures - 1)).min(RETRY_MAX),
        }
    }
}

/// The interval of regular fetches. Issuers publish a new key some time before they use it.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// The pause after the first failure. It doubles up to `RETRY_MAX`.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// The minimum time between two fetches on demand.
const DEMAND_INTERVAL: Duration = Duration::from_secs(60);
/// The limit on the time that a request waits for a fetch.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// The limit on requests that wait for a fetch. Further ones are rejected immediately.
const WAITING_MAX: usize = 64;
/// The interval of warnings about an unchanged failure.
const WARN_INTERVAL: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
