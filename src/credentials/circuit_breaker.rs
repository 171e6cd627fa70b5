//! Rate limiting and circuit breaking for credential endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::histogram_bounds::BOUNDS_US;
use crate::histogram::{DurationHistogram, HistogramSnapshot};
use crate::transport::Url;

/// All endpoints that were called so far, by URL without the path.
#[derive(Default)]
pub(super) struct EndpointRegistry(Mutex<BTreeMap<String, Arc<CredentialEndpoint>>>);

/// An endpoint of a service that returns credentials.
pub(super) struct CredentialEndpoint {
    state: Mutex<EndpointState>,
    /// The time that calls have waited for the rate limit.
    budget_wait: DurationHistogram,
    flights: Arc<Semaphore>,
}

/// The state of the circuit breaker and of the rate limit of an endpoint.
struct EndpointState {
    /// Failures since the last success.
    failures: u32,
    /// Throttling responses since the last success.
    throttled: u32,
    /// No call is made before this time.
    closed_until: Option<Instant>,
    /// True while a probe is in flight: the call that tests whether the service has recovered.
    probed: bool,
    /// The number of calls that the rate limit allows in a burst, as of `filled`.
    budget: f64,
    filled: Instant,
}

/// The time of the next call.
enum NextCall {
    /// Immediately; the call is counted. `true` if it is a probe.
    Now(bool),
    /// Not before the circuit breaker allows it.
    Closed(Duration),
    /// Not before the rate limit allows it.
    Budget(Duration),
}

/// A snapshot of the state of an endpoint, for operators and metrics.
#[derive(Clone, Debug)]
pub(crate) struct EndpointStatus {
    /// The URL of the endpoint, without the path.
    pub(crate) name: String,
    /// True while the circuit breaker is open.
    pub(crate) is_circuit_open: bool,
    /// The time that calls have waited for the rate limit.
    pub(crate) budget_wait: HistogramSnapshot,
}

/// A permit for one call. If it is dropped without an outcome, the caller abandoned the call, which
/// shows nothing about the endpoint.
pub(super) struct CallPermit {
    endpoint: Arc<CredentialEndpoint>,
    /// True if the call is a probe.
    is_probe: bool,
    noted: bool,
    _flight: Option<OwnedSemaphorePermit>,
}

/// The outcome of a call.
#[derive(Clone, Copy)]
pub(super) enum CallOutcome {
    /// The endpoint responds.
    Answered,
    /// There is no response, or a response with a server error.
    Failed,
    /// The endpoint is throttling, perhaps with a `Retry-After`.
    Throttled(Option<Duration>),
}

impl EndpointRegistry {
    /// Returns the endpoint of this URL, regardless of the path.
    pub(super) fn endpoint(&self, url: &Url) -> Arc<CredentialEndpoint> {
        Arc::clone(self.all().entry(url.to_string()).or_insert_with(|| Arc::new(CredentialEndpoint::new())))
    }

    /// Returns a snapshot of all endpoints.
    pub(super) fn statuses(&self) -> Vec<EndpointStatus> {
        let now = Instant::now();
        let status = |(name, endpoint): (&String, &Arc<CredentialEndpoint>)| EndpointStatus {
            name: name.clone(),
            is_circuit_open: endpoint.state().closed_until.is_some_and(|until| now < until),
            budget_wait: endpoint.budget_wait.snapshot(),
        };
        self.all().iter().map(status).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<CredentialEndpoint>>> {
        self.0.lock()
    }
}

impl CredentialEndpoint {
    fn new() -> Self {
        let state = EndpointState {
            failures: 0,
            throttled: 0,
            closed_until: None,
            probed: false,
            budget: BURST,
            filled: Instant::now(),
        };
        Self {
            state: Mutex::new(state),
            budget_wait: DurationHistogram::new(&BOUNDS_US),
            flights: Arc::new(Semaphore::new(FLIGHTS)),
        }
    }

    /// Waits until a call is allowed.
    pub(super) async fn enter(self: Arc<Self>) -> CallPermit {
        let begun = Instant::now();
        // The semaphore is never closed.
        let flight = Arc::clone(&self.flights).acquire_owned().await.ok();
        let mut waited = begun.elapsed();
        loop {
            let next = self.state().next_call(Instant::now());
            match next {
                NextCall::Now(is_probe) => {
                    self.budget_wait.record(waited);
                    return CallPermit { endpoint: self, is_probe, noted: false, _flight: flight };
                }
                NextCall::Closed(wait) => sleep(wait).await,
                NextCall::Budget(wait) => {
                    sleep(wait).await;
                    waited += wait;
                }
            }
        }
    }

    /// Records the outcome of a call whose permit was already returned.
    pub(super) fn record_late_outcome(&self, outcome: CallOutcome) {
        self.state().record_outcome(outcome, Instant::now());
    }

    fn state(&self) -> MutexGuard<'_, EndpointState> {
        self.state.lock()
    }
}

impl EndpointState {
    fn next_call(&mut self, now: Instant) -> NextCall {
        if let Some(until) = self.closed_until {
            if now < until {
                return NextCall::Closed(until - now);
            }
            if self.probed {
                return NextCall::Closed(PROBE_POLL_INTERVAL);
            }
        }
        self.budget = (self.budget + now.duration_since(self.filled).as_secs_f64() * PER_SECOND).min(BURST);
        self.filled = now;
        if self.budget < 1.0 {
            return NextCall::Budget(Duration::from_secs_f64((1.0 - self.budget) / PER_SECOND));
        }
        self.budget -= 1.0;
        self.probed = self.closed_until.is_some();
        NextCall::Now(self.probed)
    }

    fn record_outcome(&mut self, outcome: CallOutcome, now: Instant) {
        self.probed = false;
        match outcome {
            CallOutcome::Answered => (self.failures, self.throttled, self.closed_until) = (0, 0, None),
            CallOutcome::Failed => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= FAILURES_MAX {
                    self.closed_until = Some(now + CLOSED);
                }
            }
            CallOutcome::Throttled(wanted) => {
                let doubled =
                    THROTTLED_MIN.saturating_mul(1_u32.checked_shl(self.throttled).unwrap_or(u32::MAX));
                self.throttled = self.throttled.saturating_add(1);
                let wanted = wanted.unwrap_or(doubled);
                self.closed_until = Some(now + wanted.clamp(THROTTLED_MIN, THROTTLED_MAX));
            }
        }
    }
}

impl CallPermit {
    pub(super) fn report_outcome(mut self, outcome: CallOutcome) {
        self.noted = true;
        self.endpoint.state().record_outcome(outcome, Instant::now());
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        // guard: probe-is-passed-on
        if !self.noted && self.is_probe {
            // The next caller becomes the probe.
            self.endpoint.state().probed = false;
        }
    }
}

/// The number of consecutive failures that open the circuit breaker.
const FAILURES_MAX: u32 = 5;
/// The time for which it is open, after which one probe is sent. With the `SILENT_AFTER` of a call
/// this bounds how late the recovery of an unresponsive service is detected.
const CLOSED: Duration = Duration::from_millis(1_500);
/// The bounds of the pause after a throttling response. Without a `Retry-After` the pause starts at
/// the lower one and doubles each time.
const THROTTLED_MIN: Duration = Duration::from_secs(3);
const THROTTLED_MAX: Duration = Duration::from_secs(15);
/// The interval at which callers check whether the probe has ended.
const PROBE_POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The limit on concurrent calls. Unresponsive calls do not count, so that they block no other.
const FLIGHTS: usize = 8;
/// STS allows 100 calls per second for an account and all its users; this is the share of one
/// proxy.
const PER_SECOND: f64 = 20.0;
const BURST: f64 = 40.0;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{CallOutcome, CredentialEndpoint};

    async fn call(endpoint: &Arc<CredentialEndpoint>, outcome: CallOutcome) -> f64 {
        let begun = Instant::now();
        Arc::clone(endpoint).enter().await.report_outcome(outcome);
        (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_is_left_alone_and_then_asked_by_one_alone() {
        let endpoint = Arc::new(CredentialEndpoint::new());
        for _ in 0..5 {
            assert_eq!(call(&endpoint, CallOutcome::Failed).await.to_bits(), 0.0_f64.to_bits());
        }
        let probe = Arc::clone(&endpoint).enter().await;
        let begun = Instant::now();
        let (waited, ()) = tokio::join!(
            async {
                Arc::clone(&endpoint).enter().await.report_outcome(CallOutcome::Answered);
                begun.elapsed()
            },
            async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                probe.report_outcome(CallOutcome::Answered);
            }
        );
        assert!((2.0..2.2).contains(&waited.as_secs_f64()), "who comes while it is asked waits: {waited:?}");
        assert!(call(&endpoint, CallOutcome::Answered).await < 0.1);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_leave_say_nothing_about_the_service() {
        let endpoint = Arc::new(CredentialEndpoint::new());
        for _ in 0..20 {
            drop(Arc::clone(&endpoint).enter().await);
        }
        assert!(call(&endpoint, CallOutcome::Answered).await < 0.1, "it is not left alone");
        for _ in 0..5 {
            call(&endpoint, CallOutcome::Failed).await;
        }
        let probe = Arc::clone(&endpoint).enter().await;
        drop(probe);
        let next = tokio::time::timeout(Duration::from_secs(60), call(&endpoint, CallOutcome::Answered));
        assert!(next.await.is_ok_and(|waited| waited < 0.1), "the next one finds out at once");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_asked_too_much_is_left_alone_for_longer_each_time() {
        let endpoint = Arc::new(CredentialEndpoint::new());
        let mut waits = Vec::new();
        for wanted in [None, None, None, None, Some(Duration::from_secs(7)), Some(Duration::from_secs(900))] {
            waits.push(call(&endpoint, CallOutcome::Throttled(wanted)).await);
        }
        waits.push(call(&endpoint, CallOutcome::Answered).await);
        assert_eq!(format!("{waits:?}"), "[0.0, 3.0, 6.0, 12.0, 15.0, 7.0, 15.0]");
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_of_calls_is_kept() {
        let endpoint = Arc::new(CredentialEndpoint::new());
        let begun = Instant::now();
        for _ in 0..100 {
            Arc::clone(&endpoint).enter().await.report_outcome(CallOutcome::Answered);
        }
        let took = begun.elapsed().as_secs_f64();
        assert!((2.9..3.2).contains(&took), "40 at once, then 20 a second: {took}");
        let waited = endpoint.budget_wait.snapshot();
        assert_eq!(waited.count(), 100);
        assert!((waited.sum_s() - took).abs() < 0.2, "who waits for the budget is counted: {waited:?}");
    }
}
