//! Metrics of callers. They outlive a configuration, so that a caller that is kept by a reload keeps
//! its counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::metrics::RequestOutcome;

/// The metrics of a caller, or of all callers beyond the limit on names.
#[derive(Debug, Default)]
pub(crate) struct CallerMetrics {
    outcomes: [AtomicU64; RequestOutcome::ALL.len()],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    rejected_claims: AtomicU64,
}

/// The metrics of all callers that were configured since the start, by name.
#[derive(Debug, Default)]
pub(super) struct CallerMetricsMap {
    by_name: Mutex<BTreeMap<Arc<str>, Arc<CallerMetrics>>>,
    others: Arc<CallerMetrics>,
}

/// A snapshot of the metrics of a caller.
#[derive(Clone, Debug)]
pub(crate) struct CallerSnapshot {
    /// The name of the caller, or [`OTHER_CALLERS`].
    pub(crate) caller: Arc<str>,
    /// The number of requests with each outcome.
    pub(crate) outcomes: [(RequestOutcome, u64); RequestOutcome::ALL.len()],
    /// The number of request body bytes.
    pub(crate) bytes_in: u64,
    /// The number of response body bytes.
    pub(crate) bytes_out: u64,
    /// The number of rejected requests that named an access key id of the caller.
    pub(crate) rejected_claims: u64,
}

impl CallerMetrics {
    /// Counts a request that has ended.
    pub(super) fn on_end(&self, outcome: RequestOutcome, bytes_in: u64, bytes_out: u64) {
        self.outcomes[outcome.index()].fetch_add(1, Relaxed);
        self.bytes_in.fetch_add(bytes_in, Relaxed);
        self.bytes_out.fetch_add(bytes_out, Relaxed);
    }

    /// Counts a request that names an access key id of the caller without proof. It may come from any
    /// client.
    pub(crate) fn on_rejected_claim(&self) {
        self.rejected_claims.fetch_add(1, Relaxed);
    }

    fn snapshot(&self, caller: Arc<str>) -> CallerSnapshot {
        let mut outcomes = RequestOutcome::ALL.map(|outcome| (outcome, 0));
        for ((_, count), value) in outcomes.iter_mut().zip(&self.outcomes) {
            *count = value.load(Relaxed);
        }
        CallerSnapshot {
            caller,
            outcomes,
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            rejected_claims: self.rejected_claims.load(Relaxed),
        }
    }
}

impl CallerMetricsMap {
    /// Returns the metrics of a caller. The callers beyond the limit on names share theirs.
    pub(super) fn get(&self, name: &Arc<str>) -> Arc<CallerMetrics> {
        let mut by_name = self.by_name.lock();
        if let Some(known) = by_name.get(name) {
            return Arc::clone(known);
        }
        if by_name.len() >= NAMES_MAX {
            return Arc::clone(&self.others);
        }
        Arc::clone(by_name.entry(Arc::clone(name)).or_default())
    }

    /// Returns a snapshot of the callers in whose name a request was sent.
    pub(super) fn snapshots(&self) -> Vec<CallerSnapshot> {
        let by_name = self.by_name.lock();
        let named = by_name.iter().map(|(name, metrics)| metrics.snapshot(Arc::clone(name)));
        let all = named.chain([self.others.snapshot(OTHER_CALLERS.into())]);
        let is_in_use = |caller: &CallerSnapshot| {
            caller.rejected_claims > 0 || caller.outcomes.iter().any(|(_, count)| *count > 0)
        };
        all.filter(is_in_use).collect()
    }
}

/// The maximum number of callers with metrics of their own.
const NAMES_MAX: usize = 200;
/// The label of the callers beyond the limit. It cannot be the name of a caller.
const OTHER_CALLERS: &str = "(other)";

#[cfg(test)]
mod tests {
    use super::{CallerMetricsMap, RequestOutcome};

    #[test]
    fn callers_beyond_the_limit_are_counted_together() {
        let map = CallerMetricsMap::default();
        for number in 0..300 {
            map.get(&format!("caller-{number:03}").into()).on_end(RequestOutcome::Status(2), 1, 2);
        }
        // A known name keeps its metrics.
        map.get(&"caller-000".into()).on_end(RequestOutcome::Status(4), 0, 0);
        let all = map.snapshots();
        assert_eq!(all.len(), 201);
        assert_eq!((&*all[0].caller, all[0].outcomes[2].1), ("caller-000", 1));
        assert_eq!((&*all[200].caller, all[200].bytes_in, all[200].bytes_out), ("(other)", 100, 200));
    }
}
