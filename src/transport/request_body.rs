//! The request body sent upstream: forwards and counts the client's frames, and enforces the limits
//! on size and on time without progress.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::body_source::BodySource;
use super::io_timeout::IdleTimeout;
use super::rate_bucket::RateBucket;
use super::silence::{ResponseWaits, WaitPeriod};
use super::throttle::BodyThrottle;

/// A request body in the form that hyper takes.
#[derive(Debug)]
pub(crate) struct RequestBody {
    slot: Rc<BodyState>,
    /// The number of the attempt that this body belongs to.
    attempt: u32,
    stall: Option<IdleTimeout>,
}

/// The client's body. It outlives the connection that it was passed to: until a frame of it is
/// read, it can still be sent on another connection.
#[derive(Debug)]
pub(super) struct BodyState {
    /// `None` for a request of the proxy itself, which has no body.
    inner: RefCell<Option<BodySource>>,
    ends: EofSemantics,
    taken: Cell<u64>,
    /// The observer of the bytes read.
    byte_observer: Box<dyn ByteObserver>,
    /// Held as long as the body. Its clones count the requests in flight.
    _in_flight: Rc<()>,
    yielded: Cell<bool>,
    /// The number of the attempt that may read. An earlier one may still be in progress: its
    /// response came before the body.
    attempt: Cell<u32>,
    /// Wakes the attempt that waits for a frame.
    reader: RefCell<Option<Waker>>,
    /// The time at which the request was passed to a connection; `None` while it waits for one.
    begun: Cell<Option<Instant>>,
    /// The time at which the last byte arrived.
    moved: Cell<Option<Instant>>,
    /// Set while the client has more to send.
    awaited: Cell<bool>,
    /// The waits for responses of the destination. This request joins them once its body is
    /// complete.
    waits: RefCell<Option<Rc<ResponseWaits>>>,
    /// The period in which this request began to wait, if it did.
    wait: Cell<Option<WaitPeriod>>,
    /// The size limit in bytes.
    limit: u64,
    /// Holds the frame that waits for the limit on bytes per second.
    throttle: RefCell<Option<BodyThrottle>>,
    fault: Cell<Option<BodyFault>>,
}

/// An observer of the bytes read from a body.
pub(crate) trait ByteObserver: fmt::Debug {
    /// Called with the number of bytes in each frame.
    fn observe_bytes(&self, bytes: u64);
}

impl ByteObserver for () {
    fn observe_bytes(&self, _: u64) {}
}

/// The reason why the proxy stopped reading a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    /// The client sent nothing until the timeout expired.
    Stalled,
    /// The body exceeded this limit in bytes.
    TooLarge(u64),
}

/// The reason why a body ends early. The part that was sent is not completed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    /// The client ended the body early, or sent an invalid one.
    #[error(transparent)]
    Client(#[from] hyper::Error),
    /// The client reset the stream in a way that looks like end-of-body.
    #[error("the client reset the stream before the end of the body")]
    Reset,
    /// The client sent nothing until the timeout expired.
    #[error("the client stopped sending the body")]
    Stalled,
    /// The body is larger than the limit.
    #[error("the body exceeds the size limit")]
    TooLarge,
    /// A later attempt sends the body.
    #[error("the body is sent with another attempt")]
    Superseded,
}

/// The reliability of end-of-body from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EofSemantics {
    /// Reliable: HTTP/1, where it is only reported for a complete body.
    Surely,
    /// Reliable only if the stream has ended too: in HTTP/2, a reset without an error is also
    /// reported as end-of-body.
    WithItsStream,
}

impl RequestBody {
    /// Wraps a client's body. `byte_observer` observes its bytes when hyper reads them. `in_flight`
    /// is held as long as the body. A body of more than `limit` bytes fails.
    #[must_use]
    pub(crate) fn new(
        inner: BodySource,
        ends: EofSemantics,
        byte_observer: Box<dyn ByteObserver>,
        limit: u64,
        in_flight: Rc<()>,
    ) -> Self {
        Self::from_parts(Some(inner), ends, byte_observer, limit, in_flight)
    }

    /// Creates an empty body, for requests that no client has sent.
    #[must_use]
    pub(crate) fn none() -> Self {
        Self::from_parts(None, EofSemantics::Surely, Box::new(()), 0, Rc::default())
    }

    fn from_parts(
        inner: Option<BodySource>,
        ends: EofSemantics,
        byte_observer: Box<dyn ByteObserver>,
        limit: u64,
        in_flight: Rc<()>,
    ) -> Self {
        let slot = BodyState {
            inner: RefCell::new(inner),
            ends,
            taken: Cell::default(),
            byte_observer,
            _in_flight: in_flight,
            yielded: Cell::default(),
            attempt: Cell::default(),
            reader: RefCell::default(),
            begun: Cell::default(),
            moved: Cell::default(),
            awaited: Cell::default(),
            waits: RefCell::default(),
            wait: Cell::default(),
            limit,
            throttle: RefCell::default(),
            fault: Cell::default(),
        };
        Self { slot: Rc::new(slot), attempt: 0, stall: None }
    }

    /// Slows the body down to the rate of a bucket.
    #[must_use]
    pub(crate) fn throttled(self, bucket: Arc<RateBucket>) -> Self {
        self.slot.throttle.replace(Some(BodyThrottle::new(bucket)));
        self
    }

    /// Sets the timeout for a client that sends nothing.
    pub(super) fn limit(&mut self, limit: Duration) {
        self.stall = Some(IdleTimeout::new(limit));
    }

    pub(super) fn slot(&self) -> Rc<BodyState> {
        Rc::clone(&self.slot)
    }
}

impl BodyState {
    /// Returns the body for another attempt, or `None` if a frame of it was read: its beginning
    /// would be missing. An earlier attempt can no longer read, and ends with its connection.
    pub(super) fn for_retry(self: &Rc<Self>, limit: Duration) -> Option<RequestBody> {
        // guard: retry-whole-body
        if self.yielded.get() {
            return None;
        }
        let attempt = self.attempt.get() + 1;
        self.attempt.set(attempt);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Some(RequestBody { slot: Rc::clone(self), attempt, stall: Some(IdleTimeout::new(limit)) })
    }

    /// Returns whether the end of the frames is the end of the body.
    fn is_ended(&self) -> bool {
        // guard: reset-is-no-end
        self.ends == EofSemantics::Surely || self.inner.borrow().as_ref().is_none_or(Body::is_end_stream)
    }

    /// Records that the request is passed to a connection now.
    pub(super) fn begin(&self) {
        self.begun.set(Some(Instant::now()));
        self.moved.set(None);
    }

    /// Returns the time at which the request was passed to a connection; now, if it was not yet.
    pub(super) fn started_at(&self) -> Instant {
        self.begun.get().unwrap_or_else(Instant::now)
    }

    /// Returns the time at which the last byte arrived. Before the first byte, returns the time at
    /// which the request was passed to a connection.
    pub(super) fn moved(&self) -> Instant {
        self.moved.get().unwrap_or_else(|| self.started_at())
    }

    /// Returns whether the client has more to send.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.get()
    }

    /// Joins `waits` once the body is complete.
    pub(super) fn await_response(&self, waits: Rc<ResponseWaits>) {
        self.waits.replace(Some(waits));
        if self.is_complete() {
            self.begin_response_wait();
        }
    }

    fn begin_response_wait(&self) {
        if self.wait.get().is_none()
            && let Some(waits) = &*self.waits.borrow()
        {
            self.wait.set(Some(waits.begin()));
        }
    }

    /// Ends the wait. Returns `false` if it was no longer counted.
    pub(super) fn end_response_wait(&self) -> bool {
        let waits = self.waits.take();
        waits.zip(self.wait.take()).is_none_or(|(waits, wait)| waits.end(wait))
    }

    /// Returns whether a frame waits for the limit on bytes per second.
    fn is_holding(&self) -> bool {
        self.throttle.borrow().as_ref().is_some_and(BodyThrottle::is_holding)
    }

    /// Returns whether the client has sent the whole body, and nothing of it is held.
    fn is_complete(&self) -> bool {
        !self.is_holding() && self.inner.borrow().as_ref().is_none_or(Body::is_end_stream)
    }

    /// Waits until the throttle passes on a part of the frame that it holds. Meanwhile the response
    /// is not due, as if the client had not sent the frame yet.
    fn poll_held(&self, cx: &mut Context<'_>) -> Poll<Frame<Bytes>> {
        let polled = match &mut *self.throttle.borrow_mut() {
            Some(throttle) => throttle.poll_piece(cx),
            None => Poll::Ready(Bytes::new()),
        };
        self.awaited.set(polled.is_pending());
        if polled.is_pending() {
            self.wake_for_retry(cx);
        }
        polled.map(|piece| {
            self.pass_on(piece.len());
            Frame::data(piece)
        })
    }

    /// Wakes the task once another attempt sends the body.
    fn wake_for_retry(&self, cx: &Context<'_>) {
        self.reader.borrow_mut().get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
    }

    /// Records that a part of the body is passed on.
    fn pass_on(&self, bytes: usize) {
        self.yielded.set(true);
        self.byte_observer.observe_bytes(bytes as u64);
        self.moved.set(Some(Instant::now()));
        if self.is_complete() {
            self.begin_response_wait();
        }
    }

    /// Returns the fault, if the proxy stopped reading the body.
    pub(super) fn fault(&self) -> Option<BodyFault> {
        self.fault.get()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let Self { slot, attempt, stall } = &mut *self;
        // guard: one-attempt-reads
        if *attempt != slot.attempt.get() {
            return Poll::Ready(Some(Err(RequestBodyError::Superseded)));
        }
        if slot.is_holding() {
            return slot.poll_held(cx).map(|piece| Some(Ok(piece)));
        }
        let frame = match &mut *slot.inner.borrow_mut() {
            Some(inner) => Pin::new(inner).poll_frame(cx),
            None => return Poll::Ready(None),
        };
        // guard: client-stops-sending
        if stall.as_mut().is_some_and(|stall| stall.is_over(&frame, cx)) {
            slot.fault.set(Some(BodyFault::Stalled));
            return Poll::Ready(Some(Err(RequestBodyError::Stalled)));
        }
        slot.awaited.set(frame.is_pending());
        if frame.is_pending() {
            slot.wake_for_retry(cx);
        }
        if matches!(frame, Poll::Ready(None)) {
            if !slot.is_ended() {
                return Poll::Ready(Some(Err(RequestBodyError::Reset)));
            }
            slot.begin_response_wait();
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            slot.taken.set(slot.taken.get() + bytes as u64);
            if slot.taken.get() > slot.limit {
                slot.yielded.set(true);
                slot.byte_observer.observe_bytes(bytes as u64);
                slot.fault.set(Some(BodyFault::TooLarge(slot.limit)));
                return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
            }
            if let Some(throttle) = &mut *slot.throttle.borrow_mut()
                && let Some(data) = frame.data_ref()
            {
                throttle.hold(data.clone());
            }
            if slot.is_holding() {
                return slot.poll_held(cx).map(|piece| Some(Ok(piece)));
            }
            slot.pass_on(bytes);
        }
        frame.map_err(RequestBodyError::Client)
    }

    fn is_end_stream(&self) -> bool {
        self.slot.is_complete()
    }

    fn size_hint(&self) -> SizeHint {
        let unread =
            self.slot.inner.borrow().as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        match &*self.slot.throttle.borrow() {
            Some(throttle) => throttle.with_held(&unread),
            None => unread,
        }
    }
}
