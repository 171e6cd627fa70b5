//! Counters of the upstream connections of a worker, readable from other threads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters of one worker. Only that worker writes them.
#[derive(Debug, Default)]
pub(crate) struct PoolStats {
    dialled: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
    reused: AtomicU64,
    repeated: AtomicU64,
    in_use: AtomicU64,
    idle: AtomicU64,
    waiting: AtomicU64,
}

/// A snapshot of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolStatsSnapshot {
    /// Dials that succeeded.
    pub(crate) dialled: u64,
    /// Dials that failed.
    pub(crate) failed: u64,
    /// Dials that were abandoned because the client had disconnected.
    pub(crate) abandoned: u64,
    /// Requests that reused an idle connection.
    pub(crate) reused: u64,
    /// Requests that failed on a reused connection and were retried.
    pub(crate) repeated: u64,
    /// Connections in use by a request, including those being dialled.
    pub(crate) in_use: u64,
    /// Idle connections.
    pub(crate) idle: u64,
    /// Requests that wait for a connection.
    pub(crate) waiting: u64,
}

/// A dial in progress, counted on drop.
pub(super) struct DialAttempt<'a> {
    stats: &'a PoolStats,
    counted: &'a AtomicU64,
}

impl DialAttempt<'_> {
    pub(super) fn finish<T, E>(mut self, with: &Result<T, E>) {
        self.counted = if with.is_ok() { &self.stats.dialled } else { &self.stats.failed };
    }
}

impl Drop for DialAttempt<'_> {
    fn drop(&mut self) {
        add(self.counted, 1);
    }
}

impl PoolStats {
    /// Returns a snapshot of the counters.
    #[must_use]
    pub(crate) fn read(&self) -> PoolStatsSnapshot {
        let get = |count: &AtomicU64| count.load(Relaxed);
        PoolStatsSnapshot {
            dialled: get(&self.dialled),
            failed: get(&self.failed),
            abandoned: get(&self.abandoned),
            reused: get(&self.reused),
            repeated: get(&self.repeated),
            in_use: get(&self.in_use),
            idle: get(&self.idle),
            waiting: get(&self.waiting),
        }
    }

    /// Begins a dial. It counts as abandoned unless its outcome is passed to
    /// [`DialAttempt::finish`].
    pub(super) fn dials(&self) -> DialAttempt<'_> {
        DialAttempt { stats: self, counted: &self.abandoned }
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

    pub(super) fn set_idle(&self, now: usize) {
        self.idle.store(now as u64, Relaxed);
    }

    pub(super) fn waits(&self) {
        add(&self.waiting, 1);
    }

    pub(super) fn dequeued(&self) {
        add(&self.waiting, u64::MAX);
    }
}

/// Only one thread writes, so no locked instruction is needed.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Relaxed).wrapping_add(more), Relaxed);
}
