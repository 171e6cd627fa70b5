//! The buckets of the histograms of this module.

/// The upper bounds of the buckets of histograms, in microseconds. They range from the read of a
/// file to the timeout of an attempt.
pub(super) const BOUNDS_US: [u64; 10] =
    [1_000, 5_000, 25_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 20_000_000];
