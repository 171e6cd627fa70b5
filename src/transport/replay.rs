//! When a lost request may be sent once more: on a fresh connection after a kept one, if OSS cannot have acted on it, or if
//! acting twice is the same as once.

use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Uri};

use super::body::{Slot, Upload};
use super::is_timed_out;

/// What is needed to send a request again: hyper keeps the first for itself.
pub struct Spare {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Rc<Slot>,
}

/// A request that got no answer on a connection.
pub(super) struct Lost {
    /// What hyper said, or the time after which we gave up.
    pub(super) why: Result<hyper::Error, Duration>,
    /// The request, if hyper gave it back: then nothing of it was sent.
    pub(super) unsent: Option<Request<Upload>>,
    /// Whether anything of an answer was read.
    pub(super) answer_begun: bool,
}

impl Spare {
    pub(super) fn of(request: &Request<Upload>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            body: request.body().slot(),
        }
    }

    /// The request once more, if no byte of its body was taken.
    #[must_use]
    pub fn whole(self, stall: Duration) -> Option<Request<Upload>> {
        let mut request = Request::new(self.body.again(stall)?);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        Some(request)
    }

    /// The request to send once more, or the loss as it was. Never after a time-out, never when the client is at fault, never
    /// when a byte of the answer was read or a byte of the body was taken.
    pub(super) fn again(&self, lost: Box<Lost>, stall: Duration) -> Result<Request<Upload>, Box<Lost>> {
        if let Some(unsent) = lost.unsent {
            return Ok(unsent);
        }
        let ended = lost.why.as_ref().is_ok_and(|error| !error.is_user() && !is_timed_out(error));
        if !ended || lost.answer_begun || !self.is_idempotent() {
            return Err(lost);
        }
        // There may be a third time, if the key is refused then.
        let Self { method, uri, headers, body } = self;
        let spare = Self {
            method: method.clone(),
            uri: uri.clone(),
            headers: headers.clone(),
            body: Rc::clone(body),
        };
        spare.whole(stall).ok_or(lost)
    }

    /// Whether it does the same when it is done twice. A PUT that must not overwrite would find what it has written itself.
    fn is_idempotent(&self) -> bool {
        match self.method {
            Method::GET | Method::HEAD | Method::DELETE => true,
            Method::PUT => !self.headers.contains_key("x-oss-forbid-overwrite"),
            _ => false,
        }
    }
}
