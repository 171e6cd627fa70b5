//! Switches that make the service misbehave, to be thrown while it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Response, StatusCode, header};

use super::failure::Failure;
use super::reply::Reply;
use super::wire::{End, Exit, Outgoing};

/// One way to misbehave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Sends the head and so many bytes of the answer's body, then closes the connection.
    CutBody {
        /// How many bytes of the body are sent.
        after_bytes: usize,
    },
    /// Announces a `Content-Length` that is larger than the body by this much, sends the body, closes the connection.
    ShortBody {
        /// How many bytes are announced and never sent.
        missing_bytes: usize,
    },
    /// Sends the body in chunks, without a length, and closes the connection after so many bytes, before the last chunk.
    CutChunks {
        /// How many bytes of the body are sent.
        after_bytes: usize,
    },
    /// Sends the body in chunks, without a length, whole.
    Chunked,
    /// Waits before it does anything with the request.
    Delay(Duration),
    /// Answers with this status and code in place of doing anything; the request's body is not waited for.
    Status {
        /// The status.
        status: u16,
        /// The code in the error document.
        code: String,
    },
    /// Closes the connection without an answer and without reading the body.
    HangUp,
    /// Closes the connection once the answer is out, although it did not say so.
    CloseAfter,
    /// Counts an upload's body, but stores none of it: for uploads larger than the memory.
    ForgetBody,
}

/// The switches of one emulator. Clones throw the same ones.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Planned>>>);

#[derive(Debug)]
struct Planned {
    fault: Fault,
    /// How many requests it is still for; `None` for all.
    left: Option<usize>,
}

/// The faults of one request, by when they act.
#[derive(Debug, Default)]
pub(super) struct Active {
    pub(super) delay: Duration,
    pub(super) hangs_up: bool,
    pub(super) forgets_body: bool,
    status: Option<(u16, String)>,
    ending: Option<Fault>,
}

impl Faults {
    /// Applies `fault` to every request from now on.
    pub fn always(&self, fault: Fault) {
        self.lock().push(Planned { fault, left: None });
    }

    /// Applies `fault` to the next `requests` requests.
    pub fn next(&self, requests: usize, fault: Fault) {
        self.lock().push(Planned { fault, left: Some(requests) });
    }

    /// Ends all of them.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The faults for one request, counted down.
    pub(super) fn take(&self) -> Active {
        let mut active = Active::default();
        let mut planned = self.lock();
        planned.retain(|one| one.left != Some(0));
        for one in planned.iter_mut() {
            one.left = one.left.map(|left| left - 1);
            active.add(one.fault.clone());
        }
        active
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Planned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Active {
    /// The refusal that stands in place of the operation.
    pub(super) fn refusal(&self) -> Option<Failure> {
        let (status, code) = self.status.clone()?;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Some(Failure::new(status, code, "A fault switch is on."))
    }

    /// The answer for hyper, spoiled as planned.
    pub(super) fn response(&self, mut reply: Reply, exit: Exit) -> Response<Outgoing> {
        let mut end = End::Whole;
        match &self.ending {
            Some(Fault::CutBody { after_bytes }) => {
                reply.body.truncate(*after_bytes);
                end = End::Exit(exit);
            }
            Some(Fault::CutChunks { after_bytes }) => {
                reply.body.truncate(*after_bytes);
                reply.headers.remove(header::CONTENT_LENGTH);
                end = End::Exit(exit);
            }
            Some(Fault::ShortBody { missing_bytes }) => {
                let announced = (reply.body.len() + missing_bytes).to_string();
                reply = reply.with("content-length", announced);
                end = End::Exit(exit);
            }
            Some(Fault::Chunked) => {
                reply.headers.remove(header::CONTENT_LENGTH);
                end = End::Chunked;
            }
            Some(Fault::CloseAfter) => end = End::WholeThenExit(exit),
            // Only the five above are kept as an ending.
            Some(Fault::Delay(_) | Fault::Status { .. } | Fault::HangUp | Fault::ForgetBody) | None => {}
        }
        let mut response = Response::new(Outgoing::new(reply.body, end));
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response
    }

    fn add(&mut self, fault: Fault) {
        match fault {
            Fault::Delay(time) => self.delay += time,
            Fault::HangUp => self.hangs_up = true,
            Fault::ForgetBody => self.forgets_body = true,
            Fault::Status { status, code } => self.status = Some((status, code)),
            Fault::CutBody { .. }
            | Fault::CutChunks { .. }
            | Fault::ShortBody { .. }
            | Fault::Chunked
            | Fault::CloseAfter => self.ending = Some(fault),
        }
    }
}
