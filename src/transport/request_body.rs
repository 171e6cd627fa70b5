//! The body of a request on its way up: the client's frames as they come, counted, and never waited for beyond the limit.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use super::io_timeout::IdleTimeout;
use super::silence::{ResponseWaits, WaitPeriod};

/// A request body, as hyper owns it.
#[derive(Debug)]
pub struct RequestBody {
    slot: Rc<BodyState>,
    stall: Option<IdleTimeout>,
}

/// The client's body, which outlives the connection it was meant for: as long as none of it was taken, it can still go out on
/// another.
#[derive(Debug)]
pub(super) struct BodyState {
    /// None for a request of our own, which has no body.
    inner: RefCell<Option<Incoming>>,
    ends: EofSemantics,
    taken: Cell<u64>,
    /// Who is told of them.
    told: Rc<dyn ByteObserver>,
    /// Held until the body is: what counts the requests in flight.
    _in_flight: Rc<()>,
    yielded: Cell<bool>,
    /// When the request was handed to a connection; `None` while it waits for one.
    begun: Cell<Option<Instant>>,
    /// When its last byte came.
    moved: Cell<Option<Instant>>,
    /// Whether the next one is the client's to send.
    awaited: Cell<bool>,
    /// The requests that wait for a response, to which this belongs once its body has come whole.
    waits: RefCell<Option<Rc<ResponseWaits>>>,
    /// The wait of this request, if it has begun.
    wait: Cell<Option<WaitPeriod>>,
    /// How many bytes it may have.
    limit: u64,
    fault: Cell<Option<BodyFault>>,
}

/// Who is told how much of a body was taken.
pub trait ByteObserver: fmt::Debug {
    /// So many bytes more.
    fn observe_bytes(&self, bytes: u64);
}

impl ByteObserver for () {
    fn observe_bytes(&self, _: u64) {}
}

/// Why we gave a body up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    /// The client stood still.
    Stalled,
    /// It has more bytes than this.
    TooLarge(u64),
}

/// Why a body does not go on. Whatever was sent of it is not completed.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// The client ended it early, or sent what is no body.
    #[error(transparent)]
    Client(#[from] hyper::Error),
    /// The client reset the stream, in a way that looks like an end.
    #[error("the client has reset the stream before the end of the body")]
    Reset,
    /// The client sent nothing for the limit.
    #[error("the client has sent nothing for too long")]
    Stalled,
    /// There is more of it than the limit.
    #[error("the body is larger than it may be")]
    TooLarge,
}

/// What the end of a client's body is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EofSemantics {
    /// It is one: HTTP/1 knows no other.
    Surely,
    /// It is one if the stream has ended too: a reset without an error also comes as an end (HTTP/2).
    WithItsStream,
}

impl RequestBody {
    /// Wraps a client's body; `told` hears of its bytes as they are read, while hyper owns the body.
    /// `in_flight` is held as long as the body is. More than `limit` bytes are not sent.
    #[must_use]
    pub fn new(
        inner: Incoming,
        ends: EofSemantics,
        told: Rc<dyn ByteObserver>,
        limit: u64,
        in_flight: Rc<()>,
    ) -> Self {
        Self::of(Some(inner), ends, (told, limit), in_flight)
    }

    /// No body: for requests that no client has sent.
    #[must_use]
    pub fn none() -> Self {
        Self::of(None, EofSemantics::Surely, (Rc::new(()), 0), Rc::default())
    }

    fn of(
        inner: Option<Incoming>,
        ends: EofSemantics,
        (told, limit): (Rc<dyn ByteObserver>, u64),
        in_flight: Rc<()>,
    ) -> Self {
        let slot = BodyState {
            inner: RefCell::new(inner),
            ends,
            taken: Cell::default(),
            told,
            _in_flight: in_flight,
            yielded: Cell::default(),
            begun: Cell::default(),
            moved: Cell::default(),
            awaited: Cell::default(),
            waits: RefCell::default(),
            wait: Cell::default(),
            limit,
            fault: Cell::default(),
        };
        Self { slot: Rc::new(slot), stall: None }
    }

    /// Limits how long the client is waited for.
    pub(super) fn limit(&mut self, limit: Duration) {
        self.stall = Some(IdleTimeout::new(limit));
    }

    pub(super) fn slot(&self) -> Rc<BodyState> {
        Rc::clone(&self.slot)
    }
}

impl BodyState {
    /// The body once more, for another connection. `None` if any of it was taken: it would be sent without its beginning.
    pub(super) fn for_retry(self: &Rc<Self>, limit: Duration) -> Option<RequestBody> {
        // guard: retry-whole-body
        let untouched = !self.yielded.get();
        untouched.then(|| RequestBody { slot: Rc::clone(self), stall: Some(IdleTimeout::new(limit)) })
    }

    /// Whether an end of the frames is the end of the body.
    fn is_ended(&self) -> bool {
        // guard: reset-is-no-end
        self.ends == EofSemantics::Surely || self.inner.borrow().as_ref().is_none_or(Body::is_end_stream)
    }

    /// It is handed to a connection now.
    pub(super) fn begin(&self) {
        self.begun.set(Some(Instant::now()));
        self.moved.set(None);
    }

    /// When it was handed to a connection; now, if it was not yet.
    pub(super) fn started_at(&self) -> Instant {
        self.begun.get().unwrap_or_else(Instant::now)
    }

    /// When its last byte came; until one does, when it was handed over.
    pub(super) fn moved(&self) -> Instant {
        self.moved.get().unwrap_or_else(|| self.started_at())
    }

    /// Whether the client is to send more.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.get()
    }

    /// Waits for a response among `waits` from when the body has come whole.
    pub(super) fn await_response(&self, waits: Rc<ResponseWaits>) {
        self.waits.replace(Some(waits));
        if self.inner.borrow().as_ref().is_none_or(Body::is_end_stream) {
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

    /// Ends the wait. Returns `false` if it did not count any more.
    pub(super) fn end_response_wait(&self) -> bool {
        let waits = self.waits.take();
        waits.zip(self.wait.take()).is_none_or(|(waits, wait)| waits.end(wait))
    }

    /// Why the body was given up, if it was.
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
        let Self { slot, stall } = &mut *self;
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
        if matches!(frame, Poll::Ready(None)) && !slot.is_ended() {
            return Poll::Ready(Some(Err(RequestBodyError::Reset)));
        }
        let is_last = match &frame {
            Poll::Ready(None) => true,
            Poll::Ready(Some(_)) => slot.inner.borrow().as_ref().is_none_or(Body::is_end_stream),
            Poll::Pending => false,
        };
        if is_last {
            slot.begin_response_wait();
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            slot.yielded.set(true);
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            slot.taken.set(slot.taken.get() + bytes);
            slot.told.observe_bytes(bytes);
            slot.moved.set(Some(Instant::now()));
            if slot.taken.get() > slot.limit {
                slot.fault.set(Some(BodyFault::TooLarge(slot.limit)));
                return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
            }
        }
        frame.map_err(RequestBodyError::Client)
    }

    fn is_end_stream(&self) -> bool {
        self.slot.inner.borrow().as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.slot.inner.borrow().as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
