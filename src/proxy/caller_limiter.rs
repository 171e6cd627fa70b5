//! The limits of a caller: a request that exceeds one waits for a bounded time, in the order of
//! arrival, and is rejected then. The state is shared by all workers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::caller::CallerLimits;
use crate::telemetry::CallerMetrics;
use crate::transport::{BodyThrottle, RateBucket};

/// The state of the limits of a caller. A reload keeps it if the limits are the same.
#[derive(Debug)]
pub(crate) struct CallerLimiter {
    caller: Arc<str>,
    limits: CallerLimits,
    /// The permits of requests in flight. They are granted in the order of arrival.
    requests: Option<Arc<Semaphore>>,
    rate: Option<Arc<RateBucket>>,
    upload: Option<Arc<RateBucket>>,
    download: Option<Arc<RateBucket>>,
    /// The number of requests that wait.
    waiting: AtomicUsize,
}

/// The permit of a request of a caller with limits. It counts as in flight until it is dropped.
pub(crate) struct CallerPermit {
    limiter: Arc<CallerLimiter>,
    _request: Option<OwnedSemaphorePermit>,
}

/// The limit of a caller that rejects a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallerLimitError {
    /// The requests in flight.
    #[error(
        "caller {caller} has {limit} requests in flight, which is its limit, and none ended within {waited:?}; send fewer at a time"
    )]
    Requests {
        /// The name of the caller.
        caller: Arc<str>,
        /// The limit.
        limit: usize,
        /// The time spent in the queue.
        waited: Duration,
    },
    /// The requests per second.
    #[error("caller {caller} sends more than {limit} requests per second, which is its limit; send fewer")]
    Rate {
        /// The name of the caller.
        caller: Arc<str>,
        /// The limit.
        limit: u64,
    },
    /// The queue is full.
    #[error("{WAITING_MAX} requests of caller {caller} already wait for its limits; send fewer at a time")]
    Queue {
        /// The name of the caller.
        caller: Arc<str>,
    },
}

/// A request that waits; dropping it ends the wait.
struct WaitingRequest<'a> {
    limiter: &'a CallerLimiter,
    metrics: &'a CallerMetrics,
}

impl CallerLimiter {
    /// Creates the state of a caller without requests.
    #[must_use]
    pub(crate) fn new(caller: Arc<str>, limits: CallerLimits) -> Self {
        let bucket = |per_second| Arc::new(RateBucket::new(per_second));
        Self {
            caller,
            limits,
            requests: limits.requests.map(|limit| Arc::new(Semaphore::new(limit))),
            rate: limits.rate.map(bucket),
            upload: limits.upload.map(bucket),
            download: limits.download.map(bucket),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Returns whether the state is for this caller and these limits.
    pub(super) fn is_for(&self, caller: &str, limits: CallerLimits) -> bool {
        *self.caller == *caller && self.limits == limits
    }

    /// Returns the name of the caller.
    pub(super) fn caller(&self) -> &str {
        &self.caller
    }

    /// Begins a request that need not wait.
    pub(super) fn begin(self: &Arc<Self>) -> Option<CallerPermit> {
        let request = match &self.requests {
            Some(requests) => Some(Arc::clone(requests).try_acquire_owned().ok()?),
            None => None,
        };
        if let Some(rate) = &self.rate {
            let reservation = rate.reserve_one(Duration::ZERO)?;
            // Within the burst it may be used at once.
            drop(reservation);
        }
        Some(CallerPermit { limiter: Arc::clone(self), _request: request })
    }

    /// Begins a request after waiting for the limits, for at most `wait_max`. If the future is
    /// dropped, the request takes no part of them.
    pub(super) async fn wait(
        self: &Arc<Self>,
        wait_max: Duration,
        metrics: &CallerMetrics,
    ) -> Result<CallerPermit, CallerLimitError> {
        let began = self.wait_in_turn(wait_max, metrics).await;
        if began.is_err() {
            metrics.on_limit_rejection();
        }
        began
    }

    async fn wait_in_turn(
        self: &Arc<Self>,
        wait_max: Duration,
        metrics: &CallerMetrics,
    ) -> Result<CallerPermit, CallerLimitError> {
        let _waiting = WaitingRequest::begin(self, metrics)?;
        let deadline = Instant::now() + wait_max;
        let mut request = None;
        if let Some(requests) = &self.requests {
            let granted = timeout_at(deadline, Arc::clone(requests).acquire_owned()).await;
            // The semaphore is never closed.
            request = granted.ok().and_then(Result::ok);
            if request.is_none() {
                let limit = self.limits.requests.unwrap_or_default();
                return Err(CallerLimitError::Requests {
                    caller: Arc::clone(&self.caller),
                    limit,
                    waited: wait_max,
                });
            }
        }
        if let Some(rate) = &self.rate {
            let left = deadline.saturating_duration_since(Instant::now());
            let reservation = rate.reserve_one(left).ok_or_else(|| CallerLimitError::Rate {
                caller: Arc::clone(&self.caller),
                limit: rate.per_second(),
            })?;
            sleep_until(reservation.starts_at()).await;
        }
        Ok(CallerPermit { limiter: Arc::clone(self), _request: request })
    }
}

impl CallerPermit {
    /// Returns the limit on bytes of request bodies, shared by the requests of the caller.
    pub(super) fn upload(&self) -> Option<&Arc<RateBucket>> {
        self.limiter.upload.as_ref()
    }

    /// Creates the throttle of a response body, if the bytes of the caller are limited.
    pub(super) fn download_throttle(&self) -> Option<BodyThrottle> {
        self.limiter.download.as_ref().map(|bucket| BodyThrottle::new(Arc::clone(bucket)))
    }
}

impl fmt::Debug for CallerPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerPermit").field("caller", &self.limiter.caller).finish_non_exhaustive()
    }
}

impl<'a> WaitingRequest<'a> {
    fn begin(limiter: &'a CallerLimiter, metrics: &'a CallerMetrics) -> Result<Self, CallerLimitError> {
        let another = |waiting| (waiting < WAITING_MAX).then_some(waiting + 1);
        if limiter.waiting.fetch_update(Relaxed, Relaxed, another).is_err() {
            return Err(CallerLimitError::Queue { caller: Arc::clone(&limiter.caller) });
        }
        metrics.on_wait_start();
        Ok(Self { limiter, metrics })
    }
}

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        self.limiter.waiting.fetch_sub(1, Relaxed);
        self.metrics.on_wait_end();
    }
}

/// The maximum number of requests of a caller that wait. Each of them counts against the limits of
/// the process, which others need too.
const WAITING_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::num::NonZeroU64;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::time::{Instant, advance, sleep};

    use super::{CallerLimitError, CallerLimiter, CallerLimits, CallerMetrics, CallerPermit, WAITING_MAX};

    fn limiter(requests: Option<usize>, rate: Option<u64>) -> Arc<CallerLimiter> {
        let limits =
            CallerLimits { requests, rate: rate.and_then(NonZeroU64::new), ..CallerLimits::default() };
        Arc::new(CallerLimiter::new("team-a".into(), limits))
    }

    async fn wait(
        limiter: &Arc<CallerLimiter>,
        wait_max: Duration,
    ) -> Result<CallerPermit, CallerLimitError> {
        limiter.wait(wait_max, &CallerMetrics::default()).await
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn requests_that_wait_are_served_in_the_order_of_arrival() {
        for limiter in [limiter(Some(1), None), limiter(None, Some(1)), limiter(Some(2), Some(1))] {
            let first = limiter.begin().expect("a permit");
            let order = RefCell::new(Vec::new());
            let requests = (0..10).map(|number| {
                let (limiter, order) = (&limiter, &order);
                async move {
                    let permit = wait(limiter, 60 * SECOND).await.expect("a permit");
                    order.borrow_mut().push(number);
                    sleep(SECOND).await;
                    drop(permit);
                }
            });
            let begun = Instant::now();
            tokio::join!(join_all(requests), async move {
                sleep(SECOND).await;
                drop(first);
            });
            assert_eq!(*order.borrow(), (0..10).collect::<Vec<_>>());
            assert!((10..=12).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_after_its_limit_with_the_reason() {
        let requests = limiter(Some(1), None);
        let held = requests.begin().expect("a permit");
        assert!(requests.begin().is_none());
        let begun = Instant::now();
        let error = wait(&requests, SECOND).await.expect_err("no permit");
        assert_eq!(error, CallerLimitError::Requests { caller: "team-a".into(), limit: 1, waited: SECOND });
        assert_eq!(begun.elapsed(), SECOND);
        drop(held);
        assert!(requests.begin().is_some());
        // The wait would be too long, so it does not begin.
        let rate = limiter(None, Some(1));
        rate.begin().expect("a permit");
        let begun = Instant::now();
        let error = wait(&rate, SECOND / 2).await.expect_err("no permit");
        assert_eq!(error, CallerLimitError::Rate { caller: "team-a".into(), limit: 1 });
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_dropped_takes_no_part_of_the_limits() {
        let limiter = limiter(Some(2), Some(4));
        let metrics = CallerMetrics::default();
        let held: Vec<_> = (0..2).map(|_| limiter.begin().expect("a permit")).collect();
        for _ in 0..50 {
            let mut waiting = pin!(limiter.wait(60 * SECOND, &metrics));
            assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(limiter.waiting.load(Relaxed), 1);
        }
        drop(held);
        // Now they wait for the rate.
        for _ in 0..50 {
            let mut waiting = pin!(limiter.wait(60 * SECOND, &metrics));
            assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(limiter.waiting.load(Relaxed), 0);
        let begun = Instant::now();
        assert!(limiter.wait(SECOND, &metrics).await.is_ok());
        assert!(begun.elapsed() <= SECOND / 2, "{:?}", begun.elapsed());
        advance(SECOND).await;
        assert!(limiter.begin().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_requests_that_wait_is_bounded() {
        let limiter = limiter(Some(1), None);
        let held = limiter.begin().expect("a permit");
        let waits = join_all((0..2 * WAITING_MAX).map(|_| wait(&limiter, SECOND))).await;
        let full = |wait: &&Result<_, _>| matches!(wait, Err(CallerLimitError::Queue { .. }));
        assert_eq!(waits.iter().filter(full).count(), WAITING_MAX);
        assert!(waits.iter().all(Result::is_err));
        drop(held);
        assert!(wait(&limiter, SECOND).await.is_ok());
    }
}
