//! Metrics of one worker, for `/metrics`. Only that worker writes them, so counting needs neither a
//! lock nor a locked instruction. Any thread may read them; the values may be slightly stale.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::histogram::{DurationHistogram, HistogramCounter, HistogramSnapshot};
use crate::oss::Operation;

/// The metrics of a worker.
#[derive(Debug)]
pub(crate) struct WorkerMetrics {
    /// One row per operation, and one for requests without a known operation. Rows are allocated on
    /// first use, because most operations are never requested.
    rows: Vec<OnceLock<Box<OperationMetrics>>>,
    bytes_in: WorkerCounter,
    bytes_out: WorkerCounter,
    in_flight: WorkerCounter,
    signed_v4: WorkerCounter,
    signed_v1: WorkerCounter,
}

/// The write handle of [`WorkerMetrics`], owned by its worker. Each request in flight holds it.
#[derive(Debug)]
pub(crate) struct MetricsHandle {
    metrics: Arc<WorkerMetrics>,
    is_cut: Cell<bool>,
}

/// The outcome of a request, as in the labels of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// A complete response, by the first digit of its status, 2 to 5.
    Status(u8),
    /// The upstream failed before the end of the response.
    Broken,
    /// The drain timed out before the response was complete.
    Cut,
    /// The client disconnected before the end of the response.
    None,
}

/// The data of a request that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedRequest {
    /// The operation, if known.
    pub(crate) operation: Option<Operation>,
    /// The outcome.
    pub(crate) outcome: RequestOutcome,
    /// The time from the end of the request head to the end of the response.
    pub(crate) duration: Duration,
    /// The time from the end of the request head to the response head.
    pub(crate) first_byte: Option<Duration>,
}

/// A counter that only one thread writes.
#[derive(Debug, Default)]
struct WorkerCounter(AtomicU64);

/// The metrics of one operation.
#[derive(Debug)]
struct OperationMetrics {
    outcomes: [WorkerCounter; RequestOutcome::ALL.len()],
    duration: DurationHistogram<WorkerCounter>,
    first_byte: DurationHistogram<WorkerCounter>,
}

/// A snapshot of the metrics, summed over all workers.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetricsSnapshot {
    /// One entry per operation with at least one ended request. Requests whose operation was never
    /// known have an entry without a name.
    pub(crate) operations: Vec<OperationSnapshot>,
    /// The number of request body bytes.
    pub(crate) bytes_in: u64,
    /// The number of response body bytes.
    pub(crate) bytes_out: u64,
    /// The number of requests in flight.
    pub(crate) in_flight: u64,
    /// The number of requests signed with V4.
    pub(crate) signed_v4: u64,
    /// The number of requests signed with V1.
    pub(crate) signed_v1: u64,
}

/// A snapshot of the metrics of an operation, summed over all workers.
#[derive(Clone, Debug)]
pub(crate) struct OperationSnapshot {
    /// The operation; `None` for requests whose operation was never known.
    pub(crate) operation: Option<Operation>,
    /// The number of requests with each outcome.
    pub(crate) outcomes: [(RequestOutcome, u64); RequestOutcome::ALL.len()],
    /// The time from the end of the request head to the end of the response.
    pub(crate) duration: HistogramSnapshot,
    /// The time from the end of the request head to the response head.
    pub(crate) first_byte: HistogramSnapshot,
}

impl RequestOutcome {
    /// All outcomes.
    pub(crate) const ALL: [Self; 7] = [
        Self::Status(2),
        Self::Status(3),
        Self::Status(4),
        Self::Status(5),
        Self::Broken,
        Self::Cut,
        Self::None,
    ];

    /// Returns the outcome for a complete response with this status, or [`Self::None`] without a
    /// response.
    #[must_use]
    pub(crate) fn from_status(status: Option<u16>) -> Self {
        match status.map(|status| status / 100) {
            Some(3) => Self::Status(3),
            Some(4) => Self::Status(4),
            Some(5..) => Self::Status(5),
            Some(_) => Self::Status(2),
            None => Self::None,
        }
    }

    /// The value of the metric label.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Status(3) => "3xx",
            Self::Status(4) => "4xx",
            Self::Status(5) => "5xx",
            Self::Status(_) => "2xx",
            Self::Broken => "broken",
            Self::Cut => "cut",
            Self::None => "none",
        }
    }

    pub(super) fn index(self) -> usize {
        Self::ALL.iter().position(|one| *one == self).unwrap_or(0)
    }
}

impl HistogramCounter for WorkerCounter {
    fn add(&self, more: u64) {
        // No other thread writes this counter.
        self.0.store(self.get().wrapping_add(more), Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Default for OperationMetrics {
    fn default() -> Self {
        Self {
            outcomes: Default::default(),
            duration: DurationHistogram::new(&BOUNDS_US),
            first_byte: DurationHistogram::new(&BOUNDS_US),
        }
    }
}

impl MetricsHandle {
    /// Creates metrics in which all counts are zero.
    #[must_use]
    pub(crate) fn new() -> Self {
        let rows = (0..=Operation::ALL.len()).map(|_| OnceLock::new()).collect();
        let [bytes_in, bytes_out, in_flight, signed_v4, signed_v1] = Default::default();
        let metrics = WorkerMetrics { rows, bytes_in, bytes_out, in_flight, signed_v4, signed_v1 };
        Self { metrics: Arc::new(metrics), is_cut: Cell::default() }
    }

    /// Marks the requests still in flight as cut off by the shutdown of this process.
    pub(crate) fn cut(&self) {
        self.is_cut.set(true);
    }

    /// Returns whether the shutdown has cut off the requests in flight.
    #[must_use]
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// Returns the metrics, for reading by other threads.
    #[must_use]
    pub(crate) fn metrics(&self) -> Arc<WorkerMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Counts the start of a request. Each call requires a later call of [`Self::on_end`].
    pub(crate) fn on_start(&self) {
        self.metrics.in_flight.add(1);
    }

    /// Returns the number of requests in flight.
    #[must_use]
    pub(crate) fn in_flight(&self) -> u64 {
        self.metrics.in_flight.get()
    }

    /// Counts the end of a request.
    pub(crate) fn on_end(&self, request: &EndedRequest) {
        let metrics = &*self.metrics;
        let row =
            &metrics.rows[request.operation.map_or(Operation::ALL.len(), |operation| operation as usize)];
        let row = row.get_or_init(Box::default);
        row.outcomes[request.outcome.index()].add(1);
        row.duration.record(request.duration);
        if let Some(first_byte) = request.first_byte {
            row.first_byte.record(first_byte);
        }
        metrics.in_flight.add(u64::MAX);
    }

    /// Adds to the number of request body bytes received.
    pub(crate) fn add_bytes_in(&self, bytes: u64) {
        self.metrics.bytes_in.add(bytes);
    }

    /// Adds to the number of response body bytes sent.
    pub(crate) fn add_bytes_out(&self, bytes: u64) {
        self.metrics.bytes_out.add(bytes);
    }

    /// Counts a request signed with V4.
    pub(crate) fn signed_v4(&self) {
        self.metrics.signed_v4.add(1);
    }

    /// Counts a request signed with V1.
    pub(crate) fn signed_v1(&self) {
        self.metrics.signed_v1.add(1);
    }
}

impl Default for MetricsHandle {
    fn default() -> Self {
        Self::new()
    }
}

impl MetricsSnapshot {
    /// Sums the metrics of these workers.
    #[must_use]
    pub(crate) fn sum(worker_metrics: &[Arc<WorkerMetrics>]) -> Self {
        let sum = |of: fn(&WorkerMetrics) -> &WorkerCounter| {
            worker_metrics.iter().map(|metrics| of(metrics).get()).sum()
        };
        let named = Operation::ALL.iter().copied().map(Some).chain([None]).enumerate();
        let rows = named.map(|(index, operation)| {
            let rows =
                worker_metrics.iter().filter_map(|metrics| metrics.rows[index].get().map(AsRef::as_ref));
            OperationSnapshot::sum(operation, rows)
        });
        Self {
            operations: rows.filter(|total| total.duration.count() > 0).collect(),
            bytes_in: sum(|metrics| &metrics.bytes_in),
            bytes_out: sum(|metrics| &metrics.bytes_out),
            in_flight: sum(|metrics| &metrics.in_flight),
            signed_v4: sum(|metrics| &metrics.signed_v4),
            signed_v1: sum(|metrics| &metrics.signed_v1),
        }
    }
}

impl OperationSnapshot {
    /// Sums the metrics of an operation of all workers.
    fn sum<'a>(operation: Option<Operation>, workers: impl Iterator<Item = &'a OperationMetrics>) -> Self {
        let mut total = Self {
            operation,
            outcomes: RequestOutcome::ALL.map(|outcome| (outcome, 0)),
            duration: HistogramSnapshot::new(&BOUNDS_US),
            first_byte: HistogramSnapshot::new(&BOUNDS_US),
        };
        for worker in workers {
            for ((_, sum), count) in total.outcomes.iter_mut().zip(&worker.outcomes) {
                *sum += count.get();
            }
            total.duration.add(&worker.duration);
            total.first_byte.add(&worker.first_byte);
        }
        total
    }
}

/// The upper bounds of histogram buckets, in microseconds. They reach 10 minutes, because transfers
/// take minutes.
const BOUNDS_US: [u64; 18] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{EndedRequest, MetricsHandle, MetricsSnapshot, RequestOutcome};
    use crate::oss::Operation;

    fn ended(operation: Option<Operation>, status: Option<u16>, seconds: f64) -> EndedRequest {
        let duration = Duration::from_secs_f64(seconds);
        let outcome = RequestOutcome::from_status(status);
        EndedRequest { operation, outcome, duration, first_byte: Some(duration / 2) }
    }

    #[test]
    fn what_cores_have_seen_is_added_up() {
        let one = MetricsHandle::new();
        let other = MetricsHandle::new();
        let all = [
            (&one, ended(Some(Operation::GetObject), Some(200), 0.004)),
            (&other, ended(Some(Operation::GetObject), Some(206), 200.0)),
            (&other, ended(Some(Operation::Preflight), Some(403), 0.0)),
            (&one, ended(None, None, 0.1)),
        ];
        for (meter, request) in &all {
            meter.on_start();
            meter.add_bytes_in(3);
            meter.add_bytes_out(5);
            meter.on_end(request);
        }
        one.on_start();
        let total = MetricsSnapshot::sum(&[one.metrics(), other.metrics()]);
        let names: Vec<_> = total.operations.iter().map(|row| row.operation).collect();
        assert_eq!(names, [Some(Operation::Preflight), Some(Operation::GetObject), None]);
        let get = &total.operations[1];
        assert_eq!(get.outcomes[0], (RequestOutcome::Status(2), 2));
        let buckets = get.duration.buckets();
        assert_eq!((buckets[2], buckets[16], get.duration.count()), ((0.005, 1), (300.0, 1), 2));
        assert!((get.duration.sum_s() - 200.004).abs() < 1e-6);
        assert_eq!((total.bytes_in, total.bytes_out, total.in_flight), (12, 20, 1));
        let all = total.operations.iter().flat_map(|row| row.outcomes);
        let of_4xx = all.clone().filter(|(outcome, _)| *outcome == RequestOutcome::Status(4));
        assert_eq!(of_4xx.map(|(_, count)| count).sum::<u64>(), 1);
        assert_eq!(all.map(|(_, count)| count).sum::<u64>(), 4);
    }
}
