//! A request as it came in: its head, how its body is framed, and the body until somebody takes it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use super::error::ProxyError;
use super::headers::strip_hop_by_hop;
use super::response::ResponseBody;
use super::stages::LocatedRequest;
use super::state::{ListenerRules, ProxyState, RequestLimits};
use crate::address::{self, ListenerNames, LocateError, UrlScheme};
use crate::telemetry::{AccessLogEvent, BodyByteCounter};
use crate::transport::{ByteObserver, EofSemantics, HEADER_LINES_MAX, RequestBody};

/// An inbound request. The parts are taken out one by one; what is left when it is refused decides how.
pub(super) struct InboundRequest {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    framing: RequestFraming,
    announced: BodyHeaders,
    /// Whether the client may hold the body back until it is asked for it.
    holds_back: bool,
    ends: EofSemantics,
    body: Option<Incoming>,
    in_flight: Rc<()>,
}

/// How the end of the body is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestFraming {
    /// There is none, and nothing said so.
    Absent,
    Length(u64),
    Chunked,
}

/// Whether a header says the one word that is served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HeaderCheck {
    /// It is absent.
    Nothing,
    /// It does.
    AsServed,
    /// It says something else, or says it in several lines.
    Otherwise,
}

impl HeaderCheck {
    fn observe(&mut self, line: &HeaderValue, served: &str) {
        let as_served = line.as_bytes().trim_ascii().eq_ignore_ascii_case(served.as_bytes());
        *self = if *self == Self::Nothing && as_served { Self::AsServed } else { Self::Otherwise };
    }
}

/// What the headers say of the body.
#[derive(Clone, Copy)]
struct BodyHeaders {
    length: bool,
    coding: HeaderCheck,
    expectation: HeaderCheck,
    /// Whether it is in the framing of S3, which OSS would store inside the object.
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

/// Whether a header line says that the body is in the framing of S3, with or without signatures and trailers.
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
    /// A request that has just come. `in_flight` is held for as long as anything of it is read.
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
            in_flight,
        }
    }

    /// A request that never came, of which there is only this head, as HTTP/1.1 has it.
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
            in_flight,
        }
    }

    /// Finds what the request is for, once its framing is known to be sound.
    pub(super) fn locate(
        &mut self,
        (gate, address): (&ListenerRules, Option<SocketAddr>),
        state: &ProxyState,
    ) -> Result<Box<LocatedRequest>, ProxyError> {
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
        // Only plain chunks can be passed on; hyper lets other codings through to here.
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
        strip_hop_by_hop(&mut self.headers);
        let entrance = ListenerNames {
            domains: &gate.domains,
            scheme: if gate.tls { UrlScheme::Https } else { UrlScheme::Http },
            unnamed: gate.unnamed,
            address,
        };
        let names = (entrance, &state.directory);
        let object = address::LocatedObject::find(&self.method, &self.uri, &self.headers, names)?;
        Ok(LocatedRequest::new(self.method.clone(), std::mem::take(&mut self.headers), object))
    }

    /// Puts the body under the head that will be sent, framed as it came. `told` hears of its bytes.
    pub(super) fn attach(
        &mut self,
        (method, target, mut headers): (Method, Uri, HeaderMap),
        told: Rc<dyn ByteObserver>,
        limits: &RequestLimits,
    ) -> Option<Request<RequestBody>> {
        self.frame(&mut headers);
        let in_flight = Rc::clone(&self.in_flight);
        let body = RequestBody::new(self.body.take()?, self.ends, told, limits.body, in_flight);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target;
        *request.headers_mut() = headers;
        Some(request)
    }

    /// Tells in the head that will be sent how the body ends.
    pub(super) fn frame(&self, headers: &mut HeaderMap) {
        match self.framing {
            // Of a request that came there is nothing to remove here.
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

    /// The answer to a request that is refused. A small body that is on its way anyway is read and forgotten, so that the
    /// connection can go on; for a larger one the connection ends, and so it does after `Expect`, where the client may or may
    /// not send the body.
    pub(super) fn refuse(self, refusal: &ProxyError, access: AccessLogEvent) -> Response<ResponseBody> {
        let mut response = refusal.response(&self.method, access);
        let done = match (self.body, self.framing) {
            (None, RequestFraming::Absent | RequestFraming::Length(0)) => true,
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

impl ByteObserver for BodyByteCounter {
    fn observe_bytes(&self, bytes: u64) {
        self.add(bytes);
    }
}

/// Returns how long a head is as HTTP/1.1 writes it: `METHOD TARGET HTTP/1.1`, the lines `NAME: VALUE`, and an empty one.
fn head_bytes(method: &Method, uri: &Uri, headers: &HeaderMap) -> usize {
    let origin = uri.authority().map_or(0, |authority| {
        uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len()) + authority.as_str().len()
    });
    let target = origin + uri.path_and_query().map_or(0, |target| target.as_str().len());
    let lines: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    method.as_str().len() + target + "  HTTP/1.1\r\n".len() + lines + "\r\n".len()
}

/// Gives an HTTP/2 head the form of an HTTP/1 one, which the rest of the walk reads: the host in its header, the target a path,
/// values without the blanks around them. The scheme says how the client came here, which we know.
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

/// Reads a body to its end, for a while.
async fn drain(mut body: Incoming, _in_flight: Rc<()>) {
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    // Either way the body is dropped, which ends the connection if it was not read whole.
    let _ = tokio::time::timeout(DRAIN_FOR, all).await;
}

/// The longest body that is read only to be forgotten.
const DRAINED_BYTES_MAX: u64 = 1024 * 1024;
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
