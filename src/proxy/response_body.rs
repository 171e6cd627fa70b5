//! The body of a response to the client: that of OSS, streamed and counted, or a document of the
//! proxy.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use crate::telemetry::{AccessLogEvent, ResponseEnd};
use crate::transport::{IdleTimeout, PooledConnection};

/// The body of a response. The access event is written when it is dropped.
pub(crate) struct ResponseBody(ResponseBodyKind);

/// A failure of the response body. The client's connection is closed with it, so that a truncated
/// body does not look complete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResponseBodyError {
    /// The upstream connection failed.
    #[error(transparent)]
    Upstream(#[from] hyper::Error),
    /// The upstream sent nothing within the timeout, although the client was ready to read.
    #[error("the upstream timed out while sending the response body")]
    Stalled,
}

enum ResponseBodyKind {
    Download(Box<DownloadBody>),
    Own { document: Full<Bytes>, access: Box<AccessLogEvent> },
}

struct DownloadBody {
    inner: Incoming,
    connection: Option<PooledConnection>,
    stall: IdleTimeout,
    access: AccessLogEvent,
}

impl ResponseBody {
    /// Wraps the body of an upstream response, which fails after `stall` without a byte. The
    /// connection is released at the end of the body.
    pub(super) fn download(
        inner: Incoming,
        connection: Option<PooledConnection>,
        stall: Duration,
        access: AccessLogEvent,
    ) -> Self {
        let mut download =
            Box::new(DownloadBody { inner, connection, stall: IdleTimeout::new(stall), access });
        download.look_for_end();
        Self(ResponseBodyKind::Download(download))
    }

    /// Wraps a complete document.
    pub(super) fn own(document: impl Into<Bytes>, mut access: AccessLogEvent) -> Self {
        let document = document.into();
        access.add_response_bytes(document.len() as u64);
        access.end = ResponseEnd::Whole;
        Self(ResponseBodyKind::Own { document: Full::from(document), access: Box::new(access) })
    }

    /// Records that a part of the body was dropped before it reached the client.
    pub(crate) fn fall_short(&mut self) {
        let access = match &mut self.0 {
            ResponseBodyKind::Download(download) => &mut download.access,
            ResponseBodyKind::Own { access, .. } => access,
        };
        if access.end == ResponseEnd::Whole {
            access.end = ResponseEnd::Left;
        }
    }
}

impl DownloadBody {
    /// Releases the connection at the end of the body. hyper does not poll further once the
    /// announced length has arrived.
    fn look_for_end(&mut self) {
        if self.inner.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        self.access.end = ResponseEnd::Whole;
        if let Some(connection) = self.connection.take() {
            connection.finish();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        loop {
            let polled = Pin::new(&mut self.inner).poll_frame(cx);
            // guard: upstream-stops
            if self.stall.is_over(&polled, cx) {
                self.access.end = ResponseEnd::Broken;
                self.connection = None;
                return Poll::Ready(Some(Err(ResponseBodyError::Stalled)));
            }
            return match polled {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => {
                    self.end();
                    Poll::Ready(None)
                }
                Poll::Ready(Some(Err(error))) => {
                    self.access.end = ResponseEnd::Broken;
                    self.connection = None;
                    Poll::Ready(Some(Err(error.into())))
                }
                Poll::Ready(Some(Ok(frame))) => {
                    let Some(data) = frame.data_ref() else {
                        // Trailers are for this hop; they were not announced to the client.
                        continue;
                    };
                    self.access.add_response_bytes(data.len() as u64);
                    self.look_for_end();
                    Poll::Ready(Some(Ok(frame)))
                }
            };
        }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        match &mut self.0 {
            ResponseBodyKind::Download(download) => download.poll(cx),
            ResponseBodyKind::Own { document, .. } => Pin::new(document)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            ResponseBodyKind::Download(download) => download.inner.is_end_stream(),
            ResponseBodyKind::Own { document, .. } => document.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            ResponseBodyKind::Download(download) => download.inner.size_hint(),
            ResponseBodyKind::Own { document, .. } => document.size_hint(),
        }
    }
}
