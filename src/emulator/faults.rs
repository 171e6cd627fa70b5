//! Switches that make the service misbehave, to be thrown while it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    /// Waits before it answers.
    Delay(Duration),
    /// Answers with this status and code in place of doing anything; the request's body is not read.
    Status {
        /// The status.
        status: u16,
        /// The code in the error document.
        code: String,
    },
    /// Closes the connection without an answer.
    HangUp,
    /// Answers, then closes the connection although it did not say so.
    CloseAfter,
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
    pub(super) fn take(&self) -> Vec<Fault> {
        let mut planned = self.lock();
        let mut faults = Vec::new();
        for one in planned.iter_mut() {
            if one.left == Some(0) {
                continue;
            }
            one.left = one.left.map(|left| left - 1);
            faults.push(one.fault.clone());
        }
        planned.retain(|one| one.left != Some(0));
        faults
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Planned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
