//! The body of a request on its way up: the client's frames as they come, counted, and never waited for beyond the limit.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use super::stall::Stall;

/// A request body.
#[derive(Debug)]
pub struct Upload {
    inner: Incoming,
    taken: Rc<Cell<u64>>,
    stall: Option<Stall>,
    progress: Rc<Progress>,
}

/// What is known of a body while hyper owns it.
#[derive(Debug)]
pub(super) struct Progress {
    /// When its last byte came.
    moved: Cell<Instant>,
    /// Whether the next one is the client's to send.
    awaited: Cell<bool>,
    stalled: Cell<bool>,
}

/// Why a body does not go on. Whatever was sent of it is not completed.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The client ended it early, or sent what is no body.
    #[error(transparent)]
    Client(#[from] hyper::Error),
    /// The client sent nothing for the limit.
    #[error("the client has sent nothing for too long")]
    Stalled,
}

impl Upload {
    /// Wraps a client's body; `taken` counts its bytes as they are read, and is seen by others while hyper owns the body.
    #[must_use]
    pub fn new(inner: Incoming, taken: Rc<Cell<u64>>) -> Self {
        let moved = Cell::new(Instant::now());
        let progress = Rc::new(Progress { moved, awaited: Cell::default(), stalled: Cell::default() });
        Self { inner, taken, stall: None, progress }
    }

    /// Limits how long the client is waited for.
    pub(super) fn limit(&mut self, limit: Duration) {
        self.stall = Some(Stall::new(limit));
    }

    pub(super) fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }
}

impl Progress {
    pub(super) fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// Whether the client is to send more.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.get()
    }

    /// Whether the body was given up because the client stood still.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.get()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if self.stall.as_mut().is_some_and(|stall| stall.is_over(&frame, cx)) {
            self.progress.stalled.set(true);
            return Poll::Ready(Some(Err(UploadError::Stalled)));
        }
        self.progress.awaited.set(frame.is_pending());
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.taken.set(self.taken.get() + data.len() as u64);
            self.progress.moved.set(Instant::now());
        }
        frame.map_err(UploadError::Client)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
