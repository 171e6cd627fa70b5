//! Decides when a failed request may be retried. A request that failed on a reused connection is
//! retried on a fresh one, if OSS cannot have acted on it or if it is idempotent.

use std::rc::Rc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use tokio::time::Instant;

use super::io_timeout::is_write_timeout;
use super::request_body::{BodyState, RequestBody};

/// A copy of the request for one retry, because hyper consumes the original. The head is kept as
/// bytes: retries are rare, and copying bytes is cheaper than cloning a `HeaderMap`.
pub(crate) struct RetryableRequest {
    method: Method,
    /// The target, and one line for each header.
    head: Vec<u8>,
    body: Rc<BodyState>,
}

/// A request that got no response on a connection.
pub(super) struct FailedAttempt {
    /// The error of hyper, or the timeout that expired.
    pub(super) why: Result<hyper::Error, Duration>,
    /// The request, if hyper returned it. No byte of it was sent then.
    pub(super) unsent: Option<Request<RequestBody>>,
    /// Set if a byte of a response was read.
    pub(super) answer_begun: bool,
}

impl RetryableRequest {
    pub(super) fn new(request: &Request<RequestBody>) -> Self {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(request.uri().path_and_query().map_or("", PathAndQuery::as_str).as_bytes());
        for (name, value) in request.headers() {
            for part in [b"\n", name.as_str().as_bytes(), b":", value.as_bytes()] {
                head.extend_from_slice(part);
            }
        }
        Self { method: request.method().clone(), head, body: request.body().slot() }
    }

    /// Returns the time at which the request was passed to its connection.
    #[must_use]
    pub(crate) fn started_at(&self) -> Instant {
        self.body.started_at()
    }

    /// Rebuilds the request, if no frame of its body was read.
    #[must_use]
    pub(crate) fn whole(&self, stall: Duration) -> Option<Request<RequestBody>> {
        let mut request = Request::new(self.body.for_retry(stall)?);
        *request.method_mut() = self.method.clone();
        let (target, lines) = self.head_again()?;
        *request.uri_mut() = target;
        *request.headers_mut() = lines;
        Some(request)
    }

    /// Parses target and headers. The bytes come from a valid head, so parsing succeeds. Headers
    /// are no longer marked as sensitive, which only matters for printing them.
    fn head_again(&self) -> Option<(Uri, HeaderMap)> {
        let target = PathAndQuery::try_from(self.lines().next()?).ok()?;
        let mut headers = HeaderMap::new();
        for line in self.lines().skip(1) {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            let value = HeaderValue::from_bytes(&line[colon + 1..]).ok()?;
            headers.append(name, value);
        }
        Some((Uri::from(target), headers))
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.head.split(|byte| *byte == b'\n')
    }

    /// Returns the request to retry, or `lost` unchanged. There is no retry after a timeout or an
    /// error of the client. There is none either after a byte of the response or a frame of the
    /// body was read.
    pub(super) fn retry_after(
        &self,
        lost: Box<FailedAttempt>,
        stall: Duration,
    ) -> Result<Request<RequestBody>, Box<FailedAttempt>> {
        if let Some(unsent) = lost.unsent {
            return Ok(unsent);
        }
        let ended = lost.why.as_ref().is_ok_and(|error| !error.is_user() && !is_write_timeout(error));
        if !ended || lost.answer_begun || !self.is_idempotent() {
            return Err(lost);
        }
        self.whole(stall).ok_or(lost)
    }

    /// Returns whether the request is idempotent. A PUT with `x-oss-forbid-overwrite` is not: the
    /// retry would fail on the object that the first attempt created.
    fn is_idempotent(&self) -> bool {
        match self.method {
            Method::GET | Method::HEAD | Method::DELETE => true,
            Method::PUT => !self.lines().any(|line| line.starts_with(b"x-oss-forbid-overwrite:")),
            // guard: retry-idempotent
            _ => false,
        }
    }
}

/// The initial capacity for a head, enough for most.
const HEAD_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderName, HeaderValue, Method, Request, Uri};

    use super::{RequestBody, RetryableRequest};

    #[test]
    fn a_head_comes_back_as_it_was_byte_for_byte() {
        let mut request = Request::new(RequestBody::none());
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = Uri::from_static("/b/%E4%BD%A0//../a%2Fb?x-oss-process=a%2Cb&uploads");
        for (name, value) in [
            ("host", &b"oss.example.com:81"[..]),
            ("x-oss-meta-a", b"a: b\xff\t\xe4 "),
            ("x-oss-meta-empty", b""),
            ("cache-control", b"one"),
            ("cache-control", b"two"),
        ] {
            let value = HeaderValue::from_bytes(value).expect("a value");
            request.headers_mut().append(HeaderName::from_static(name), value);
        }
        let again = RetryableRequest::new(&request)
            .whole(Duration::from_secs(1))
            .expect("nothing of its body was taken");
        assert_eq!(again.method(), request.method());
        assert_eq!(again.uri(), request.uri());
        assert_eq!(again.headers(), request.headers());
    }
}
