//! The queue of audit records, and the thread that writes them. Records that are queued while the
//! thread writes are written together, so that one synchronization of the disk serves many requests.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::settings::AuditFailureMode;
use super::sink::AuditSink;
use crate::telemetry::line_writer::PartialWriteError;

/// The queue of records.
#[derive(Default)]
pub(super) struct AuditQueue {
    pending: Mutex<PendingRecords>,
    changed: Condvar,
    ended: Condvar,
    counters: AuditCounters,
}

/// The numbers of records.
#[derive(Debug, Default)]
struct AuditCounters {
    written: AtomicU64,
    dropped: AtomicU64,
    is_failing: AtomicBool,
}

/// The state of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AuditStatus {
    /// The number of records that the destination has received.
    pub(crate) written: u64,
    /// The number of records that were dropped.
    pub(crate) dropped: u64,
    /// Whether the last attempt to write failed.
    pub(crate) is_failing: bool,
}

#[derive(Default)]
struct PendingRecords {
    batch: RecordBatch,
    closing: bool,
    ended: bool,
}

/// Records that are written together, and those who wait for them.
#[derive(Default)]
struct RecordBatch {
    bytes: Vec<u8>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl AuditQueue {
    /// Queues records, unless the queue is full. Then they are counted as dropped.
    pub(super) fn put(&self, records: &[u8]) {
        if !self.put_within(records, PENDING_MAX, None) {
            self.drop_records(records);
        }
    }

    /// Queues records even if the queue is full. The number of such records must be bounded.
    pub(super) fn put_always(&self, records: &[u8]) {
        self.put_within(records, usize::MAX, None);
    }

    /// Queues records. The receiver resolves when they are written. Returns `None` if the queue is
    /// full.
    pub(super) fn put_awaited(&self, records: &[u8]) -> Option<oneshot::Receiver<()>> {
        let (written, receiver) = oneshot::channel();
        self.put_within(records, PENDING_MAX, Some(written)).then_some(receiver)
    }

    fn put_within(&self, records: &[u8], limit: usize, written: Option<oneshot::Sender<()>>) -> bool {
        let mut pending = self.pending.lock();
        if pending.ended || pending.batch.bytes.len().saturating_add(records.len()) > limit {
            return false;
        }
        let was_empty = pending.batch.bytes.is_empty();
        pending.batch.bytes.extend_from_slice(records);
        pending.batch.waiting.extend(written);
        // Waking the thread for each record would cost more than the record.
        if was_empty || pending.batch.bytes.len() >= BATCH {
            self.changed.notify_one();
        }
        true
    }

    /// Counts records that will not be written.
    pub(super) fn drop_records(&self, records: &[u8]) {
        self.counters.dropped.fetch_add(count(records), Relaxed);
    }

    pub(super) fn status(&self) -> AuditStatus {
        let AuditCounters { written, dropped, is_failing } = &self.counters;
        AuditStatus {
            written: written.load(Relaxed),
            dropped: dropped.load(Relaxed),
            is_failing: is_failing.load(Relaxed),
        }
    }

    /// Ends the log after the queued records are written, and waits at most [`FLUSH_TIMEOUT`].
    pub(super) fn close(&self) {
        let mut pending = self.pending.lock();
        pending.closing = true;
        self.changed.notify_one();
        self.ended.wait_while_for(&mut pending, |pending| !pending.ended, FLUSH_TIMEOUT);
    }

    /// Writes queued records until the log is closed. Run by the thread of the log.
    pub(super) fn write_all(&self, mut sink: AuditSink, mode: AuditFailureMode) {
        while let Some(batch) = self.take(mode) {
            if batch.bytes.is_empty() {
                continue;
            }
            let lost = match mode {
                AuditFailureMode::Block => self.write_until_done(&mut sink, &batch.bytes),
                AuditFailureMode::Drop => self.write_once(&mut sink, &batch.bytes),
            };
            let lost = count(&batch.bytes[batch.bytes.len() - lost..]);
            self.counters.written.fetch_add(count(&batch.bytes) - lost, Relaxed);
            self.counters.dropped.fetch_add(lost, Relaxed);
            if lost == 0 {
                // A request that has ended meanwhile does not wait.
                for written in batch.waiting {
                    let _ = written.send(());
                }
            }
        }
        self.pending.lock().ended = true;
        self.ended.notify_all();
    }

    /// Waits for records, and for more of them if no request waits. Returns `None` if the log is closed
    /// and all records were taken.
    fn take(&self, mode: AuditFailureMode) -> Option<RecordBatch> {
        let mut pending = self.pending.lock();
        self.changed.wait_while(&mut pending, |pending| pending.batch.bytes.is_empty() && !pending.closing);
        if pending.batch.bytes.is_empty() {
            return None;
        }
        if mode == AuditFailureMode::Drop {
            let is_small =
                |pending: &mut PendingRecords| pending.batch.bytes.len() < BATCH && !pending.closing;
            self.changed.wait_while_for(&mut pending, is_small, AT_MOST);
        }
        Some(std::mem::take(&mut pending.batch))
    }

    /// Writes records, and returns the number of bytes at their end that were not written.
    fn write_once(&self, sink: &mut AuditSink, records: &[u8]) -> usize {
        match sink.write(records) {
            Ok(()) => {
                self.recovered();
                0
            }
            Err(PartialWriteError { taken, error }) => {
                if !self.counters.is_failing.swap(true, Relaxed) {
                    error!(%error, "audit log failed; dropping records until a write succeeds");
                }
                // The records that arrive in the meantime are one attempt, and not many.
                self.pause(RETRY_DELAY);
                records.len() - whole_lines(records, taken)
            }
        }
    }

    /// Writes records until all are written. At shutdown, a last attempt is made. Returns the number
    /// of bytes at their end that were not written.
    fn write_until_done(&self, sink: &mut AuditSink, records: &[u8]) -> usize {
        let mut done = 0;
        loop {
            match sink.write(&records[done..]) {
                Ok(()) => {
                    self.recovered();
                    return 0;
                }
                Err(PartialWriteError { taken, error }) => {
                    if !self.counters.is_failing.swap(true, Relaxed) {
                        error!(%error, "audit log failed; requests are rejected until a write succeeds");
                    }
                    done += whole_lines(&records[done..], taken);
                    if self.pause(RETRY_DELAY) {
                        return records.len() - done;
                    }
                }
            }
        }
    }

    fn recovered(&self) {
        if self.counters.is_failing.swap(false, Relaxed) {
            let dropped = self.counters.dropped.load(Relaxed);
            warn!(dropped, "audit log recovered");
        }
    }

    /// Waits before another attempt. Returns whether the log is closing.
    fn pause(&self, delay: Duration) -> bool {
        let mut pending = self.pending.lock();
        self.changed.wait_while_for(&mut pending, |pending| !pending.closing, delay);
        pending.closing
    }
}

/// Returns the length of the whole lines among the first `taken` bytes.
fn whole_lines(records: &[u8], taken: usize) -> usize {
    records[..taken].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

fn count(records: &[u8]) -> u64 {
    records.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Maximum size of the queue in bytes. A destination that is this far behind has stopped.
const PENDING_MAX: usize = 16 * 1024 * 1024;
/// The number of queued bytes that are written without waiting for more.
const BATCH: usize = 64 * 1024;
/// Maximum time that a record waits for others, if no request waits for it.
const AT_MOST: Duration = Duration::from_millis(100);
/// The time between two attempts to write.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// Timeout for the records that are queued at shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
