//! The source of a request body: the client, or a body that was read before.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::filtered_body::FilteredBody;

/// The source of a request body.
#[derive(Debug)]
pub(crate) enum BodySource {
    /// The body is read from the client.
    Client(Incoming),
    /// The body is read from the client, and changed.
    Filtered(Box<FilteredBody>),
    /// The body was read before, and is complete.
    Buffered(Full<Bytes>),
}

impl Body for BodySource {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Client(body) => Pin::new(body).poll_frame(cx),
            Self::Filtered(body) => Pin::new(&mut **body).poll_frame(cx),
            Self::Buffered(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Client(body) => body.is_end_stream(),
            Self::Filtered(body) => body.is_end_stream(),
            Self::Buffered(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Client(body) => body.size_hint(),
            Self::Filtered(body) => body.size_hint(),
            Self::Buffered(body) => body.size_hint(),
        }
    }
}
