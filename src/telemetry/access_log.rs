//! The access event: one for each request, when its answer has ended, or when either side gave up.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tracing::info;

use super::metrics::{EndedRequest, MetricsHandle, RequestOutcome};
use crate::oss::Operation;

/// The id of a request, in the form of OSS's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(u64, u32);

/// What is known of a request; it is logged when this is dropped, so that no way out is forgotten.
#[derive(Debug)]
pub struct AccessLogEvent {
    /// Our id of the request.
    pub id: RequestId,
    /// Who asked.
    pub caller: &'static str,
    /// The operation.
    pub operation: Option<Operation>,
    /// The bucket.
    pub bucket: Option<String>,
    /// The status of the answer; `None` if the client left before there was one.
    pub status: Option<u16>,
    /// The code of our own error.
    pub refused: Option<&'static str>,
    /// Which source signed.
    pub provider: Option<Arc<str>>,
    /// Bytes of the request's body.
    pub bytes_in: Rc<BodyByteCounter>,
    /// How the answer ended.
    pub end: ResponseEnd,
    /// OSS's id of the request.
    pub oss_request_id: Option<String>,
    /// OSS's error code number.
    pub oss_ec: Option<String>,
    bytes_out: u64,
    started: Instant,
    answered: Option<Instant>,
    logged: AccessLogging,
    /// Where it is counted. Held until the event is written, as is what counts the requests of the connection.
    meter: Rc<MetricsHandle>,
    _in_flight: Rc<()>,
}

/// The bytes of a request's body, counted as they are read by who reads them.
#[derive(Debug)]
pub struct BodyByteCounter {
    bytes: Cell<u64>,
    meter: Rc<MetricsHandle>,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseEnd {
    /// Not at all, or in the middle: the client left, or we cut it, see [`MetricsHandle::cut`].
    Left,
    /// In the middle: the upstream broke off.
    Broken,
    /// Whole.
    Whole,
}

/// Whether the event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogging {
    /// It is.
    Yes,
    /// One of so many of those that went well is, and all others.
    Sample(NonZeroU32),
    /// The configuration says no.
    No,
}

impl RequestId {
    /// A new id; unique enough to find a request, not a secret.
    #[must_use]
    pub fn random() -> Self {
        Self(fastrand::u64(..), fastrand::u32(..))
    }

    /// As it is written: 24 hexadecimal digits.
    #[must_use]
    pub fn digits(self) -> [u8; 24] {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let bits = (u128::from(self.0) << 32) | u128::from(self.1);
        std::array::from_fn(|at| DIGITS[(bits >> (92 - 4 * at)) as usize & 15])
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Digits only.
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl BodyByteCounter {
    /// So many more were read.
    pub fn add(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
        self.meter.add_bytes_in(bytes);
    }
}

impl AccessLogEvent {
    /// The event of a request whose head was just read. What counts it as `in_flight` is held until it ends.
    #[must_use]
    pub fn begin(logged: AccessLogging, meter: Rc<MetricsHandle>, in_flight: Rc<()>) -> Self {
        meter.on_start();
        Self {
            id: RequestId::random(),
            caller: "-",
            operation: None,
            bucket: None,
            status: None,
            refused: None,
            provider: None,
            bytes_in: Rc::new(BodyByteCounter { bytes: Cell::default(), meter: Rc::clone(&meter) }),
            end: ResponseEnd::Left,
            oss_request_id: None,
            oss_ec: None,
            bytes_out: 0,
            started: Instant::now(),
            answered: None,
            logged,
            meter,
            _in_flight: in_flight,
        }
    }

    /// Whether it will be written: what is only for it need not be noted otherwise.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        self.logged != AccessLogging::No
    }

    /// Whether this one is: of those that went well, a sample may do.
    fn is_written(&self) -> bool {
        let AccessLogging::Sample(one_of) = self.logged else { return self.logged == AccessLogging::Yes };
        let went_well = self.end == ResponseEnd::Whole && self.status.is_some_and(|status| status < 400);
        !went_well || fastrand::u32(..one_of.get()) == 0
    }

    /// Where the request is counted.
    #[must_use]
    pub fn meter(&self) -> &MetricsHandle {
        &self.meter
    }

    /// The head of the answer is known.
    pub fn answered(&mut self, status: u16) {
        self.status = Some(status);
        self.answered = Some(Instant::now());
    }

    /// So many bytes of the body of the answer go out; they are counted at once, as their end may be far.
    pub fn add_response_bytes(&mut self, bytes: u64) {
        self.bytes_out += bytes;
        self.meter.add_bytes_out(bytes);
    }
}

impl Drop for AccessLogEvent {
    fn drop(&mut self) {
        let (now, since) = (Instant::now(), |at: Instant| at.duration_since(self.started));
        self.meter.on_end(&EndedRequest {
            operation: self.operation,
            outcome: match self.end {
                ResponseEnd::Whole => RequestOutcome::of(self.status),
                ResponseEnd::Broken => RequestOutcome::Broken,
                ResponseEnd::Left if self.meter.is_cut() => RequestOutcome::Cut,
                ResponseEnd::Left => RequestOutcome::None,
            },
            duration: since(now),
            first_byte: self.answered.map(since),
        });
        if !self.is_written() {
            return;
        }
        let ms = |at: Instant| since(at).as_secs_f64() * 1000.0;
        info!(
            target: "access",
            req_id = std::str::from_utf8(&self.id.digits()).unwrap_or_default(),
            caller = self.caller,
            op = self.operation.map(Operation::name),
            bucket = self.bucket,
            status = self.status,
            refused = self.refused,
            dur_ms = ms(now),
            ttfb_ms = self.answered.map(ms),
            r#in = self.bytes_in.bytes.get(),
            out = self.bytes_out,
            end = match self.end {
                ResponseEnd::Left if self.meter.is_cut() => "cut",
                ResponseEnd::Left => "client-left",
                ResponseEnd::Broken => "upstream-broke",
                ResponseEnd::Whole => "whole",
            },
            oss_request_id = self.oss_request_id,
            oss_ec = self.oss_ec,
            creds = self.provider.as_deref(),
            "request"
        );
    }
}
