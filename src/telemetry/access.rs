//! The access event: one for each request, when its answer has ended, or when either side gave up.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tracing::info;

/// The id of a request, in the form of OSS's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(u64, u32);

/// What is known of a request; it is logged when this is dropped, so that no way out is forgotten.
#[derive(Debug)]
pub struct Access {
    /// Our id of the request.
    pub id: RequestId,
    /// Who asked.
    pub caller: &'static str,
    /// The operation.
    pub operation: Option<&'static str>,
    /// The bucket.
    pub bucket: Option<String>,
    /// The status of the answer; `None` if the client left before there was one.
    pub status: Option<u16>,
    /// The code of our own error.
    pub refused: Option<&'static str>,
    /// Which source signed.
    pub provider: Option<Arc<str>>,
    /// Bytes of the request's body; counted by who reads them.
    pub bytes_in: Rc<Cell<u64>>,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// How the answer ended.
    pub end: End,
    /// OSS's id of the request.
    pub oss_request_id: Option<String>,
    /// OSS's error code number.
    pub oss_ec: Option<String>,
    started: Instant,
    answered: Option<Instant>,
    logged: Logged,
    /// Held until the event is written: what counts the requests in flight.
    _in_flight: [Rc<()>; 2],
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not at all, or in the middle: the client left.
    Left,
    /// In the middle: the upstream broke off.
    Broken,
    /// Whole.
    Whole,
}

/// Whether the event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    /// It is.
    Yes,
    /// The configuration says no.
    No,
}

impl RequestId {
    /// A new id; unique enough to find a request, not a secret.
    #[must_use]
    pub fn random() -> Self {
        Self(fastrand::u64(..), fastrand::u32(..))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}{:08X}", self.0, self.1)
    }
}

impl Access {
    /// The event of a request whose head was just read. What counts it as `in_flight` is held until it ends.
    #[must_use]
    pub fn begin(logged: Logged, in_flight: [Rc<()>; 2]) -> Self {
        Self {
            id: RequestId::random(),
            caller: "-",
            operation: None,
            bucket: None,
            status: None,
            refused: None,
            provider: None,
            bytes_in: Rc::default(),
            bytes_out: 0,
            end: End::Left,
            oss_request_id: None,
            oss_ec: None,
            started: Instant::now(),
            answered: None,
            logged,
            _in_flight: in_flight,
        }
    }

    /// Whether it will be written: what is only for it need not be noted otherwise.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        self.logged == Logged::Yes
    }

    /// The head of the answer is known.
    pub fn answered(&mut self, status: u16) {
        self.status = Some(status);
        self.answered = Some(Instant::now());
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        if !self.is_logged() {
            return;
        }
        let ms = |at: Instant| at.duration_since(self.started).as_secs_f64() * 1000.0;
        info!(
            target: "access",
            req_id = %self.id,
            caller = self.caller,
            op = self.operation,
            bucket = self.bucket,
            status = self.status,
            refused = self.refused,
            dur_ms = ms(Instant::now()),
            ttfb_ms = self.answered.map(ms),
            r#in = self.bytes_in.get(),
            out = self.bytes_out,
            end = match self.end {
                End::Left => "client-left",
                End::Broken => "upstream-broke",
                End::Whole => "whole",
            },
            oss_request_id = self.oss_request_id,
            oss_ec = self.oss_ec,
            creds = self.provider.as_deref(),
            "request"
        );
    }
}
