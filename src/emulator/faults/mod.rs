//! Switches that make the service misbehave, to be thrown while it runs.

mod active;
mod parse;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::wire::CloseMode;
use crate::oss::Region;

pub(super) use active::ActiveFaults;
pub use parse::FaultOrder;

/// One way to misbehave. What closes a connection does it in order (FIN), what resets it by a reset (RST): of what was sent
/// just before a reset, the client may never see the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InjectedFault {
    /// Closes a new connection as soon as the first byte of a request is there, without reading the rest. This one and the
    /// next count connections, not requests.
    CloseUnread,
    /// Resets it then.
    ResetUnread,
    /// Closes the connection without an answer and without reading the body.
    HangUp,
    /// Resets it then.
    Reset,
    /// Closes the connection when a request arrives that is not the first on it. This one and the next count only the
    /// requests that they act on.
    CloseReused,
    /// Resets it then.
    ResetReused,
    /// Closes the connection once the answer is out, although it did not say so.
    CloseAfter,
    /// Sends the head and so many bytes of the answer's body, then closes the connection.
    CutBody {
        /// How many bytes of the body are sent.
        after_bytes: usize,
    },
    /// The same with a reset.
    ResetBody {
        /// How many bytes of the body are sent.
        after_bytes: usize,
    },
    /// Sends the body in chunks, without a length, and closes the connection after so many bytes, before the last chunk.
    CutChunks {
        /// How many bytes of the body are sent.
        after_bytes: usize,
    },
    /// The same with a reset.
    ResetChunks {
        /// How many bytes of the body are sent.
        after_bytes: usize,
    },
    /// Announces a `Content-Length` that is larger than the body by this much, sends the body, closes the connection.
    ShortBody {
        /// How many bytes are announced and never sent.
        missing_bytes: usize,
    },
    /// Sends the body in chunks, without a length, whole.
    Chunked,
    /// Sends so many bytes of the answer's body, then nothing more; the connection stays open.
    HangBody {
        /// How many bytes of the body are sent.
        after_bytes: usize,
    },
    /// Sends the answer's body in pieces of so many bytes, with a rest after each.
    Drip {
        /// The size of a piece; at least one byte.
        bytes: usize,
        /// The rest after it.
        pause: Duration,
    },
    /// Waits before it does anything with the request.
    Delay(Duration),
    /// Never answers; the connection stays open.
    Hang,
    /// Reads so many bytes of an upload's body, then no more, and never answers. This one and the next count only requests
    /// with a body.
    StallUpload {
        /// About how many bytes of the body are read.
        after_bytes: usize,
    },
    /// Refuses an upload with 403 after so many bytes of its body, and closes the connection although more comes.
    RefuseUpload {
        /// About how many bytes of the body are read.
        after_bytes: usize,
    },
    /// Counts an upload's body, but stores none of it: for uploads larger than the memory.
    ForgetBody,
    /// Stores what came of a body that broke off before its end, as if that were the whole.
    KeepBroken,
    /// Answers with this status and code in place of doing anything; the request's body is not waited for.
    Status {
        /// The status.
        status: u16,
        /// The code in the error document.
        code: String,
    },
    /// Judges and answers by a clock that is this much ahead, or behind if negative.
    Skew {
        /// By how many seconds.
        seconds: i64,
    },
    /// Takes the security token of a signed request for expired.
    ExpiredToken,
    /// Does not know the access key id of a signed request.
    UnknownKey,
    /// Finds the signature of a signed request wrong, and tells what should have been signed.
    WrongSignature,
    /// Stands in another region: that of the request's host name, or of its V4 signature, is then the wrong one.
    OtherRegion(Region),
}

/// The switches of one emulator. Clones throw the same ones.
#[derive(Clone, Debug, Default)]
pub struct FaultSwitches(Arc<Mutex<Vec<PlannedFault>>>);

#[derive(Debug)]
struct PlannedFault {
    fault: InjectedFault,
    /// How often it still acts; `None` for always.
    left: Option<usize>,
}

/// What a fault needs to know about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FaultContext {
    /// Whether the connection has carried another request before.
    pub(super) reused: bool,
    /// Whether the request has a body.
    pub(super) has_body: bool,
}

impl FaultSwitches {
    /// Applies `fault` to every request from now on.
    pub fn always(&self, fault: InjectedFault) {
        self.lock().push(PlannedFault { fault, left: None });
    }

    /// Applies `fault` to the next `requests` requests. Several faults may act on the same one.
    pub fn next(&self, requests: usize, fault: InjectedFault) {
        self.lock().push(PlannedFault { fault, left: Some(requests) });
    }

    /// Ends all of them.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The faults for one request, counted down.
    pub(super) fn take(&self, occasion: FaultContext) -> ActiveFaults {
        ActiveFaults::new(self.take_those(|fault| fault.acts_on(occasion)))
    }

    /// How a new connection is to be ended at once, if it is.
    pub(super) fn take_connection(&self) -> Option<CloseMode> {
        self.take_those(|fault| fault.at_connect().is_some()).iter().find_map(InjectedFault::at_connect)
    }

    fn take_those(&self, wanted: impl Fn(&InjectedFault) -> bool) -> Vec<InjectedFault> {
        let mut planned = self.lock();
        planned.retain(|one| one.left != Some(0));
        let mut taken = Vec::new();
        for one in planned.iter_mut().filter(|one| wanted(&one.fault)) {
            one.left = one.left.map(|left| left - 1);
            taken.push(one.fault.clone());
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PlannedFault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "few faults are about more than any one request")]
impl InjectedFault {
    fn at_connect(&self) -> Option<CloseMode> {
        match self {
            Self::CloseUnread => Some(CloseMode::Fin),
            Self::ResetUnread => Some(CloseMode::Reset),
            _ => None,
        }
    }

    fn acts_on(&self, occasion: FaultContext) -> bool {
        match self {
            Self::CloseUnread | Self::ResetUnread => false,
            Self::CloseReused | Self::ResetReused => occasion.reused,
            Self::StallUpload { .. } | Self::RefuseUpload { .. } => occasion.has_body,
            _ => true,
        }
    }
}
