//! The response to the client: that of OSS, streamed and counted, or an error document of the
//! proxy.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::ext::ReasonPhrase;
use tracing::debug;

use super::error::ProxyError;
use super::headers::{BodyFraming, settle_answer};
use crate::telemetry::{AccessLogEvent, ProcessCounters, ResponseEnd};
use crate::transport::{IdleTimeout, PooledConnection};

/// The response head of OSS, with the body not yet read.
pub(super) struct UpstreamResponse {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Option<PooledConnection>,
    pub(super) bodiless: bool,
    /// The document that replaces the body, if there is one.
    pub(super) replaced: Option<Bytes>,
}

/// A failure of the response body. The client's connection is closed with it, so that a truncated
/// body does not look complete.
#[derive(Debug, thiserror::Error)]
pub enum ResponseBodyError {
    /// The upstream connection failed.
    #[error(transparent)]
    Upstream(#[from] hyper::Error),
    /// The upstream sent nothing within the timeout, although the client was ready to read.
    #[error("the upstream timed out while sending the response body")]
    Stalled,
}

/// The body of a response. The access event is written when it is dropped.
pub struct ResponseBody(ResponseBodyKind);

enum ResponseBodyKind {
    Download(Box<DownloadBody>),
    Own { document: Full<Bytes>, access: Box<AccessLogEvent> },
}

struct DownloadBody {
    inner: Incoming,
    lease: Option<PooledConnection>,
    stall: IdleTimeout,
    access: AccessLogEvent,
}

impl UpstreamResponse {
    /// Wraps a response of the upstream and prepares its head for the client.
    pub(super) fn new(
        mut response: Response<Incoming>,
        lease: PooledConnection,
        head_only: bool,
        counters: &ProcessCounters,
    ) -> Result<Self, ProxyError> {
        // guard: protocol-switch
        if response.status().is_informational() {
            return Err(ProxyError::SwitchedProtocols);
        }
        *response.version_mut() = Version::HTTP_11;
        // Drop all extensions (upgrades) except the reason phrase.
        let words = response.extensions_mut().remove::<ReasonPhrase>();
        response.extensions_mut().clear();
        if let Some(words) = words {
            response.extensions_mut().insert(words);
        }
        let bodiless =
            head_only || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let extent = BodyFraming::of(response.headers());
        // The client would not learn the coding of the body, or would take a truncated one for
        // complete.
        if extent == (BodyFraming::ByEncoding { chunked: false }) {
            return Err(ProxyError::ResponseCoding);
        }
        settle_answer(response.headers_mut(), extent);
        match response.body().size_hint().exact() {
            _ if bodiless => {}
            // hyper has read the length from this header.
            Some(_) if extent == (BodyFraming::ByLength { plainly: true }) => {}
            Some(length) => {
                response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            None => {
                // guard: length-of-encoded-body
                response.headers_mut().remove(CONTENT_LENGTH);
            }
        }
        if extent == BodyFraming::Nowhere && !bodiless && !response.body().is_end_stream() {
            counters.unframed();
            debug!(
                "the upstream response has neither length nor chunks; truncation cannot be detected on plain TCP"
            );
        }
        Ok(Self { response, lease: Some(lease), bodiless, replaced: None })
    }

    /// Builds the response for the client.
    pub(super) fn respond(self, stall: Duration, mut access: AccessLogEvent) -> Response<ResponseBody> {
        let Self { response, lease, replaced, .. } = self;
        let (head, inner) = response.into_parts();
        access.answered(head.status.as_u16());
        if access.is_logged() {
            access.oss_request_id = text(&head.headers, "x-oss-request-id");
            access.oss_ec = text(&head.headers, "x-oss-ec");
        }
        if let Some(document) = replaced {
            return Response::from_parts(head, ResponseBody::own(document, access));
        }
        let mut download = Box::new(DownloadBody { inner, lease, stall: IdleTimeout::new(stall), access });
        download.look_for_end();
        Response::from_parts(head, ResponseBody(ResponseBodyKind::Download(download)))
    }
}

pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

impl ResponseBody {
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
        if let Some(lease) = self.lease.take() {
            lease.finish();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        loop {
            let polled = Pin::new(&mut self.inner).poll_frame(cx);
            // guard: upstream-stops
            if self.stall.is_over(&polled, cx) {
                self.access.end = ResponseEnd::Broken;
                self.lease = None;
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
                    self.lease = None;
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
