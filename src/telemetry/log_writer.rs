//! Buffered log output: a separate thread writes lines in batches, so that no request waits for the
//! reader of the log. The line of a request is written within [`AT_MOST`], a warning or error
//! immediately. Dropped lines are counted; a notice is logged when dropping begins and when it
//! ends.
//!
//! Written by hand: `non_blocking` of tracing-appender makes one write call for each line, and
//! ignores write errors. A full disk would then truncate a line, and lose others without a notice.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::{Level, Metadata, error, warn};
use tracing_subscriber::fmt::MakeWriter;

use super::line_writer::{LineWriter, PartialWriteError};

/// The writer of the log: queues lines for the thread that writes them.
#[derive(Clone)]
pub(crate) struct LogWriter(Arc<LogQueue>);

/// Flushes the queued lines on drop, waiting at most 2 s.
pub(crate) struct LogFlushGuard(Arc<LogQueue>);

/// The writer of one line.
pub(crate) struct LogLine {
    shared: Arc<LogQueue>,
    kind: LinePriority,
}

/// Counters of dropped lines.
#[derive(Debug, Default)]
pub(crate) struct DroppedLines {
    queue: AtomicU64,
    write: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinePriority {
    /// The line may wait for a batch.
    Usual,
    /// The line is written immediately.
    Urgent,
    /// A notice of dropped lines. It is never dropped itself: it is retried until it is written.
    Notice,
}

#[derive(Default)]
struct LogQueue {
    pending: Mutex<PendingLines>,
    changed: Condvar,
    ended: Condvar,
    losses: Arc<DroppedLines>,
}

#[derive(Default)]
struct PendingLines {
    bytes: Vec<u8>,
    notices: Vec<u8>,
    urgent: bool,
    closing: bool,
    ended: bool,
}

impl LogWriter {
    /// Starts a thread that writes to `out`.
    ///
    /// # Errors
    /// The error of the operating system, if no thread can be started.
    pub(crate) fn to(out: impl Write + Send + 'static) -> io::Result<(Self, LogFlushGuard)> {
        let shared = Arc::<LogQueue>::default();
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || theirs.write_all(out))?;
        Ok((Self(Arc::clone(&shared)), LogFlushGuard(shared)))
    }

    /// Returns the counters of dropped lines.
    #[must_use]
    pub(crate) fn losses(&self) -> Arc<DroppedLines> {
        Arc::clone(&self.0.losses)
    }
}

/// The number of dropped lines for one reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DroppedLineCount {
    /// The reason: a label of the metric.
    pub(crate) reason: &'static str,
    /// The number of lines.
    pub(crate) count: u64,
}

impl DroppedLines {
    /// Returns the counts by reason: `queue` if the queue was full, `write` if writing failed.
    #[must_use]
    pub(crate) fn read(&self) -> [DroppedLineCount; 2] {
        [("queue", &self.queue), ("write", &self.write)]
            .map(|(reason, count)| DroppedLineCount { reason, count: count.load(Relaxed) })
    }

    fn total(&self) -> u64 {
        self.read().iter().map(|lost| lost.count).sum()
    }
}

impl LogQueue {
    fn put(&self, line: &[u8], kind: LinePriority) {
        let mut pending = self.pending.lock();
        if kind == LinePriority::Notice {
            pending.notices.extend_from_slice(line);
            self.changed.notify_one();
            return;
        }
        if pending.bytes.len() + line.len() > PENDING_MAX {
            self.losses.queue.fetch_add(1, Relaxed);
            return;
        }
        let was_empty = pending.bytes.is_empty();
        pending.bytes.extend_from_slice(line);
        pending.urgent |= kind == LinePriority::Urgent;
        if was_empty || pending.is_due() {
            self.changed.notify_one();
        }
    }

    /// Writes queued lines until shutdown. Notices are retried with each batch.
    fn write_all(&self, out: impl Write) {
        let mut writer = LineWriter::new(out);
        let mut batch = Vec::new();
        let mut notices = Vec::new();
        let mut known = 0;
        // The number of lines dropped before the current failure; `None` if there is no failure.
        let mut before = None;
        loop {
            let closing = self.take(&mut batch, &mut notices);
            let refused = self.write(&mut writer, &batch, &mut notices).err();
            let lost = self.losses.total();
            let goes_well = refused.is_none() && lost == known;
            match (before, refused) {
                (None, Some(error)) => {
                    before = Some(known);
                    error!(target: NOTICE, %error, "log output failed; dropping lines until a write succeeds");
                }
                (None, None) if !goes_well => {
                    before = Some(known);
                    warn!(target: NOTICE, "log output is too slow; dropping lines");
                }
                (Some(count), None) if goes_well => {
                    before = None;
                    warn!(target: NOTICE, lines = lost - count, "log output recovered; these lines were dropped");
                }
                _ if closing => {
                    self.pending.lock().ended = true;
                    self.ended.notify_one();
                    return;
                }
                _ => {}
            }
            known = lost;
        }
    }

    /// Waits for lines and takes them from the queue. Returns whether the log is shutting down.
    fn take(&self, batch: &mut Vec<u8>, notices: &mut Vec<u8>) -> bool {
        let mut pending = self.pending.lock();
        self.changed.wait_while(&mut pending, |pending| pending.is_idle());
        self.changed.wait_while_for(&mut pending, |pending| !pending.is_due(), AT_MOST);
        batch.clear();
        std::mem::swap(batch, &mut pending.bytes);
        notices.append(&mut pending.notices);
        pending.urgent = false;
        pending.closing
    }

    fn write(
        &self,
        writer: &mut LineWriter<impl Write>,
        batch: &[u8],
        notices: &mut Vec<u8>,
    ) -> io::Result<()> {
        let notices_written = writer.write(notices).map(|()| notices.clear());
        let written = match notices_written {
            Ok(()) => writer.write(batch),
            Err(PartialWriteError { error, .. }) => Err(PartialWriteError { taken: 0, error }),
        };
        written.map_err(|PartialWriteError { taken, error }| {
            let lines = batch[taken..].iter().filter(|byte| **byte == b'\n').count();
            self.losses.write.fetch_add(lines as u64, Relaxed);
            error
        })
    }
}

impl PendingLines {
    fn is_idle(&self) -> bool {
        self.bytes.is_empty() && self.notices.is_empty() && !self.closing
    }

    fn is_due(&self) -> bool {
        self.urgent || self.closing || !self.notices.is_empty() || self.bytes.len() >= BATCH
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine { shared: Arc::clone(&self.0), kind: LinePriority::Urgent }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LogLine {
        let kind = match *metadata.level() {
            _ if metadata.target() == NOTICE => LinePriority::Notice,
            Level::ERROR | Level::WARN => LinePriority::Urgent,
            _ => LinePriority::Usual,
        };
        LogLine { shared: Arc::clone(&self.0), kind }
    }
}

impl Write for LogLine {
    /// Queues one whole line, as the subscriber passes it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.shared.put(line, self.kind);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogFlushGuard {
    fn drop(&mut self) {
        let mut pending = self.0.pending.lock();
        pending.closing = true;
        self.0.changed.notify_one();
        // A stalled reader must not block the exit of the process.
        self.0.ended.wait_while_for(&mut pending, |pending| !pending.ended, FLUSH_TIMEOUT);
    }
}

/// Maximum time that a line waits for a batch.
const AT_MOST: Duration = Duration::from_millis(100);
/// Timeout for the final flush.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Number of queued bytes that are written without waiting for more.
const BATCH: usize = 64 * 1024;
/// The tracing target of notices of dropped lines.
const NOTICE: &str = "log";
/// Maximum size of the queue in bytes. Lines above it are dropped and counted: a stalled reader
/// must not block the service.
const PENDING_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::{Arc, mpsc};
    use std::time::{Duration, Instant};

    use super::{LinePriority, LogFlushGuard, LogLine, LogWriter, PENDING_MAX};

    /// A writer that sends each batch to a channel, then waits for permission to continue.
    struct Reader(mpsc::Sender<Vec<u8>>, mpsc::Receiver<()>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_owned()).map_err(io::Error::other)?;
            self.1.recv().map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(batches: &LogWriter, kind: LinePriority, text: &[u8]) {
        let mut line = LogLine { shared: Arc::clone(&batches.0), kind };
        line.write_all(text).expect("put");
    }

    #[test]
    fn lines_are_gathered_and_all_are_written_in_the_end() {
        let (written, batch) = mpsc::channel();
        let (go_on, leave) = mpsc::channel();
        let (batches, flusher) = LogWriter::to(Reader(written, leave)).expect("a thread");
        line(&batches, LinePriority::Urgent, b"first\n");
        let limit = Duration::from_secs(10);
        assert_eq!(batch.recv_timeout(limit).expect("at once"), b"first\n");
        // While that is being written.
        line(&batches, LinePriority::Usual, b"second\n");
        line(&batches, LinePriority::Usual, b"third\n");
        go_on.send(()).expect("it waits");
        assert_eq!(batch.recv_timeout(limit).expect("soon"), b"second\nthird\n");
        line(&batches, LinePriority::Usual, b"last\n");
        go_on.send(()).expect("it waits");
        go_on.send(()).expect("it waits");
        drop(flusher);
        assert_eq!(batch.try_iter().collect::<Vec<_>>(), [b"last\n"]);
    }

    #[test]
    fn a_log_that_nobody_reads_stops_nobody_and_is_bounded() {
        let (written, batch) = mpsc::channel();
        let (go_on, leave) = mpsc::channel();
        let (batches, flusher) = LogWriter::to(Reader(written, leave)).expect("a thread");
        line(&batches, LinePriority::Urgent, b"first\n");
        batch.recv_timeout(Duration::from_secs(10)).expect("at once");
        for _ in 0..PENDING_MAX / 1000 + 10 {
            line(&batches, LinePriority::Usual, &[b'x'; 1000]);
        }
        let [queue, write] = batches.losses().read().map(|lost| lost.count);
        assert!(batches.0.pending.lock().bytes.len() <= PENDING_MAX && queue >= 10 && write == 0);
        drop(flusher);
        drop(go_on);
    }

    #[test]
    fn a_slow_reader_is_told_of_once_when_lines_begin_to_be_lost_and_once_when_none_are() {
        let (written, batch) = mpsc::channel();
        let (go_on, leave) = mpsc::channel();
        let batches = LogWriter(Arc::default());
        let writing = batches.clone();
        let shared = Arc::clone(&batches.0);
        // Notices logged by that thread are queued in the same log.
        let thread = std::thread::spawn(move || {
            let subscriber = tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(writing);
            let write = || shared.write_all(Reader(written, leave));
            tracing::subscriber::with_default(subscriber.finish(), write);
        });
        let limit = Duration::from_secs(10);
        line(&batches, LinePriority::Urgent, b"first\n");
        batch.recv_timeout(limit).expect("at once");
        while batches.losses().total() < 3 {
            line(&batches, LinePriority::Usual, &[b'x'; 1 << 20]);
        }
        (0..4).for_each(|_| go_on.send(()).expect("it waits"));
        drop(LogFlushGuard(Arc::clone(&batches.0)));
        drop(go_on);
        thread.join().expect("no panic");
        let told = batch.try_iter().filter_map(|batch| String::from_utf8(batch).ok());
        let told: Vec<String> = told.filter(|text| text.contains("WARN")).collect();
        let [begun, ended] = &told[..] else { panic!("{told:?}") };
        assert!(begun.contains("log output is too slow") && ended.contains("lines=3"), "{told:?}");
    }

    /// A writer that fails while its flag is set.
    struct Disk(Arc<AtomicBool>, mpsc::Sender<Vec<u8>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.load(Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.1.send(bytes.to_owned()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_a_notice_is_kept() {
        let full = Arc::new(AtomicBool::new(true));
        let (written, batch) = mpsc::channel();
        let (batches, flusher) = LogWriter::to(Disk(Arc::clone(&full), written)).expect("a thread");
        let losses = batches.losses();
        let lost = |count: u64| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while losses.read().map(|lost| (lost.reason, lost.count)) != [("queue", 0), ("write", count)] {
                assert!(Instant::now() < deadline, "{losses:?}");
                std::thread::yield_now();
            }
        };
        line(&batches, LinePriority::Usual, b"one\n");
        line(&batches, LinePriority::Urgent, b"two\n");
        lost(2);
        line(&batches, LinePriority::Notice, b"it is full\n");
        line(&batches, LinePriority::Urgent, b"three\n");
        lost(3);
        full.store(false, Relaxed);
        line(&batches, LinePriority::Urgent, b"four\n");
        drop(flusher);
        assert_eq!(batch.try_iter().collect::<Vec<_>>().concat(), b"it is full\nfour\n");
        lost(3);
    }
}
