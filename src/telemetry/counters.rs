//! Counts of what happens, over all cores and all configurations of a process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::access_log::RequestId;
use super::metrics::{MetricsHandle, MetricsSnapshot, WorkerMetrics};
use crate::time::Timestamp;

/// The counters of a process.
#[derive(Debug, Default)]
pub struct ProcessCounters {
    requests: AtomicU64,
    refused: AtomicU64,
    malformed: AtomicU64,
    unframed: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
    refusals: Mutex<RejectionHistory>,
    reloads: Mutex<ReloadStatus>,
    sheets: Mutex<Vec<Arc<WorkerMetrics>>>,
}

#[derive(Debug, Default)]
struct RejectionHistory {
    by_code: BTreeMap<&'static str, u64>,
    last: VecDeque<RejectedRequest>,
}

/// A request that was refused by us.
#[derive(Clone, Debug)]
pub struct RejectedRequest {
    /// When.
    pub at: Timestamp,
    /// Our id of the request.
    pub id: RequestId,
    /// The stable code.
    pub code: &'static str,
    /// What it asked for, if that was known.
    pub operation: Option<&'static str>,
}

/// How the configuration was read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReloadStatus {
    /// How often it was taken.
    pub taken: u64,
    /// How often it was not, and the old one stayed.
    pub failed: u64,
    /// Whether it was the last time; `None` if it was never read again.
    pub last: Option<bool>,
    /// When the one that is in force was taken; `None` for that of the start.
    pub at: Option<Timestamp>,
}

/// Counts of requests and of what did not become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestCounts {
    /// Requests whose head was read.
    pub read: u64,
    /// Requests that were answered with an error of this proxy.
    pub rejected: u64,
    /// Connections that were closed because they did not carry HTTP.
    pub malformed: u64,
    /// Responses of an upstream with neither length nor chunks, on plain TCP.
    pub unframed: u64,
}

impl ProcessCounters {
    /// A request was read.
    pub fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// A request was answered with an error of our own.
    pub fn refusal(&self, refused: RejectedRequest) {
        self.refused.fetch_add(1, Relaxed);
        let mut refusals = held(&self.refusals);
        *refusals.by_code.entry(refused.code).or_default() += 1;
        refusals.last.truncate(LAST_MAX - 1);
        refusals.last.push_front(refused);
    }

    /// The HTTP library refused what came, with a bare answer and a closed connection.
    pub fn malformed(&self) {
        self.malformed.fetch_add(1, Relaxed);
    }

    /// An answer came without length or chunks on plain TCP: nobody can tell whether it is whole.
    pub fn unframed(&self) {
        self.unframed.fetch_add(1, Relaxed);
    }

    /// A client has connected.
    pub fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    /// A client's connection has ended.
    pub fn closed(&self) {
        self.closed.fetch_add(1, Relaxed);
    }

    /// The configuration was read again, and taken or not.
    pub fn reloaded(&self, taken: bool, now: Timestamp) {
        let mut reloads = held(&self.reloads);
        if taken {
            reloads.taken += 1;
            reloads.at = Some(now);
        } else {
            reloads.failed += 1;
        }
        reloads.last = Some(taken);
    }

    /// The meter of another core.
    #[must_use]
    pub fn meter(&self) -> MetricsHandle {
        let meter = MetricsHandle::new();
        held(&self.sheets).push(meter.sheet());
        meter
    }

    /// Returns the counts of requests at this moment.
    #[must_use]
    pub fn requests(&self) -> RequestCounts {
        RequestCounts {
            read: self.requests.load(Relaxed),
            rejected: self.refused.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            unframed: self.unframed.load(Relaxed),
        }
    }

    /// How many connections clients have opened, and how many of them have ended.
    #[must_use]
    pub fn connections(&self) -> (u64, u64) {
        // In this order: none has ended before it was opened.
        let closed = self.closed.load(Relaxed);
        (self.opened.load(Relaxed).max(closed), closed)
    }

    /// How often each code was answered.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        held(&self.refusals).by_code.clone()
    }

    /// The last refusals, the latest first.
    #[must_use]
    pub fn last_refusals(&self) -> Vec<RejectedRequest> {
        held(&self.refusals).last.iter().cloned().collect()
    }

    /// How the configuration was read again.
    #[must_use]
    pub fn reloads(&self) -> ReloadStatus {
        *held(&self.reloads)
    }

    /// What all cores have seen.
    #[must_use]
    pub fn total(&self) -> MetricsSnapshot {
        MetricsSnapshot::of(&held(&self.sheets))
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many refusals are remembered.
const LAST_MAX: usize = 20;
