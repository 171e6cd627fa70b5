//! Metrics of callers. They outlive a configuration, so that a caller that is kept by a reload keeps
//! its counts. A caller that is removed keeps them until another one needs its slot.

use std::collections::{BTreeMap, HashSet};
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
    /// The number of requests that a limit of the caller rejected.
    limited: AtomicU64,
    /// The number of requests that wait for a limit of the caller.
    waiting: AtomicU64,
    rejected_claims: AtomicU64,
}

/// The metrics of callers that were configured since the start, by name.
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
    /// The number of requests that a limit of the caller rejected.
    pub(crate) limited: u64,
    /// The number of requests that wait for a limit of the caller.
    pub(crate) waiting: u64,
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

    /// Counts a request that a limit of the caller rejected.
    pub(crate) fn on_limit_rejection(&self) {
        self.limited.fetch_add(1, Relaxed);
    }

    /// Counts the start of a wait for a limit. Each call requires a later call of
    /// [`Self::on_wait_end`].
    pub(crate) fn on_wait_start(&self) {
        self.waiting.fetch_add(1, Relaxed);
    }

    /// Counts the end of a wait.
    pub(crate) fn on_wait_end(&self) {
        self.waiting.fetch_sub(1, Relaxed);
    }

    /// Adds the counts of a caller whose name is forgotten. Requests that it still has are not
    /// counted any more.
    fn absorb(&self, forgotten: &Self) {
        for (sum, count) in self.outcomes.iter().zip(&forgotten.outcomes) {
            sum.fetch_add(count.load(Relaxed), Relaxed);
        }
        self.bytes_in.fetch_add(forgotten.bytes_in.load(Relaxed), Relaxed);
        self.bytes_out.fetch_add(forgotten.bytes_out.load(Relaxed), Relaxed);
        self.limited.fetch_add(forgotten.limited.load(Relaxed), Relaxed);
        self.rejected_claims.fetch_add(forgotten.rejected_claims.load(Relaxed), Relaxed);
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
            limited: self.limited.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            rejected_claims: self.rejected_claims.load(Relaxed),
        }
    }
}

impl CallerMetricsMap {
    /// Returns the metrics of each configured caller. The callers beyond the limit on names share
    /// theirs. If new callers would exceed it, those that are not configured any more are forgotten.
    pub(super) fn select(&self, configured: &[&Arc<str>]) -> Vec<Arc<CallerMetrics>> {
        let mut by_name = self.by_name.lock();
        let new = configured.iter().filter(|name| !by_name.contains_key(**name)).count();
        if by_name.len() + new > NAMES_MAX {
            let configured: HashSet<&str> = configured.iter().map(|name| &***name).collect();
            by_name.retain(|name, metrics| {
                let is_kept = configured.contains(&**name);
                if !is_kept {
                    self.others.absorb(metrics);
                }
                is_kept
            });
        }
        let mut select = |name: &&Arc<str>| match by_name.get(*name) {
            Some(known) => Arc::clone(known),
            None if by_name.len() >= NAMES_MAX => Arc::clone(&self.others),
            None => Arc::clone(by_name.entry(Arc::clone(*name)).or_default()),
        };
        configured.iter().map(&mut select).collect()
    }

    /// Returns a snapshot of the callers in whose name a request was sent.
    pub(super) fn snapshots(&self) -> Vec<CallerSnapshot> {
        let by_name = self.by_name.lock();
        let named = by_name.iter().map(|(name, metrics)| metrics.snapshot(Arc::clone(name)));
        let all = named.chain([self.others.snapshot(OTHER_CALLERS.into())]);
        let is_in_use = |caller: &CallerSnapshot| {
            caller.waiting > 0
                || caller.rejected_claims > 0
                || caller.outcomes.iter().any(|(_, count)| *count > 0)
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
    use std::sync::Arc;

    use super::{CallerMetrics, CallerMetricsMap, RequestOutcome};

    /// Returns the metrics of callers with these numbers.
    fn select(map: &CallerMetricsMap, numbers: std::ops::Range<usize>) -> Vec<Arc<CallerMetrics>> {
        let names: Vec<Arc<str>> = numbers.map(|number| format!("caller-{number:03}").into()).collect();
        map.select(&names.iter().collect::<Vec<_>>())
    }

    #[test]
    fn callers_beyond_the_limit_are_counted_together() {
        let map = CallerMetricsMap::default();
        for metrics in select(&map, 0..300) {
            metrics.on_end(RequestOutcome::Status(2), 1, 2);
        }
        // A known name keeps its metrics.
        select(&map, 0..1)[0].on_end(RequestOutcome::Status(4), 0, 0);
        let all = map.snapshots();
        assert_eq!(all.len(), 201);
        assert_eq!((&*all[0].caller, all[0].outcomes[2].1), ("caller-000", 1));
        assert_eq!((&*all[200].caller, all[200].bytes_in, all[200].bytes_out), ("(other)", 100, 200));
    }

    #[test]
    fn removed_callers_are_forgotten_only_when_others_need_their_names() {
        let map = CallerMetricsMap::default();
        for metrics in select(&map, 0..150) {
            metrics.on_end(RequestOutcome::Status(2), 1, 2);
            metrics.on_limit_rejection();
        }
        // They fit beside the removed ones.
        select(&map, 150..160)[0].on_end(RequestOutcome::Status(2), 1, 2);
        assert_eq!(map.snapshots().len(), 151);
        // Without the removed ones, each of these has a name of its own. No count is lost.
        for metrics in select(&map, 100..300) {
            metrics.on_end(RequestOutcome::Status(2), 1, 2);
        }
        let all = map.snapshots();
        assert_eq!(all.len(), 201);
        assert_eq!((&*all[0].caller, all[0].outcomes[0].1), ("caller-100", 2));
        let other = &all[200];
        assert_eq!((&*other.caller, other.outcomes[0].1, other.limited), ("(other)", 100, 100));
        assert_eq!(all.iter().map(|caller| caller.bytes_in).sum::<u64>(), 351);
    }

    #[test]
    fn a_caller_whose_first_requests_wait_is_shown() {
        let map = CallerMetricsMap::default();
        let metrics = select(&map, 0..1);
        metrics[0].on_wait_start();
        assert_eq!(map.snapshots().iter().map(|caller| caller.waiting).collect::<Vec<_>>(), [1]);
        metrics[0].on_wait_end();
        assert_eq!(map.snapshots().len(), 0);
    }
}
