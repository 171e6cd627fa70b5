//! The response streams of an HTTP/2 connection, and the limit on the time that the client may
//! leave one of them unread.
//!
//! While a stream has no flow-control window, hyper does not poll it or its body, and the socket
//! has nothing to write. So a timer in the body or on the socket cannot run. Instead the body
//! records each frame that it yields, and the frames record the bytes written to the socket. The
//! task of the stream ends it when neither happens for the limit.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::task::spawn_local;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::proxy::ResponseBody;

/// Spawns the streams of a connection on the current thread, each with a clock.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    /// The clock of the stream that is spawned next: hyper calls the service and spawns its future
    /// right after.
    next: Rc<RefCell<Option<Rc<StreamClock>>>>,
    unread: Rc<UnreadStreams>,
    limit: Duration,
}

/// Records the progress of a stream. Shared by its body, its frames and its task.
pub(super) struct StreamClock {
    /// True if the body has yielded a frame and was not polled for another since.
    is_waiting: Cell<bool>,
    /// The time when the client last read bytes, or when the wait for it began.
    moved: Cell<Instant>,
    /// The number of frames that the body has yielded and that are not yet written to the socket.
    held: Cell<usize>,
    /// True if a frame was dropped before it was fully written to the socket.
    is_short: Cell<bool>,
}

/// Streams whose whole response hyper has passed to h2, and that the client has not fully read.
///
/// These streams can no longer be reset, because hyper has dropped its handles. They are bounded by
/// ending the connection.
#[derive(Default)]
pub(super) struct UnreadStreams {
    clocks: RefCell<VecDeque<Rc<StreamClock>>>,
}

/// A timer that fires when an unread stream makes no progress for the limit. There is one per
/// connection, and it is created with the first unread stream.
pub(super) struct UnreadTimer {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

/// A response body whose frames are tracked.
pub(super) struct StreamBody {
    inner: ResponseBody,
    clock: Rc<StreamClock>,
}

/// A data frame, tracked until it is written to the socket.
pub(super) struct StreamData {
    bytes: Bytes,
    clock: Rc<StreamClock>,
}

impl StreamExecutor {
    /// Creates the executor of a connection. `unread` receives the streams that end unread.
    pub(super) fn new(unread: Rc<UnreadStreams>, limit: Duration) -> Self {
        Self { next: Rc::default(), unread, limit }
    }

    /// Creates the clock of the stream that hyper spawns next.
    pub(super) fn start_clock(&self) -> Rc<StreamClock> {
        let clock = Rc::new(StreamClock::new());
        self.next.replace(Some(Rc::clone(&clock)));
        clock
    }
}

impl<F: Future<Output: 'static> + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let Some(clock) = self.next.take() else {
            // This is not the stream of a request.
            spawn_local(stream);
            return;
        };
        let unread = Rc::clone(&self.unread);
        let limit = self.limit;
        spawn_local(async move {
            let mut stream = pin!(stream);
            let mut timer = None;
            poll_fn(|cx| {
                if stream.as_mut().poll(cx).is_ready() {
                    unread.add(&clock);
                    return Poll::Ready(());
                }
                // The end of the task drops the stream, which resets it with CANCEL.
                // guard: stream-without-window
                if clock.is_over(limit, &mut timer, cx) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
    }
}

impl StreamClock {
    fn new() -> Self {
        Self {
            is_waiting: Cell::default(),
            moved: Cell::new(Instant::now()),
            held: Cell::default(),
            is_short: Cell::default(),
        }
    }

    /// Wraps a response body so that this clock tracks it.
    pub(super) fn watch(self: Rc<Self>, inner: ResponseBody) -> StreamBody {
        StreamBody { inner, clock: self }
    }

    /// Records that the body has yielded data. From now on the stream waits for the client.
    fn hand_over(self: &Rc<Self>, bytes: Bytes) -> StreamData {
        if !self.is_waiting.replace(true) {
            self.moved.set(Instant::now());
        }
        self.held.set(self.held.get() + 1);
        StreamData { bytes, clock: Rc::clone(self) }
    }

    /// Records that the stream waits for its body, which has separate limits.
    fn wait_for_body(&self) {
        self.is_waiting.set(false);
    }

    fn is_unread(&self) -> bool {
        self.held.get() > 0
    }

    fn deadline(&self, limit: Duration) -> Instant {
        self.moved.get() + limit
    }

    /// Returns whether the wait for the client has reached the limit. Otherwise wakes the task when
    /// it may have.
    fn is_over(&self, limit: Duration, timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> bool {
        if !self.is_waiting.get() {
            return false;
        }
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(self.deadline(limit))));
        // The timer may be set to an earlier deadline, which is corrected when it fires. Resetting
        // it on every write costs more.
        while timer.as_mut().poll(cx).is_ready() {
            if self.deadline(limit) <= Instant::now() {
                return true;
            }
            timer.as_mut().reset(self.deadline(limit));
        }
        false
    }
}

impl UnreadStreams {
    fn add(&self, clock: &Rc<StreamClock>) {
        if clock.is_unread() {
            self.clocks.borrow_mut().push_back(Rc::clone(clock));
        }
    }

    /// Removes finished streams from the front, and returns whether none remain.
    pub(super) fn is_empty(&self) -> bool {
        let mut clocks = self.clocks.borrow_mut();
        while clocks.front().is_some_and(|clock| !clock.is_unread()) {
            clocks.pop_front();
        }
        clocks.is_empty()
    }

    /// Returns the earliest time at which one of the streams reaches the limit.
    fn deadline(&self, limit: Duration) -> Option<Instant> {
        let mut clocks = self.clocks.borrow_mut();
        clocks.retain(|clock| clock.is_unread());
        clocks.iter().map(|clock| clock.deadline(limit)).min()
    }

    /// Returns whether one of the streams has made no progress for the limit.
    pub(super) fn is_over(&self, limit: Duration) -> bool {
        self.deadline(limit).is_some_and(|deadline| deadline <= Instant::now())
    }
}

impl UnreadTimer {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    /// Returns whether an unread stream has made no progress for the limit. Otherwise wakes the
    /// task when one may have.
    pub(super) fn is_over(&mut self, unread: &UnreadStreams, cx: &mut Context<'_>) -> bool {
        if unread.is_empty() {
            return false;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now())));
        while timer.as_mut().poll(cx).is_ready() {
            let Some(deadline) = unread.deadline(self.limit) else { return false };
            if deadline <= Instant::now() {
                return true;
            }
            timer.as_mut().reset(deadline);
        }
        false
    }
}

impl HttpBody for StreamBody {
    type Data = StreamData;
    type Error = <ResponseBody as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<StreamData>, Self::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if !matches!(polled, Poll::Ready(Some(Ok(_)))) {
            self.clock.wait_for_body();
        }
        polled.map_ok(|frame| frame.map_data(|bytes| self.clock.hand_over(bytes)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        // hyper drops the frame that it holds before the body.
        if self.clock.is_short.get() {
            self.inner.fall_short();
        }
    }
}

impl Buf for StreamData {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.clock.moved.set(Instant::now());
        self.bytes.advance(count);
    }
}

impl Drop for StreamData {
    fn drop(&mut self) {
        self.clock.held.set(self.clock.held.get() - 1);
        if self.bytes.has_remaining() {
            self.clock.is_short.set(true);
        }
    }
}
