//! Services that give credentials, as the whole process asks them: however many sources ask the same one, it is not asked more
//! than it bears, and one that fails again and again is left alone for a while.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::HeaderMap;
use http::header::RETRY_AFTER;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::durations::{Durations, Noted};
use crate::transport::{Ask, FetchError, Fetcher, Reply, Url, Within};

/// A service.
struct Endpoint {
    state: Mutex<State>,
    /// How long calls have waited for the budget.
    budget_wait: Durations,
    flights: Arc<Semaphore>,
}

/// What is known of it.
struct State {
    /// Failures since the last success.
    failures: u32,
    /// How often it has said that it is asked too much, since the last success.
    throttled: u32,
    /// Until then it is not asked.
    closed_until: Option<Instant>,
    /// Whether somebody is finding out if it has come back.
    probed: bool,
    /// How many calls may be made at once at `filled`.
    budget: f64,
    filled: Instant,
}

/// When the next call may be made.
enum Turn {
    /// Now; it is counted. `true` if the call finds out whether the service has come back.
    Now(bool),
    /// Not before it has been left alone for so long.
    Closed(Duration),
    /// Not before the budget allows it.
    Budget(Duration),
}

/// What a person and a monitor are told of a service.
#[derive(Clone, Debug)]
pub struct EndpointStatus {
    /// Where it is.
    pub name: String,
    /// Whether it is left alone just now.
    pub is_left_alone: bool,
    /// How long calls have waited for the budget.
    pub budget_wait: Noted,
}

/// The right to ask once. Dropped without an outcome it says nothing about the service: the caller has left.
struct Pass {
    endpoint: Arc<Endpoint>,
    /// Whether the call finds out if the service has come back.
    is_probe: bool,
    noted: bool,
    _flight: Option<OwnedSemaphorePermit>,
}

/// What came of it.
#[derive(Clone, Copy)]
enum Outcome {
    /// It answers.
    Answered,
    /// It does not, or says that it cannot.
    Failed,
    /// It says that it is asked too much, and perhaps for how long it wants to be left alone.
    Throttled(Option<Duration>),
}

/// Asks as soon as the service may be asked. While it is silent it is asked again, with a request that `again` makes, and the first
/// response counts: a response that was lost on the way must not hold up the next.
///
/// # Errors
/// Those of the fetch; an answer of any status is an answer.
pub(super) async fn ask(
    fetcher: &Fetcher,
    first: Ask,
    again: impl Fn() -> Option<Ask>,
    within: Within,
) -> Result<Reply, FetchError> {
    let endpoint = Endpoint::of(&first.url);
    let silent = Notify::new();
    let mut calls = FuturesUnordered::new();
    calls.push(call(&endpoint, fetcher, first, within, &silent));
    let mut calls_left = CALLS_MAX - 1;
    loop {
        tokio::select! {
            biased;
            Some(reply) = calls.next() => {
                // A call that fails decides nothing while another may be answered; one that took all its time does.
                let late = matches!(reply, Err(FetchError::Late(..) | FetchError::ConnectLate(..)));
                if calls.is_empty() || late || matches!(outcome(&reply), Outcome::Answered) {
                    return reply;
                }
            }
            () = silent.notified(), if calls_left > 0 => {
                calls_left -= 1;
                calls.extend(again().map(|ask| call(&endpoint, fetcher, ask, within, &silent)));
            }
        }
    }
}

/// Makes one call, and reports it to `silent` and to the endpoint if there is no response for a while.
async fn call(
    endpoint: &Arc<Endpoint>,
    fetcher: &Fetcher,
    ask: Ask,
    within: Within,
    silent: &Notify,
) -> Result<Reply, FetchError> {
    let pass = Arc::clone(endpoint).enter().await;
    let mut fetched = pin!(fetcher.fetch(ask, within));
    let reply = tokio::select! {
        biased;
        reply = fetched.as_mut() => reply,
        () = sleep(SILENT_AFTER) => {
            // Others need not wait behind it.
            pass.note(Outcome::Failed);
            silent.notify_one();
            let reply = fetched.await;
            if reply.is_ok() {
                endpoint.state().note(outcome(&reply), Instant::now());
            }
            return reply;
        }
    };
    pass.note(outcome(&reply));
    reply
}

fn outcome(reply: &Result<Reply, FetchError>) -> Outcome {
    match reply {
        Err(_) => Outcome::Failed,
        Ok(reply) if is_throttled(reply) => Outcome::Throttled(retry_after(&reply.headers)),
        Ok(reply) if reply.status >= 500 => Outcome::Failed,
        Ok(_) => Outcome::Answered,
    }
}

/// The services that were asked so far.
#[must_use]
pub fn endpoints() -> Vec<EndpointStatus> {
    let all = all().lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let mut told: Vec<_> = all
        .iter()
        .map(|(name, endpoint)| {
            let state = endpoint.state();
            EndpointStatus {
                name: name.clone(),
                is_left_alone: state.closed_until.is_some_and(|until| now < until),
                budget_wait: endpoint.budget_wait.noted(),
            }
        })
        .collect();
    told.sort_by(|a, b| a.name.cmp(&b.name));
    told
}

fn all() -> &'static Mutex<HashMap<String, Arc<Endpoint>>> {
    static ALL: LazyLock<Mutex<HashMap<String, Arc<Endpoint>>>> = LazyLock::new(Mutex::default);
    &ALL
}

fn is_throttled(reply: &Reply) -> bool {
    let words = || reply.body.windows(THROTTLING.len()).any(|words| words == THROTTLING);
    reply.status == 429 || (matches!(reply.status, 400 | 403 | 503) && words())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

impl Endpoint {
    /// The one at this URL, whatever the path.
    fn of(url: &Url) -> Arc<Self> {
        let mut all = all().lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(url.to_string()).or_insert_with(|| Arc::new(Self::new())))
    }

    fn new() -> Self {
        let state = State {
            failures: 0,
            throttled: 0,
            closed_until: None,
            probed: false,
            budget: BURST,
            filled: Instant::now(),
        };
        Self {
            state: Mutex::new(state),
            budget_wait: Durations::default(),
            flights: Arc::new(Semaphore::new(FLIGHTS)),
        }
    }

    /// Waits until it may be asked.
    async fn enter(self: Arc<Self>) -> Pass {
        let begun = Instant::now();
        // It is never closed.
        let flight = Arc::clone(&self.flights).acquire_owned().await.ok();
        let mut waited = begun.elapsed();
        loop {
            let turn = self.state().turn(Instant::now());
            match turn {
                Turn::Now(is_probe) => {
                    self.budget_wait.note(waited);
                    return Pass { endpoint: self, is_probe, noted: false, _flight: flight };
                }
                Turn::Closed(wait) => sleep(wait).await,
                Turn::Budget(wait) => {
                    sleep(wait).await;
                    waited += wait;
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn turn(&mut self, now: Instant) -> Turn {
        if let Some(until) = self.closed_until {
            if now < until {
                return Turn::Closed(until - now);
            }
            if self.probed {
                return Turn::Closed(PROBE_LOOK);
            }
        }
        self.budget = (self.budget + now.duration_since(self.filled).as_secs_f64() * PER_SECOND).min(BURST);
        self.filled = now;
        if self.budget < 1.0 {
            return Turn::Budget(Duration::from_secs_f64((1.0 - self.budget) / PER_SECOND));
        }
        self.budget -= 1.0;
        self.probed = self.closed_until.is_some();
        Turn::Now(self.probed)
    }

    fn note(&mut self, outcome: Outcome, now: Instant) {
        self.probed = false;
        match outcome {
            Outcome::Answered => (self.failures, self.throttled, self.closed_until) = (0, 0, None),
            Outcome::Failed => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= FAILURES_MAX {
                    self.closed_until = Some(now + CLOSED);
                }
            }
            Outcome::Throttled(wanted) => {
                let doubled =
                    THROTTLED_MIN.saturating_mul(1_u32.checked_shl(self.throttled).unwrap_or(u32::MAX));
                self.throttled = self.throttled.saturating_add(1);
                let wanted = wanted.unwrap_or(doubled);
                self.closed_until = Some(now + wanted.clamp(THROTTLED_MIN, THROTTLED_MAX));
            }
        }
    }
}

impl Pass {
    fn note(mut self, outcome: Outcome) {
        self.noted = true;
        self.endpoint.state().note(outcome, Instant::now());
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // guard: probe-is-passed-on
        if !self.noted && self.is_probe {
            // The next caller finds out in its place.
            self.endpoint.state().probed = false;
        }
    }
}

/// So many failures in a row, and it is left alone …
const FAILURES_MAX: u32 = 5;
/// … for so long; then one call finds out whether it has come back. With [`SILENT_AFTER`] this bounds how long it takes to see
/// that a service has come back after it was silent.
const CLOSED: Duration = Duration::from_millis(1_500);
/// A service without a response for this long counts as failing, and is asked once more beside the call that waits.
const SILENT_AFTER: Duration = Duration::from_secs(2);
/// Calls that one attempt makes, the first included.
const CALLS_MAX: usize = 4;
/// One that says it is asked too much is left alone for this long, and for twice as long each time, up to the second.
const THROTTLED_MIN: Duration = Duration::from_secs(3);
const THROTTLED_MAX: Duration = Duration::from_secs(15);
/// How often those look that wait for the one who finds out.
const PROBE_LOOK: Duration = Duration::from_millis(50);
/// Calls that are made at once, but for those that have been silent for a while: they hold up no other.
const FLIGHTS: usize = 8;
/// STS bears a hundred calls a second for an account with all who use it; this is our part.
const PER_SECOND: f64 = 20.0;
const BURST: f64 = 40.0;
/// What its code begins with when STS is asked too much.
const THROTTLING: &[u8] = b"\"Throttling";

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Endpoint, Outcome};

    async fn call(endpoint: &Arc<Endpoint>, outcome: Outcome) -> f64 {
        let begun = Instant::now();
        Arc::clone(endpoint).enter().await.note(outcome);
        (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_is_left_alone_and_then_asked_by_one_alone() {
        let endpoint = Arc::new(Endpoint::new());
        for _ in 0..5 {
            assert_eq!(call(&endpoint, Outcome::Failed).await.to_bits(), 0.0_f64.to_bits());
        }
        let probe = Arc::clone(&endpoint).enter().await;
        let begun = Instant::now();
        let (waited, ()) = tokio::join!(
            async {
                Arc::clone(&endpoint).enter().await.note(Outcome::Answered);
                begun.elapsed()
            },
            async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                probe.note(Outcome::Answered);
            }
        );
        assert!((2.0..2.2).contains(&waited.as_secs_f64()), "who comes while it is asked waits: {waited:?}");
        assert!(call(&endpoint, Outcome::Answered).await < 0.1);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_leave_say_nothing_about_the_service() {
        let endpoint = Arc::new(Endpoint::new());
        for _ in 0..20 {
            drop(Arc::clone(&endpoint).enter().await);
        }
        assert!(call(&endpoint, Outcome::Answered).await < 0.1, "it is not left alone");
        for _ in 0..5 {
            call(&endpoint, Outcome::Failed).await;
        }
        let probe = Arc::clone(&endpoint).enter().await;
        drop(probe);
        let next = tokio::time::timeout(Duration::from_secs(60), call(&endpoint, Outcome::Answered));
        assert!(next.await.is_ok_and(|waited| waited < 0.1), "the next one finds out at once");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_asked_too_much_is_left_alone_for_longer_each_time() {
        let endpoint = Arc::new(Endpoint::new());
        let mut waits = Vec::new();
        for wanted in [None, None, None, None, Some(Duration::from_secs(7)), Some(Duration::from_secs(900))] {
            waits.push(call(&endpoint, Outcome::Throttled(wanted)).await);
        }
        waits.push(call(&endpoint, Outcome::Answered).await);
        assert_eq!(format!("{waits:?}"), "[0.0, 3.0, 6.0, 12.0, 15.0, 7.0, 15.0]");
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_of_calls_is_kept() {
        let endpoint = Arc::new(Endpoint::new());
        let begun = Instant::now();
        for _ in 0..100 {
            Arc::clone(&endpoint).enter().await.note(Outcome::Answered);
        }
        let took = begun.elapsed().as_secs_f64();
        assert!((2.9..3.2).contains(&took), "40 at once, then 20 a second: {took}");
        let waited = endpoint.budget_wait.noted();
        assert_eq!(waited.count, 100);
        assert!((waited.sum_s - took).abs() < 0.2, "who waits for the budget is counted: {waited:?}");
    }
}
