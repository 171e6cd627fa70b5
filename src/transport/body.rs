//! The body of a request on its way up: the client's frames as they come, counted.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A request body.
#[derive(Debug)]
pub struct Upload {
    inner: Incoming,
    taken: Rc<Cell<u64>>,
}

impl Upload {
    /// Wraps a client's body; `taken` counts its bytes as they are read, and is seen by others while hyper owns the body.
    #[must_use]
    pub fn new(inner: Incoming, taken: Rc<Cell<u64>>) -> Self {
        Self { inner, taken }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.taken.set(self.taken.get() + data.len() as u64);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
