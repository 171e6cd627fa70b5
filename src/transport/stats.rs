//! What is counted of the upstream connections of a core, for others to read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counts of one core. Only that core writes.
#[derive(Debug, Default)]
pub struct PoolStats {
    dialled: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
    reused: AtomicU64,
    repeated: AtomicU64,
    in_use: AtomicU64,
    kept: AtomicU64,
    waiting: AtomicU64,
}

/// The counts at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatsSnapshot {
    /// Connections that were made.
    pub dialled: u64,
    /// Dials that failed.
    pub failed: u64,
    /// Dials that were given up, because their client had left.
    pub abandoned: u64,
    /// Requests that found a kept connection.
    pub reused: u64,
    /// Requests that were lost with a kept connection, and sent once more.
    pub repeated: u64,
    /// Connections that a request uses, or is making.
    pub in_use: u64,
    /// Connections that wait for a request.
    pub kept: u64,
    /// Requests that wait for a connection.
    pub waiting: u64,
}

/// A dial, which is counted when this is dropped.
pub(super) struct DialAttempt<'a> {
    tally: &'a PoolStats,
    counted: &'a AtomicU64,
}

impl DialAttempt<'_> {
    pub(super) fn finish<T, E>(mut self, with: &Result<T, E>) {
        self.counted = if with.is_ok() { &self.tally.dialled } else { &self.tally.failed };
    }
}

impl Drop for DialAttempt<'_> {
    fn drop(&mut self) {
        add(self.counted, 1);
    }
}

impl PoolStats {
    /// The counts now.
    #[must_use]
    pub fn read(&self) -> PoolStatsSnapshot {
        let get = |count: &AtomicU64| count.load(Relaxed);
        PoolStatsSnapshot {
            dialled: get(&self.dialled),
            failed: get(&self.failed),
            abandoned: get(&self.abandoned),
            reused: get(&self.reused),
            repeated: get(&self.repeated),
            in_use: get(&self.in_use),
            kept: get(&self.kept),
            waiting: get(&self.waiting),
        }
    }

    /// A dial is under way. It counts as abandoned unless what is returned learns how it ended.
    pub(super) fn dials(&self) -> DialAttempt<'_> {
        DialAttempt { tally: self, counted: &self.abandoned }
    }

    pub(super) fn reused(&self) {
        add(&self.reused, 1);
    }

    pub(super) fn repeated(&self) {
        add(&self.repeated, 1);
    }

    pub(super) fn taken(&self) {
        add(&self.in_use, 1);
    }

    pub(super) fn released(&self) {
        add(&self.in_use, u64::MAX);
    }

    pub(super) fn kept(&self, now: usize) {
        self.kept.store(now as u64, Relaxed);
    }

    pub(super) fn waits(&self) {
        add(&self.waiting, 1);
    }

    pub(super) fn dequeued(&self) {
        add(&self.waiting, u64::MAX);
    }
}

/// One thread writes, so that this needs no locked instruction.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Relaxed).wrapping_add(more), Relaxed);
}
