//! A limit on units per second, shared by threads: the generic cell rate algorithm, with
//! reservations.
//!
//! Written by hand: `governor` decides only whether something conforms now. Its waits have no order
//! and no bound, and nothing can be given back. A reservation has a time from the start, so that
//! waits are in the order of arrival, and one that would be too long is rejected at once.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// A limit on units per second. It is one number, so there is neither a timer nor a queue.
#[derive(Debug)]
pub(crate) struct RateBucket {
    per_second: NonZeroU64,
    epoch: Instant,
    /// The nanoseconds from the epoch to the time at which everything taken so far is replaced.
    replaced_at_ns: AtomicU64,
}

/// Units taken from a bucket. If they are dropped before their time, the bucket gets them back.
#[derive(Debug)]
pub(crate) struct RateReservation {
    bucket: Arc<RateBucket>,
    cost_ns: u64,
    starts_at: Instant,
}

impl RateBucket {
    /// Creates a full bucket.
    #[must_use]
    pub(crate) fn new(per_second: NonZeroU64) -> Self {
        Self { per_second, epoch: Instant::now(), replaced_at_ns: AtomicU64::new(0) }
    }

    /// Returns the limit.
    #[must_use]
    pub(crate) fn per_second(&self) -> u64 {
        self.per_second.get()
    }

    /// Takes one unit. Returns `None` if its time is later than `wait_max` from now.
    pub(crate) fn reserve_one(self: &Arc<Self>, wait_max: Duration) -> Option<RateReservation> {
        let now_ns = self.now_ns();
        let latest_ns = now_ns.saturating_add(nanoseconds(wait_max)).saturating_add(BURST_NS);
        self.take(1, now_ns, latest_ns)
    }

    /// Takes a number of units, however late their time is.
    pub(crate) fn reserve(self: &Arc<Self>, units: u64) -> Option<RateReservation> {
        self.take(units, self.now_ns(), u64::MAX)
    }

    fn take(self: &Arc<Self>, units: u64, now_ns: u64, latest_ns: u64) -> Option<RateReservation> {
        let cost_ns = u128::from(units) * NS_PER_S / u128::from(self.per_second.get());
        let cost_ns = u64::try_from(cost_ns).unwrap_or(u64::MAX);
        let after = |at: u64| {
            let from = at.max(now_ns);
            (from <= latest_ns).then(|| from.saturating_add(cost_ns))
        };
        let before = self.replaced_at_ns.fetch_update(Relaxed, Relaxed, after).ok()?;
        let starts_at = Duration::from_nanos(before.max(now_ns).saturating_sub(BURST_NS));
        Some(RateReservation { bucket: Arc::clone(self), cost_ns, starts_at: self.epoch + starts_at })
    }

    fn now_ns(&self) -> u64 {
        nanoseconds(self.epoch.elapsed())
    }
}

impl RateReservation {
    /// Returns the time from which the units may be used.
    #[must_use]
    pub(crate) fn starts_at(&self) -> Instant {
        self.starts_at
    }
}

impl Drop for RateReservation {
    fn drop(&mut self) {
        if Instant::now() < self.starts_at {
            // The number includes the cost of each reservation whose time has not come.
            self.bucket.replaced_at_ns.fetch_sub(self.cost_ns, Relaxed);
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const NS_PER_S: u128 = 1_000_000_000;
/// How far use may be ahead of the rate: a quarter of a second. Timers are late by a millisecond or
/// more, so without it a caller could not reach its limit.
const BURST_NS: u64 = 250_000_000;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{RateBucket, RateReservation};

    fn bucket(per_second: u64) -> Arc<RateBucket> {
        Arc::new(RateBucket::new(NonZeroU64::new(per_second).expect("a rate")))
    }

    /// Returns the milliseconds until a reservation may be used.
    fn ms(reservation: Option<&RateReservation>) -> Option<u128> {
        let starts_at = reservation?.starts_at();
        Some(starts_at.saturating_duration_since(Instant::now()).as_millis())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn reservations_follow_each_other_at_the_rate_after_a_short_burst() {
        let bucket = bucket(20);
        let all: Vec<_> = (0..10).map(|_| bucket.reserve_one(LONG)).collect();
        let waits: Vec<_> = all.iter().map(|reservation| ms(reservation.as_ref())).collect();
        let expected = [0, 0, 0, 0, 0, 0, 50, 100, 150, 200].map(Some);
        assert_eq!(waits, expected);
        // After a time without use, no more is saved than the burst.
        advance(LONG).await;
        let all: Vec<_> = (0..8).map(|_| bucket.reserve_one(LONG)).collect();
        assert_eq!(ms(all[7].as_ref()), Some(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_with_a_longer_wait_is_rejected_and_costs_nothing() {
        let bucket = bucket(1);
        let second = Duration::from_secs(1);
        let held = [bucket.reserve_one(second), bucket.reserve_one(second)];
        assert_eq!(held.each_ref().map(|reservation| ms(reservation.as_ref())), [Some(0), Some(750)]);
        for _ in 0..100 {
            assert!(bucket.reserve_one(second).is_none());
        }
        assert_eq!(ms(bucket.reserve_one(2 * second).as_ref()), Some(1_750));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_that_is_dropped_before_its_time_is_given_back() {
        let bucket = bucket(10);
        let used: Vec<_> = (0..3).map(|_| bucket.reserve_one(LONG)).collect();
        let waiting = bucket.reserve_one(LONG);
        let next = bucket.reserve_one(LONG);
        assert_eq!((ms(waiting.as_ref()), ms(next.as_ref())), (Some(50), Some(150)));
        drop(waiting);
        assert_eq!(ms(bucket.reserve_one(LONG).as_ref()), Some(150));
        // Those whose time has come were used.
        drop(used);
        assert_eq!(ms(bucket.reserve_one(LONG).as_ref()), Some(150));
        drop(next);
        advance(Duration::from_secs(1)).await;
        assert_eq!(ms(bucket.reserve_one(LONG).as_ref()), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_cost_their_share_of_a_second_at_any_rate() {
        for per_second in [1 << 10, 1 << 20, 5 << 30] {
            let bucket = bucket(per_second);
            let all: Vec<_> = (0..80).map(|_| bucket.reserve(per_second / 8)).collect();
            let last = ms(all[79].as_ref()).expect("a wait");
            assert!((9_620..=9_625).contains(&last), "{per_second}: {last} ms");
        }
    }
}
