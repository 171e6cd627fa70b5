//! A client's body that is changed on its way, such as the file of a form.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A filter of a body. It returns as many bytes as it takes, apart from those that it adds at first.
pub(crate) trait BodyFilter: fmt::Debug {
    /// Returns bytes that precede the body; only once.
    fn take_beginning(&mut self) -> Option<Bytes>;

    /// Takes a part of the body, and returns the next part of the filtered body.
    fn filter(&mut self, data: Bytes) -> Bytes;

    /// Returns the bytes that are held back, at the end of the body.
    fn take_end(&mut self) -> Option<Bytes>;

    /// Returns the number of bytes that will be returned in addition to the rest of the body.
    fn held(&self) -> u64;
}

/// A filtered body. It holds no more than a frame.
#[derive(Debug)]
pub(crate) struct FilteredBody {
    inner: Incoming,
    filter: Box<dyn BodyFilter>,
}

impl FilteredBody {
    pub(crate) fn new(inner: Incoming, filter: Box<dyn BodyFilter>) -> Self {
        Self { inner, filter }
    }
}

impl Body for FilteredBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { inner, filter } = self.get_mut();
        if let Some(beginning) = filter.take_beginning() {
            return Poll::Ready(Some(Ok(Frame::data(beginning))));
        }
        loop {
            let frame = std::task::ready!(Pin::new(&mut *inner).poll_frame(cx));
            let filtered = match frame {
                // Trailers are for this hop.
                Some(Ok(frame)) => {
                    frame.into_data().map_or_else(|_| Bytes::new(), |data| filter.filter(data))
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(filter.take_end().map(|end| Ok(Frame::data(end)))),
            };
            if !filtered.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(filtered))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.filter.held() == 0 && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.filter.held();
        let inner = self.inner.size_hint();
        match inner.exact() {
            Some(exact) => SizeHint::with_exact(exact + held),
            None => SizeHint::new(),
        }
    }
}
