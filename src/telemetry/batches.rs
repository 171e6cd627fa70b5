//! The log on its way out: lines are gathered and written by a thread of their own, so that no request waits for the reader of
//! the log. One of a request goes out within [`AT_MOST`], a warning or error at once.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata, warn};
use tracing_subscriber::fmt::MakeWriter;

/// Where lines are put.
#[derive(Clone)]
pub struct Batches(Arc<Shared>);

/// Who waits for the thread that writes: when this is dropped all is written that was put before, if it is taken in time.
pub struct Flusher(Arc<Shared>);

/// A line, put when this is dropped.
pub struct Line {
    shared: Arc<Shared>,
    urgent: bool,
}

#[derive(Default)]
struct Shared {
    pending: Mutex<Pending>,
    changed: Condvar,
    ended: Condvar,
}

#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    /// Lines for which there was no room.
    dropped: u64,
    urgent: bool,
    closing: bool,
    ended: bool,
}

impl Batches {
    /// Begins to write to `out`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn to(out: impl Write + Send + 'static) -> io::Result<(Self, Flusher)> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || theirs.write_all(out))?;
        Ok((Self(Arc::clone(&shared)), Flusher(shared)))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, line: &[u8], urgent: bool) {
        let mut pending = self.lock();
        if pending.bytes.len() + line.len() > PENDING_MAX {
            pending.dropped += 1;
            return;
        }
        let was_empty = pending.bytes.is_empty();
        pending.bytes.extend_from_slice(line);
        pending.urgent |= urgent;
        if was_empty || pending.is_due() {
            self.changed.notify_one();
        }
    }

    /// Writes what is put until the end. If the other side takes nothing any more, there is nobody to tell.
    fn write_all(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        loop {
            let pending = self.lock();
            let pending = self.changed.wait_while(pending, |pending| pending.is_idle());
            let pending = pending.unwrap_or_else(PoisonError::into_inner);
            let waited = self.changed.wait_timeout_while(pending, AT_MOST, |pending| !pending.is_due());
            let (mut pending, _) = waited.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut batch, &mut pending.bytes);
            pending.urgent = false;
            let (closing, dropped) = (pending.closing, std::mem::take(&mut pending.dropped));
            drop(pending);
            let _ = out.write_all(&batch).and_then(|()| out.flush());
            batch.clear();
            if dropped > 0 {
                warn!(lines = dropped, "the log is not read as fast as it is written; lines were dropped");
            } else if closing {
                self.lock().ended = true;
                self.ended.notify_one();
                return;
            }
        }
    }
}

impl Pending {
    fn is_idle(&self) -> bool {
        self.bytes.is_empty() && !self.closing
    }

    fn is_due(&self) -> bool {
        self.urgent || self.closing || self.bytes.len() >= BATCH
    }
}

impl<'a> MakeWriter<'a> for Batches {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { shared: Arc::clone(&self.0), urgent: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        Line { shared: Arc::clone(&self.0), urgent: *metadata.level() <= Level::WARN }
    }
}

impl Write for Line {
    /// Takes a line as a whole, as the subscriber writes it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.shared.put(line, self.urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        let mut pending = self.0.lock();
        pending.closing = true;
        self.0.changed.notify_one();
        // A reader that takes nothing must not hold the end of the process.
        drop(self.0.ended.wait_timeout_while(pending, FAREWELL, |pending| !pending.ended));
    }
}

/// How long a line may wait for others.
const AT_MOST: Duration = Duration::from_millis(100);
/// How long the end of the process waits for the reader of the log.
const FAREWELL: Duration = Duration::from_secs(2);
/// So much is written without waiting for more.
const BATCH: usize = 64 * 1024;
/// What may wait in all. More is dropped, and counted: a log that nobody reads must not stop the service.
const PENDING_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::{Batches, Line, PENDING_MAX};

    /// Tells each batch, and waits for leave to go on after it.
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

    fn line(batches: &Batches, urgent: bool, text: &[u8]) {
        let mut line = Line { shared: std::sync::Arc::clone(&batches.0), urgent };
        line.write_all(text).expect("put");
    }

    #[test]
    fn lines_are_gathered_and_all_are_written_in_the_end() {
        let (written, batch) = mpsc::channel();
        let (go_on, leave) = mpsc::channel();
        let (batches, flusher) = Batches::to(Reader(written, leave)).expect("a thread");
        line(&batches, true, b"first\n");
        let limit = Duration::from_secs(10);
        assert_eq!(batch.recv_timeout(limit).expect("at once"), b"first\n");
        // While that is being written.
        line(&batches, false, b"second\n");
        line(&batches, false, b"third\n");
        go_on.send(()).expect("it waits");
        assert_eq!(batch.recv_timeout(limit).expect("soon"), b"second\nthird\n");
        line(&batches, false, b"last\n");
        go_on.send(()).expect("it waits");
        go_on.send(()).expect("it waits");
        drop(flusher);
        assert_eq!(batch.try_iter().collect::<Vec<_>>(), [b"last\n"]);
    }

    #[test]
    fn a_log_that_nobody_reads_stops_nobody_and_is_bounded() {
        let (written, batch) = mpsc::channel();
        let (go_on, leave) = mpsc::channel();
        let (batches, flusher) = Batches::to(Reader(written, leave)).expect("a thread");
        line(&batches, true, b"first\n");
        batch.recv_timeout(Duration::from_secs(10)).expect("at once");
        for _ in 0..PENDING_MAX / 1000 + 10 {
            line(&batches, false, &[b'x'; 1000]);
        }
        assert!(batches.0.lock().bytes.len() <= PENDING_MAX && batches.0.lock().dropped >= 10);
        drop(flusher);
        drop(go_on);
    }
}
