//! The body of a response to the client: that of OSS, streamed and counted, or a document of the
//! proxy.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::caller_limiter::CallerPermit;
use crate::telemetry::{AccessLogEvent, ResponseEnd};
use crate::transport::{BodyThrottle, IdleTimeout, PooledConnection};

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
    Own {
        document: Full<Bytes>,
        access: Box<AccessLogEvent>,
        /// The permit of the caller, if it has limits.
        _permit: Option<Rc<CallerPermit>>,
    },
}

struct DownloadBody {
    inner: Incoming,
    connection: Option<PooledConnection>,
    stall: IdleTimeout,
    access: AccessLogEvent,
    /// Slows the body down to the limit of the caller, if it has one.
    throttle: Option<Box<BodyThrottle>>,
    /// The permit of the caller, if it has limits.
    permit: Option<Rc<CallerPermit>>,
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
        let mut download = Box::new(DownloadBody {
            inner,
            connection,
            stall: IdleTimeout::new(stall),
            access,
            throttle: None,
            permit: None,
        });
        download.look_for_end();
        Self(ResponseBodyKind::Download(download))
    }

    /// Sets the permit of the caller, which is held as long as the body. Only a download is slowed
    /// down: a document of the proxy is small.
    pub(super) fn with_permit(mut self, permit: Option<Rc<CallerPermit>>) -> Self {
        match &mut self.0 {
            ResponseBodyKind::Download(download) => {
                download.throttle =
                    permit.as_ref().and_then(|permit| permit.download_throttle()).map(Box::new);
                download.permit = permit;
            }
            ResponseBodyKind::Own { _permit: held, .. } => *held = permit,
        }
        self
    }

    /// Wraps a complete document.
    pub(super) fn own(document: impl Into<Bytes>, mut access: AccessLogEvent) -> Self {
        let document = document.into();
        access.add_response_bytes(document.len() as u64);
        access.end = ResponseEnd::Whole;
        Self(ResponseBodyKind::Own {
            document: Full::from(document),
            access: Box::new(access),
            _permit: None,
        })
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
        if self.is_end_stream() {
            self.end();
        }
    }

    /// Returns whether the upstream has sent the whole body, and nothing of it is held.
    fn is_end_stream(&self) -> bool {
        !self.is_holding() && self.inner.is_end_stream()
    }

    /// Returns whether a frame waits for the limit of the caller.
    fn is_holding(&self) -> bool {
        self.throttle.as_ref().is_some_and(|throttle| throttle.is_holding())
    }

    /// Passes a part of the body to the client.
    fn pass_on(&mut self, data: Bytes) -> Frame<Bytes> {
        self.access.add_response_bytes(data.len() as u64);
        self.look_for_end();
        Frame::data(data)
    }

    fn end(&mut self) {
        self.access.end = ResponseEnd::Whole;
        if let Some(connection) = self.connection.take() {
            connection.finish();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        loop {
            if let Some(throttle) = &mut self.throttle
                && throttle.is_holding()
            {
                let piece = std::task::ready!(throttle.poll_piece(cx));
                return Poll::Ready(Some(Ok(self.pass_on(piece))));
            }
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
                    let Ok(data) = frame.into_data() else {
                        // Trailers are for this hop; they were not announced to the client.
                        continue;
                    };
                    if let Some(throttle) = &mut self.throttle
                        && !data.is_empty()
                    {
                        throttle.hold(data);
                        continue;
                    }
                    Poll::Ready(Some(Ok(self.pass_on(data))))
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
            ResponseBodyKind::Download(download) => download.is_end_stream(),
            ResponseBodyKind::Own { document, .. } => document.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            ResponseBodyKind::Download(download) => {
                let unread = download.inner.size_hint();
                download.throttle.as_ref().map_or(unread, |throttle| throttle.with_held(&unread))
            }
            ResponseBodyKind::Own { document, .. } => document.size_hint(),
        }
    }
}
