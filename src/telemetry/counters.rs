//! Counters of a process, over all workers and all configurations.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::access_log::RequestId;
use super::caller_metrics::{CallerMetrics, CallerMetricsMap, CallerSnapshot};
use super::metrics::{MetricsHandle, MetricsSnapshot, WorkerMetrics};
use super::proxy_rejections::ProxyRejections;
use super::rejection_code::RejectionCode;
use super::warning_limit::WarningLimit;
use crate::time::Timestamp;

/// The counters of a process.
#[derive(Debug, Default)]
pub struct ProcessCounters {
    requests: AtomicU64,
    refused: AtomicU64,
    own_answers: AtomicU64,
    malformed: AtomicU64,
    unframed: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
    refusals: Mutex<RejectionHistory>,
    reloads: Mutex<ReloadStatus>,
    worker_metrics: Mutex<Vec<Arc<WorkerMetrics>>>,
    callers: CallerMetricsMap,
    /// The connections that were closed because of the PROXY protocol.
    pub(crate) proxy_rejections: ProxyRejections,
    /// The limit on warnings of real access keys at clients.
    pub(crate) real_key_warnings: WarningLimit,
    broken_callers_files: AtomicU64,
}

#[derive(Debug, Default)]
struct RejectionHistory {
    by_code: BTreeMap<RejectionCode, u64>,
    last: VecDeque<RejectedRequest>,
}

/// A request that the proxy rejected itself.
#[derive(Clone, Debug)]
pub(crate) struct RejectedRequest {
    /// The time of the error response.
    pub(crate) at: Timestamp,
    /// The request id assigned by the proxy.
    pub(crate) id: RequestId,
    /// The stable error code.
    pub(crate) code: RejectionCode,
    /// The operation, if known.
    pub(crate) operation: Option<&'static str>,
}

/// The results of configuration reloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReloadStatus {
    /// The number of reloads that were applied.
    pub(crate) taken: u64,
    /// The number of reloads that failed; the current configuration was kept.
    pub(crate) failed: u64,
    /// The result of the last reload, true if applied; `None` before the first reload.
    pub(crate) last: Option<bool>,
    /// The time when the current configuration was applied; `None` if it was loaded at startup.
    pub(crate) at: Option<Timestamp>,
}

/// Counts of requests, and of input that did not become a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestCounts {
    /// Requests whose head was read.
    pub read: u64,
    /// Requests that were answered with an error from this proxy.
    pub(crate) rejected: u64,
    /// Requests that were answered without an error and without a request to OSS.
    pub(crate) own_answers: u64,
    /// Connections that were closed because they did not carry HTTP.
    pub malformed: u64,
    /// Upstream responses with neither a length nor chunked coding, on plain TCP.
    pub unframed: u64,
}

/// Counts of client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientConnectionCounts {
    /// Connections that were opened.
    pub(crate) opened: u64,
    /// Those of them that were closed.
    pub(crate) closed: u64,
}

impl ProcessCounters {
    /// Counts a request whose head was read.
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// Counts a request that was answered with an error response from this proxy.
    pub(crate) fn refusal(&self, refused: RejectedRequest) {
        self.refused.fetch_add(1, Relaxed);
        let mut refusals = self.refusals.lock();
        *refusals.by_code.entry(refused.code).or_default() += 1;
        refusals.last.truncate(LAST_MAX - 1);
        refusals.last.push_front(refused);
    }

    /// Counts a request that was answered without an error and without a request to OSS.
    pub(crate) fn own_answer(&self) {
        self.own_answers.fetch_add(1, Relaxed);
    }

    /// Counts input that the HTTP library rejected with a bare response, closing the connection.
    pub(crate) fn malformed(&self) {
        self.malformed.fetch_add(1, Relaxed);
    }

    /// Counts a response with neither a length nor chunked coding on plain TCP: its completeness
    /// cannot be verified.
    pub(crate) fn unframed(&self) {
        self.unframed.fetch_add(1, Relaxed);
    }

    /// Counts a client connection that was opened.
    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    /// Counts a client connection that was closed.
    pub(crate) fn closed(&self) {
        self.closed.fetch_add(1, Relaxed);
    }

    /// Records a configuration reload, and whether it was applied.
    pub(crate) fn reloaded(&self, taken: bool, now: Timestamp) {
        let mut reloads = self.reloads.lock();
        if taken {
            reloads.taken += 1;
            reloads.at = Some(now);
        } else {
            reloads.failed += 1;
        }
        reloads.last = Some(taken);
    }

    /// Sets the number of files of callers that cannot be used.
    pub(crate) fn set_broken_callers_files(&self, count: u64) {
        self.broken_callers_files.store(count, Relaxed);
    }

    /// Returns the number of files of callers that cannot be used.
    #[must_use]
    pub(crate) fn broken_callers_files(&self) -> u64 {
        self.broken_callers_files.load(Relaxed)
    }

    /// Returns the metrics of the callers of these names, which are all that are configured.
    #[must_use]
    pub(crate) fn configured_callers(&self, names: &[&Arc<str>]) -> Vec<Arc<CallerMetrics>> {
        self.callers.select(names)
    }

    /// Returns a snapshot of the metrics of callers.
    #[must_use]
    pub(crate) fn callers(&self) -> Vec<CallerSnapshot> {
        self.callers.snapshots()
    }

    /// Creates the metrics of another worker.
    #[must_use]
    pub(crate) fn meter(&self) -> MetricsHandle {
        let meter = MetricsHandle::new();
        self.worker_metrics.lock().push(meter.metrics());
        meter
    }

    /// Returns the counts of requests at this moment.
    #[must_use]
    pub fn requests(&self) -> RequestCounts {
        RequestCounts {
            read: self.requests.load(Relaxed),
            rejected: self.refused.load(Relaxed),
            own_answers: self.own_answers.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            unframed: self.unframed.load(Relaxed),
        }
    }

    /// Returns the counts of client connections at this moment.
    #[must_use]
    pub(crate) fn connections(&self) -> ClientConnectionCounts {
        // `closed` is read first: a connection is opened before it is closed.
        let closed = self.closed.load(Relaxed);
        ClientConnectionCounts { opened: self.opened.load(Relaxed).max(closed), closed }
    }

    /// Returns the number of error responses of this proxy by code.
    #[must_use]
    pub(crate) fn refusals(&self) -> BTreeMap<RejectionCode, u64> {
        self.refusals.lock().by_code.clone()
    }

    /// Returns the last rejected requests, the latest first.
    #[must_use]
    pub(crate) fn last_refusals(&self) -> Vec<RejectedRequest> {
        self.refusals.lock().last.iter().cloned().collect()
    }

    /// The results of configuration reloads.
    #[must_use]
    pub(crate) fn reloads(&self) -> ReloadStatus {
        *self.reloads.lock()
    }

    /// Returns the metrics summed over all workers.
    #[must_use]
    pub(crate) fn total(&self) -> MetricsSnapshot {
        MetricsSnapshot::sum(&self.worker_metrics.lock())
    }
}

/// The number of rejected requests kept.
const LAST_MAX: usize = 20;
