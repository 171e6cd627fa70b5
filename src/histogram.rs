//! Histograms of durations, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A counter of a [`DurationHistogram`].
pub(crate) trait HistogramCounter: Default {
    /// Adds to the count.
    fn add(&self, more: u64);

    /// Returns the count.
    fn get(&self) -> u64;
}

/// A counter that any thread may write.
impl HistogramCounter for AtomicU64 {
    fn add(&self, more: u64) {
        self.fetch_add(more, Relaxed);
    }

    fn get(&self) -> u64 {
        self.load(Relaxed)
    }
}

/// A histogram of durations. Its counters decide which threads may record.
#[derive(Debug)]
pub(crate) struct DurationHistogram<C = AtomicU64> {
    bounds_us: &'static [u64],
    /// The count of each bucket, and of durations above all bounds.
    buckets: Box<[C]>,
    sum_us: C,
}

/// A snapshot of one histogram, or of several with the same buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HistogramSnapshot {
    bounds_us: &'static [u64],
    counts: Vec<u64>,
    sum_us: u64,
}

impl<C: HistogramCounter> DurationHistogram<C> {
    /// Creates an empty histogram whose buckets have these upper bounds, in microseconds.
    #[must_use]
    pub(crate) fn new(bounds_us: &'static [u64]) -> Self {
        let buckets = (0..=bounds_us.len()).map(|_| C::default()).collect();
        Self { bounds_us, buckets, sum_us: C::default() }
    }

    /// Counts a duration.
    pub(crate) fn record(&self, took: Duration) {
        let is_within = |bound: &u64| took <= Duration::from_micros(*bound);
        let index = self.bounds_us.iter().position(is_within).unwrap_or(self.bounds_us.len());
        self.buckets[index].add(1);
        self.sum_us.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Returns a snapshot.
    #[must_use]
    pub(crate) fn snapshot(&self) -> HistogramSnapshot {
        let mut snapshot = HistogramSnapshot::new(self.bounds_us);
        snapshot.add(self);
        snapshot
    }
}

impl HistogramSnapshot {
    /// Creates a snapshot of no durations, with buckets of these upper bounds in microseconds.
    #[must_use]
    pub(crate) fn new(bounds_us: &'static [u64]) -> Self {
        Self { bounds_us, counts: vec![0; bounds_us.len() + 1], sum_us: 0 }
    }

    /// Adds the counts of a histogram with the same buckets.
    pub(crate) fn add<C: HistogramCounter>(&mut self, histogram: &DurationHistogram<C>) {
        for (sum, count) in self.counts.iter_mut().zip(&histogram.buckets) {
            *sum += count.get();
        }
        self.sum_us = self.sum_us.saturating_add(histogram.sum_us.get());
    }

    /// Returns the number of durations.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the sum of all durations, in seconds.
    #[must_use]
    pub(crate) fn sum_s(&self) -> f64 {
        seconds(self.sum_us)
    }

    /// Returns the upper bound of each bucket in seconds, and its count, which is not cumulative.
    /// The bound of the last bucket is [`f64::MAX`].
    #[must_use]
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds_us.iter().copied().map(seconds).chain([f64::MAX]);
        bounds.zip(self.counts.iter().copied()).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric of more than 285 years may be off")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use super::{DurationHistogram, HistogramSnapshot};

    const BOUNDS_US: [u64; 3] = [1_000, 2_500, 1_000_000];

    #[test]
    fn each_duration_falls_into_one_bucket_and_the_sum() {
        let histogram: DurationHistogram<AtomicU64> = DurationHistogram::new(&BOUNDS_US);
        for us in [0, 1_000, 1_001, 700_000, 60_000_000] {
            histogram.record(Duration::from_micros(us));
        }
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.count(), (snapshot.sum_s() * 1_000.0).round()), (5, 60_702.0));
        assert_eq!(snapshot.buckets(), [(0.001, 2), (0.0025, 1), (1.0, 1), (f64::MAX, 1)]);
    }

    #[test]
    fn histograms_with_the_same_buckets_are_added_up() {
        let histogram: DurationHistogram<AtomicU64> = DurationHistogram::new(&BOUNDS_US);
        histogram.record(Duration::from_millis(2));
        let mut sum = HistogramSnapshot::new(&BOUNDS_US);
        sum.add(&histogram);
        sum.add(&histogram);
        assert_eq!((sum.count(), sum.sum_s()), (2, 0.004));
    }
}
