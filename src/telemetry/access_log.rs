//! The access event: one per request, written when the response has ended or either side gave up.

use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::audit::{AuditCompletion, AuditTrail};
use super::caller_metrics::CallerMetrics;
use super::metrics::{EndedRequest, MetricsHandle, RequestOutcome};
use crate::oss::Operation;

/// A request id, in the same form as the request ids of OSS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(u64, u32);

/// The data of one request. It is logged on drop, so that every exit path produces an event.
#[derive(Debug)]
pub(crate) struct AccessLogEvent {
    /// The request id assigned by the proxy.
    pub(crate) id: RequestId,
    /// The address of the client, if it has one.
    pub(crate) client: Option<IpAddr>,
    /// The identity of the client.
    pub(crate) caller: LoggedCaller,
    /// The OSS operation, if known.
    pub(crate) operation: Option<Operation>,
    /// The bucket, if known.
    pub(crate) bucket: Option<String>,
    /// The status of the response; `None` if the client disconnected before there was one.
    pub(crate) status: Option<u16>,
    /// The code of the error response, if the proxy rejected the request itself.
    pub(crate) refused: Option<&'static str>,
    /// Whether the proxy responded itself, without an error.
    pub(crate) is_own_answer: bool,
    /// The credential provider whose credentials signed the request.
    pub(crate) provider: Option<Arc<str>>,
    /// The number of request body bytes received.
    pub(crate) bytes_in: Rc<BodyByteCounter>,
    /// The end of the response.
    pub(crate) end: ResponseEnd,
    /// The request id assigned by OSS.
    pub(crate) oss_request_id: Option<String>,
    /// The error code number (`EC`) of OSS.
    pub(crate) oss_ec: Option<String>,
    /// The audit of the request, if there is an audit log.
    pub(crate) audit: Option<Box<AuditTrail>>,
    bytes_out: u64,
    started: Instant,
    answered: Option<Instant>,
    logged: AccessLogging,
    /// The metrics that count the request. Like `_in_flight`, held until the event is written.
    meter: Rc<MetricsHandle>,
    _in_flight: Rc<()>,
}

/// The identity of a client in the access log.
#[derive(Debug)]
pub(crate) enum LoggedCaller {
    /// Not identified.
    Unknown,
    /// No caller is configured.
    Open,
    /// A caller of the configuration.
    Known {
        /// The name of the caller.
        name: Arc<str>,
        /// The metrics that count its requests.
        metrics: Arc<CallerMetrics>,
    },
}

/// A counter of request body bytes, updated by the reader of the body.
#[derive(Debug)]
pub(crate) struct BodyByteCounter {
    bytes: Cell<u64>,
    meter: Rc<MetricsHandle>,
}

/// The end of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseEnd {
    /// No response, or an incomplete one: the client disconnected, or the proxy cut it off, see
    /// [`MetricsHandle::cut`].
    Left,
    /// Incomplete: the upstream failed during the response.
    Broken,
    /// Complete.
    Whole,
}

/// The selection of requests whose access event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessLogging {
    /// All requests.
    Yes,
    /// One in this number of successful requests, and all others.
    Sample(NonZeroU32),
    /// No requests.
    No,
}

impl RequestId {
    /// Generates a new id. It is unique enough to find a request, and is not a secret.
    #[must_use]
    pub(crate) fn random() -> Self {
        Self(fastrand::u64(..), fastrand::u32(..))
    }

    /// Returns the 24 hexadecimal digits of the id.
    #[must_use]
    pub(crate) fn digits(self) -> [u8; 24] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.1.to_be_bytes());
        let mut digits = [0; 24];
        // The text has room for all digits.
        let _ = base16ct::upper::encode(&bytes, &mut digits);
        digits
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The digits are ASCII.
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl BodyByteCounter {
    /// Adds to the number of request body bytes received.
    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
        self.meter.add_bytes_in(bytes);
    }
}

impl LoggedCaller {
    fn as_str(&self) -> &str {
        match self {
            Self::Unknown => "-",
            Self::Open => "open",
            Self::Known { name, .. } => name,
        }
    }
}

impl AccessLogEvent {
    /// Begins the event of a request whose head was just read. `in_flight` is held until the event
    /// is dropped.
    #[must_use]
    pub(crate) fn begin(logged: AccessLogging, meter: Rc<MetricsHandle>, in_flight: Rc<()>) -> Self {
        meter.on_start();
        Self {
            id: RequestId::random(),
            client: None,
            caller: LoggedCaller::Unknown,
            operation: None,
            bucket: None,
            status: None,
            refused: None,
            is_own_answer: false,
            provider: None,
            bytes_in: Rc::new(BodyByteCounter { bytes: Cell::default(), meter: Rc::clone(&meter) }),
            end: ResponseEnd::Left,
            oss_request_id: None,
            oss_ec: None,
            audit: None,
            bytes_out: 0,
            started: Instant::now(),
            answered: None,
            logged,
            meter,
            _in_flight: in_flight,
        }
    }

    /// Returns whether the event may be written, or the request is audited. If not, fields that only
    /// logs use can be left unset.
    #[must_use]
    pub(crate) fn is_logged(&self) -> bool {
        self.logged != AccessLogging::No || self.audit.is_some()
    }

    /// Returns whether this event is written. Successful requests may be sampled.
    fn is_written(&self) -> bool {
        let AccessLogging::Sample(one_of) = self.logged else { return self.logged == AccessLogging::Yes };
        let went_well = self.end == ResponseEnd::Whole && self.status.is_some_and(|status| status < 400);
        !went_well || fastrand::u32(..one_of.get()) == 0
    }

    /// The metrics that count the request.
    #[must_use]
    pub(crate) fn meter(&self) -> &MetricsHandle {
        &self.meter
    }

    /// Returns the time since the head of the request was read.
    #[must_use]
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Records the status and the time of the response head.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = Some(status);
        self.answered = Some(Instant::now());
    }

    /// Adds to the number of response body bytes sent. The metrics are updated immediately, because
    /// a response can take a long time.
    pub(crate) fn add_response_bytes(&mut self, bytes: u64) {
        self.bytes_out += bytes;
        self.meter.add_bytes_out(bytes);
    }
}

impl Drop for AccessLogEvent {
    fn drop(&mut self) {
        let now = Instant::now();
        let since = |at: Instant| at.duration_since(self.started);
        let outcome = match self.end {
            ResponseEnd::Whole => RequestOutcome::from_status(self.status),
            ResponseEnd::Broken => RequestOutcome::Broken,
            ResponseEnd::Left if self.meter.is_cut() => RequestOutcome::Cut,
            ResponseEnd::Left => RequestOutcome::None,
        };
        if let LoggedCaller::Known { metrics, .. } = &self.caller {
            metrics.on_end(outcome, self.bytes_in.bytes.get(), self.bytes_out);
        }
        self.meter.on_end(&EndedRequest {
            operation: self.operation,
            outcome,
            duration: since(now),
            first_byte: self.answered.map(since),
        });
        let end = match self.end {
            ResponseEnd::Left if self.meter.is_cut() => "cut",
            ResponseEnd::Left => "client-left",
            ResponseEnd::Broken => "upstream-broke",
            ResponseEnd::Whole => "whole",
        };
        if let Some(audit) = self.audit.take() {
            audit.complete(&AuditCompletion {
                status: self.status,
                end,
                error: self.refused,
                bytes_in: self.bytes_in.bytes.get(),
                bytes_out: self.bytes_out,
                duration_ms: u64::try_from(since(now).as_millis()).unwrap_or(u64::MAX),
                oss_request_id: self.oss_request_id.as_deref(),
                oss_ec: self.oss_ec.as_deref(),
            });
        }
        if !self.is_written() {
            return;
        }
        let ms = |at: Instant| since(at).as_secs_f64() * 1000.0;
        info!(
            target: "access",
            req_id = std::str::from_utf8(&self.id.digits()).unwrap_or_default(),
            client = self.client.map(tracing::field::display),
            caller = self.caller.as_str(),
            op = self.operation.map(Operation::name),
            bucket = self.bucket,
            status = self.status,
            refused = self.refused,
            answered_by = self.is_own_answer.then_some("proxy"),
            dur_ms = ms(now),
            ttfb_ms = self.answered.map(ms),
            r#in = self.bytes_in.bytes.get(),
            out = self.bytes_out,
            end,
            oss_request_id = self.oss_request_id,
            oss_ec = self.oss_ec,
            creds = self.provider.as_deref(),
            "request"
        );
    }
}
