//! An inbound request: its head, the framing of its body, and the body until it is consumed.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};

use super::caller_limiter::CallerPermit;
use super::error::ProxyError;
use super::form_file::FormFileFilter;
use super::form_upload::{FormError, FormUpload};
use super::headers::strip_hop_by_hop;
use super::judged_body::{self, JudgedBodyError};
use super::page_isolation::PageIsolation;
use super::response_body::ResponseBody;
use super::state::{AcceptingListener, ProxyState, RequestLimits};
use crate::address::{ListenerNames, LocateError, LocatedObject, UrlScheme};
use crate::caller;
use crate::oss::FormBoundary;
use crate::telemetry::{AccessLogEvent, BodyByteCounter};
use crate::transport::{
    BodyFilter as _, BodySource, ByteObserver, EofSemantics, FilteredBody, HEADER_LINES_MAX, RequestBody,
};

/// An inbound request. Its parts are taken one by one; a rejection depends on the remaining ones.
pub(super) struct InboundRequest {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    framing: RequestFraming,
    announced: BodyHeaders,
    /// `true` if the client may wait for `100 Continue` before it sends the body.
    holds_back: bool,
    ends: EofSemantics,
    body: Option<Incoming>,
    /// The body that was read to judge the request, and replaces that of the client.
    judged_body: Option<Bytes>,
    /// The number of bytes of a form that were read, and the filter of the others.
    form: (u64, Option<FormFileFilter>),
    in_flight: Rc<()>,
    /// The permit of the caller, if it has limits.
    permit: Option<Rc<CallerPermit>>,
    /// The isolation of the response, once the client is identified.
    pub(super) isolation: PageIsolation,
}

/// The framing of the request body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestFraming {
    /// No body, and no header that announces one.
    Absent,
    Length(u64),
    Chunked,
}

/// The result of checking whether a header has the only supported value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HeaderCheck {
    /// The header is missing.
    Nothing,
    /// The header has the supported value, in one line.
    AsServed,
    /// The header has another value, or several lines.
    Otherwise,
}

impl HeaderCheck {
    fn observe(&mut self, line: &HeaderValue, served: &str) {
        let as_served = line.as_bytes().trim_ascii().eq_ignore_ascii_case(served.as_bytes());
        *self = if *self == Self::Nothing && as_served { Self::AsServed } else { Self::Otherwise };
    }
}

/// The properties of the body that the headers announce.
#[derive(Clone, Copy)]
struct BodyHeaders {
    length: bool,
    coding: HeaderCheck,
    expectation: HeaderCheck,
    /// `true` for the framing of S3, which OSS would store inside the object.
    aws_chunked: bool,
}

impl BodyHeaders {
    fn by(headers: &HeaderMap) -> Self {
        let mut announced = Self {
            length: false,
            coding: HeaderCheck::Nothing,
            expectation: HeaderCheck::Nothing,
            aws_chunked: false,
        };
        for (name, line) in headers {
            if *name == CONTENT_LENGTH {
                announced.length = true;
            } else if *name == TRANSFER_ENCODING {
                announced.coding.observe(line, "chunked");
            } else if *name == EXPECT {
                announced.expectation.observe(line, "100-continue");
            } else {
                announced.aws_chunked |= says_aws_chunked(name, line);
            }
        }
        announced
    }
}

/// Returns whether a header line announces the framing of S3, with or without signatures and
/// trailers.
fn says_aws_chunked(name: &HeaderName, line: &HeaderValue) -> bool {
    let mut words = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    if *name == CONTENT_ENCODING {
        return words.any(|word| word.eq_ignore_ascii_case(b"aws-chunked"));
    }
    match name.as_str() {
        "x-amz-content-sha256" => {
            words.any(|word| word.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"STREAMING-")))
        }
        "x-amz-decoded-content-length" | "x-amz-trailer" => true,
        _ => false,
    }
}

impl InboundRequest {
    /// Wraps a received request. `in_flight` is held while any part of it is read.
    pub(super) fn new(request: Request<Incoming>, in_flight: Rc<()>) -> Self {
        let (head, body) = request.into_parts();
        let announced = BodyHeaders::by(&head.headers);
        let framing = match body.size_hint().exact() {
            None => RequestFraming::Chunked,
            // guard: empty-put-has-length
            Some(0) if !announced.length && !matches!(head.method, Method::PUT | Method::POST) => {
                RequestFraming::Absent
            }
            Some(length) => RequestFraming::Length(length),
        };
        Self {
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            framing,
            announced,
            holds_back: head.version == Version::HTTP_11 && announced.expectation != HeaderCheck::Nothing,
            ends: if head.version == Version::HTTP_2 {
                EofSemantics::WithItsStream
            } else {
                EofSemantics::Surely
            },
            body: Some(body),
            judged_body: None,
            form: (0, None),
            in_flight,
            permit: None,
            isolation: PageIsolation::default(),
        }
    }

    /// Builds an inbound request from a head alone, with the framing rules of HTTP/1.1, for a dry
    /// run.
    pub(super) fn from_head(head: Parts, in_flight: Rc<()>) -> Self {
        let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let framing = match length {
            _ if head.headers.contains_key(TRANSFER_ENCODING) => RequestFraming::Chunked,
            Some(length) => RequestFraming::Length(length),
            None if matches!(head.method, Method::PUT | Method::POST) => RequestFraming::Length(0),
            None => RequestFraming::Absent,
        };
        Self {
            method: head.method,
            uri: head.uri,
            announced: BodyHeaders::by(&head.headers),
            headers: head.headers,
            framing,
            holds_back: false,
            ends: EofSemantics::Surely,
            body: None,
            judged_body: None,
            form: (0, None),
            in_flight,
            permit: None,
            isolation: PageIsolation::default(),
        }
    }

    /// Returns the method.
    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// Takes the headers. Those of this hop are removed by [`locate`](Self::locate).
    pub(super) fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.headers)
    }

    /// Returns the target.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Checks the limits of the head, and converts it to the form of HTTP/1.1.
    pub(super) fn check_head(&mut self, state: &ProxyState) -> Result<(), ProxyError> {
        if self.headers.len() > HEADER_LINES_MAX {
            return Err(ProxyError::TooManyHeaders(HEADER_LINES_MAX));
        }
        let bytes = head_bytes(&self.method, &self.uri, &self.headers);
        if bytes > state.limits.head {
            return Err(ProxyError::HeadTooLarge(bytes, state.limits.head));
        }
        if self.ends == EofSemantics::WithItsStream {
            write_as_http1(&mut self.uri, &mut self.headers)?;
        }
        Ok(())
    }

    /// Resolves the target of the request, after checking its limits and its framing.
    pub(super) fn locate(
        &mut self,
        listener: &AcceptingListener,
        state: &ProxyState,
    ) -> Result<LocatedObject, ProxyError> {
        self.check_head(state)?;
        // Only plain chunks can be forwarded; hyper accepts other codings.
        // guard: other-codings
        if self.announced.coding == HeaderCheck::Otherwise {
            return Err(ProxyError::Coding);
        }
        if self.announced.aws_chunked {
            return Err(ProxyError::AwsChunked);
        }
        if let RequestFraming::Length(length) = self.framing
            && length > state.limits.body
        {
            return Err(ProxyError::TooLarge(length, state.limits.body));
        }
        if self.announced.expectation == HeaderCheck::Otherwise {
            return Err(ProxyError::Expectation);
        }
        let rules = &listener.rules;
        if rules.identify.accepts_any() {
            caller::check_nominated(&self.headers)?;
        }
        strip_hop_by_hop(&mut self.headers);
        let listener_names = ListenerNames {
            domains: &rules.domains,
            scheme: if rules.tls { UrlScheme::Https } else { UrlScheme::Http },
            unnamed: rules.unnamed,
            address: listener.address,
        };
        let names = (listener_names, &state.routing_table);
        Ok(LocatedObject::find(&self.method, &self.uri, &self.headers, names)?)
    }

    /// Sets the permit of the caller, which is held until the body was read.
    pub(super) fn set_permit(&mut self, permit: Option<Rc<CallerPermit>>) {
        self.permit = permit;
    }

    /// Combines the body with the head that will be sent, and keeps the framing of the client.
    /// `byte_counter` counts the bytes of the body.
    pub(super) fn attach(
        &mut self,
        mut head: Request<()>,
        byte_counter: Rc<BodyByteCounter>,
        limits: &RequestLimits,
    ) -> Option<Request<RequestBody>> {
        self.frame(head.headers_mut());
        let in_flight = Rc::clone(&self.in_flight);
        let permit = self.permit.take();
        let upload = permit.as_ref().and_then(|permit| permit.upload().map(Arc::clone));
        let byte_observer = Box::new(ReceivedByteObserver { byte_counter, _permit: permit });
        let (source, ends) = match self.judged_body.clone() {
            Some(body) => (BodySource::Buffered(Full::new(body)), EofSemantics::Surely),
            None => (self.source()?, self.ends),
        };
        let mut body = RequestBody::new(source, ends, byte_observer, limits.body, in_flight);
        if let Some(upload) = upload {
            body = body.throttled(upload);
        }
        Some(head.map(|()| body))
    }

    /// Reads a body that is judged, of at most `limit` bytes.
    ///
    /// # Errors
    /// [`JudgedBodyError`] if it is longer, incomplete, or not the one of `Content-MD5`.
    pub(super) async fn read_judged(
        &mut self,
        limit: usize,
        stall: Duration,
        headers: &HeaderMap,
    ) -> Result<Bytes, JudgedBodyError> {
        let Some(body) = self.body.take() else { return self.given_body(limit, headers) };
        if let RequestFraming::Length(length) = self.framing
            && length > limit as u64
        {
            self.body = Some(body);
            return Err(JudgedBodyError::TooLong(limit));
        }
        let bytes = judged_body::read(body, limit, stall, headers).await?;
        // With HTTP/2, the end of a body without a length may be a reset.
        if self.ends == EofSemantics::WithItsStream
            && self.framing != RequestFraming::Length(bytes.len() as u64)
        {
            return Err(JudgedBodyError::Broken);
        }
        self.replace_body(bytes.clone());
        Ok(bytes)
    }

    /// Returns the body of a dry run, as [`Self::read_judged`] does.
    fn given_body(&self, limit: usize, headers: &HeaderMap) -> Result<Bytes, JudgedBodyError> {
        let Some(body) = &self.judged_body else { return Ok(Bytes::new()) };
        judged_body::check(body, limit, headers)?;
        Ok(body.clone())
    }

    /// Reads the beginning of a form, up to the content of its file.
    ///
    /// # Errors
    /// [`FormError`] if it is malformed or incomplete.
    pub(super) async fn read_form(
        &mut self,
        boundary: &FormBoundary,
        stall: Duration,
    ) -> Result<FormUpload, FormError> {
        let body = self.body.as_mut().ok_or(FormError::Incomplete)?;
        let mut text = BytesMut::new();
        let read = async {
            // Each parse begins with the first field, so there are few.
            let mut parse_at = 0;
            loop {
                let data = match body.frame().await {
                    Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                    Some(Err(_)) => return Err(FormError::Incomplete),
                    None => return FormUpload::parse(&text, boundary)?.ok_or(FormError::Incomplete),
                };
                text.extend_from_slice(&data);
                if text.len() >= parse_at {
                    if let Some(form) = FormUpload::parse(&text, boundary)? {
                        return Ok(form);
                    }
                    parse_at = text.len() + PARSE_STEP;
                }
            }
        };
        let form = tokio::time::timeout(stall, read).await.map_err(|_| FormError::Incomplete)??;
        self.form.0 = text.len() as u64;
        Ok(form)
    }

    /// Sets the filter of a form whose beginning was read.
    pub(super) fn set_form(&mut self, filter: FormFileFilter) {
        if let RequestFraming::Length(length) = self.framing {
            self.framing = RequestFraming::Length(length.saturating_sub(self.form.0) + filter.held());
        }
        self.form.1 = Some(filter);
    }

    fn source(&mut self) -> Option<BodySource> {
        let body = self.body.take()?;
        Some(match self.form.1.take() {
            Some(filter) => BodySource::Filtered(Box::new(FilteredBody::new(body, Box::new(filter)))),
            None => BodySource::Client(body),
        })
    }

    /// Replaces the body.
    pub(super) fn replace_body(&mut self, body: Bytes) {
        self.framing = RequestFraming::Length(body.len() as u64);
        self.judged_body = Some(body);
    }

    /// Sets the framing headers in the head that will be sent.
    pub(super) fn frame(&self, headers: &mut HeaderMap) {
        match self.framing {
            // A received request without a length has no such header to remove.
            RequestFraming::Absent if self.announced.length => {
                headers.remove(CONTENT_LENGTH);
            }
            RequestFraming::Absent => {}
            RequestFraming::Length(length) => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            RequestFraming::Chunked => {
                headers.remove(CONTENT_LENGTH);
                // guard: chunks-stay-chunks
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
    }

    /// Builds the response to a rejected request. A small body without `Expect` is drained, so that
    /// the connection can be reused. After a larger body or `Expect` the connection is closed:
    /// after `Expect` the client may or may not send the body.
    pub(super) fn refuse(self, refusal: &ProxyError, access: AccessLogEvent) -> Response<ResponseBody> {
        let response = refusal.response(&self.method, access);
        self.answer(response)
    }

    /// Returns a response without reading the body as a request of its own: a small body is drained,
    /// and after any other the connection is closed.
    pub(super) fn answer(self, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
        let done = match (self.body, self.framing) {
            (None, RequestFraming::Absent | RequestFraming::Length(0)) => true,
            (None, _) if self.judged_body.is_some() => true,
            (None, RequestFraming::Length(_) | RequestFraming::Chunked) => false,
            (Some(body), _) if body.is_end_stream() => true,
            (Some(body), RequestFraming::Length(length))
                if length <= DRAINED_BYTES_MAX && !self.holds_back =>
            {
                tokio::task::spawn_local(drain(body, self.in_flight));
                true
            }
            (Some(_), _) => false,
        };
        if !done {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// An observer that adds the bytes of a body to the counter of its request.
#[derive(Debug)]
struct ReceivedByteObserver {
    byte_counter: Rc<BodyByteCounter>,
    /// Held as long as the body.
    _permit: Option<Rc<CallerPermit>>,
}

impl ByteObserver for ReceivedByteObserver {
    fn observe_bytes(&self, bytes: u64) {
        self.byte_counter.add(bytes);
    }
}

/// Returns the size of a head in the form of HTTP/1.1: `METHOD TARGET HTTP/1.1`, the header lines
/// `NAME: VALUE`, and an empty line.
fn head_bytes(method: &Method, uri: &Uri, headers: &HeaderMap) -> usize {
    let origin = uri.authority().map_or(0, |authority| {
        uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len()) + authority.as_str().len()
    });
    let target = origin + uri.path_and_query().map_or(0, |target| target.as_str().len());
    let lines: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    method.as_str().len() + target + "  HTTP/1.1\r\n".len() + lines + "\r\n".len()
}

/// Converts an HTTP/2 head to the form of HTTP/1.1, which the later stages read. The host moves to
/// its header, the target becomes a path, and values are trimmed. The scheme is dropped, because
/// the listener determines it.
fn write_as_http1(uri: &mut Uri, headers: &mut HeaderMap) -> Result<(), ProxyError> {
    for value in headers.values_mut() {
        // guard: h2-values-trimmed
        let trimmed = value.as_bytes().trim_ascii();
        if trimmed.len() != value.len()
            && let Ok(trimmed) = HeaderValue::from_bytes(trimmed)
        {
            *value = trimmed;
        }
    }
    if let Some(authority) = uri.authority() {
        let authority = authority.as_str();
        let mut hosts = headers.get_all(HOST).iter();
        // guard: authority-and-host-agree
        if hosts.any(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes())) {
            return Err(LocateError::Malformed(":authority and host name different hosts").into());
        }
        let host = HeaderValue::from_str(authority).map_err(|_| ProxyError::Unsendable)?;
        headers.insert(HOST, host);
    }
    if let Some(target) = uri.path_and_query() {
        *uri = Uri::from(target.clone());
    }
    Ok(())
}

/// Reads and discards a body, for at most [`DRAIN_FOR`].
async fn drain(mut body: Incoming, _in_flight: Rc<()>) {
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    // The body is dropped in either case, which closes the connection if it was not read
    // completely.
    let _ = tokio::time::timeout(DRAIN_FOR, all).await;
}

/// The maximum size of a request body that is drained after a rejection.
const DRAINED_BYTES_MAX: u64 = 1024 * 1024;
/// The number of bytes of a form after which its beginning is parsed again.
const PARSE_STEP: usize = 1024;
const DRAIN_FOR: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use http::{HeaderMap, HeaderName, Request};

    use super::InboundRequest;

    /// The headers of a request with these lines, framed for the upstream.
    fn framed(method: &str, lines: &[(&str, &str)]) -> Vec<String> {
        let mut request = Request::builder().method(method);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let mut headers: HeaderMap = head.headers.clone();
        InboundRequest::from_head(head, Rc::default()).frame(&mut headers);
        headers.iter().map(|(name, value): (&HeaderName, _)| format!("{name}: {value:?}")).collect()
    }

    #[test]
    fn one_header_tells_where_the_body_ends_whatever_came() {
        let chunked = ["transfer-encoding: \"chunked\""];
        assert_eq!(framed("PUT", &[("content-length", "5"), ("transfer-encoding", "chunked")]), chunked);
        assert_eq!(framed("PUT", &[("content-length", "005")]), ["content-length: \"5\""]);
        assert_eq!(framed("PUT", &[]), ["content-length: \"0\""]);
        assert_eq!(framed("GET", &[("content-length", "five")]), Vec::<String>::new());
        assert_eq!(framed("GET", &[]), Vec::<String>::new());
    }
}
