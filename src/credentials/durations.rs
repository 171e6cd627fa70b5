//! Histograms of durations for metrics. Recording takes no lock, and happens only after something
//! has waited anyway.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A histogram of durations.
#[derive(Debug, Default)]
pub(super) struct AttemptHistogram {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

/// A snapshot of a histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttemptSnapshot {
    /// The sum in seconds.
    pub sum_s: f64,
    /// The number of durations.
    pub count: u64,
    /// The upper bound of each bucket in seconds, and its count, which is not cumulative.
    pub buckets: Vec<(f64, u64)>,
}

impl AttemptHistogram {
    pub(super) fn record(&self, took: Duration) {
        let ms = took.as_millis();
        let index = BOUNDS_MS.iter().position(|bound| ms <= u128::from(*bound)).unwrap_or(BOUNDS_MS.len());
        self.buckets[index].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn noted(&self) -> AttemptSnapshot {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let bounds = BOUNDS_MS.iter().map(|ms| Duration::from_millis(*ms).as_secs_f64());
        AttemptSnapshot {
            sum_s: Duration::from_micros(self.sum_us.load(Relaxed)).as_secs_f64(),
            count: counts.iter().sum(),
            buckets: bounds.chain([f64::MAX]).zip(counts).collect(),
        }
    }
}

/// The bounds range from the read of a file to the timeout of an attempt.
const BOUNDS_MS: [u64; 10] = [1, 5, 25, 100, 250, 500, 1_000, 2_500, 5_000, 20_000];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::AttemptHistogram;

    #[test]
    fn each_duration_falls_into_one_bucket_and_the_sum() {
        let durations = AttemptHistogram::default();
        for ms in [0, 1, 2, 700, 60_000] {
            durations.record(Duration::from_millis(ms));
        }
        let noted = durations.noted();
        assert_eq!((noted.count, (noted.sum_s * 1_000.0).round()), (5, 60_703.0));
        let filled: Vec<(f64, u64)> = noted.buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.001, 2), (0.005, 1), (1.0, 1), (f64::MAX, 1)]);
    }
}
