//! When a lost request may be sent once more: on a fresh connection after a kept one, if OSS cannot have acted on it, or if
//! acting twice is the same as once.

use std::rc::Rc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use tokio::time::Instant;

use super::is_timed_out;
use super::request_body::{BodyState, RequestBody};

/// What is needed to send a request again: hyper keeps the first for itself. It is seldom needed and made for every request,
/// so the head is a text, and made again from it.
pub struct RetryableRequest {
    method: Method,
    /// The target and a line for each header.
    head: Vec<u8>,
    body: Rc<BodyState>,
}

/// A request that got no answer on a connection.
pub(super) struct FailedAttempt {
    /// What hyper said, or the time after which we gave up.
    pub(super) why: Result<hyper::Error, Duration>,
    /// The request, if hyper gave it back: then nothing of it was sent.
    pub(super) unsent: Option<Request<RequestBody>>,
    /// Whether anything of an answer was read.
    pub(super) answer_begun: bool,
}

impl RetryableRequest {
    pub(super) fn of(request: &Request<RequestBody>) -> Self {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(request.uri().path_and_query().map_or("", PathAndQuery::as_str).as_bytes());
        for (name, value) in request.headers() {
            for part in [b"\n", name.as_str().as_bytes(), b":", value.as_bytes()] {
                head.extend_from_slice(part);
            }
        }
        Self { method: request.method().clone(), head, body: request.body().slot() }
    }

    /// When it was handed to the connection that it went out on.
    #[must_use]
    pub fn started_at(&self) -> Instant {
        self.body.started_at()
    }

    /// The request once more, if no byte of its body was taken.
    #[must_use]
    pub fn whole(&self, stall: Duration) -> Option<Request<RequestBody>> {
        let mut request = Request::new(self.body.for_retry(stall)?);
        *request.method_mut() = self.method.clone();
        let (target, lines) = self.head_again()?;
        *request.uri_mut() = target;
        *request.headers_mut() = lines;
        Some(request)
    }

    /// Target and headers. What was a head once can be read as one. No header is marked as sensitive any more, which only matters
    /// where one is shown.
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

    /// The request to send once more, or the loss as it was. Never after a time-out, never when the client is at fault, never
    /// when a byte of the answer was read or a byte of the body was taken.
    pub(super) fn retry_after(
        &self,
        lost: Box<FailedAttempt>,
        stall: Duration,
    ) -> Result<Request<RequestBody>, Box<FailedAttempt>> {
        if let Some(unsent) = lost.unsent {
            return Ok(unsent);
        }
        let ended = lost.why.as_ref().is_ok_and(|error| !error.is_user() && !is_timed_out(error));
        if !ended || lost.answer_begun || !self.is_idempotent() {
            return Err(lost);
        }
        self.whole(stall).ok_or(lost)
    }

    /// Whether it does the same when it is done twice. A PUT that must not overwrite would find what it has written itself.
    fn is_idempotent(&self) -> bool {
        match self.method {
            Method::GET | Method::HEAD | Method::DELETE => true,
            Method::PUT => !self.lines().any(|line| line.starts_with(b"x-oss-forbid-overwrite:")),
            // guard: retry-idempotent
            _ => false,
        }
    }
}

/// Most heads fit into this.
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
        let again = RetryableRequest::of(&request)
            .whole(Duration::from_secs(1))
            .expect("nothing of its body was taken");
        assert_eq!(again.method(), request.method());
        assert_eq!(again.uri(), request.uri());
        assert_eq!(again.headers(), request.headers());
    }
}
