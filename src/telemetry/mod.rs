//! Telemetry: the log with one access event per request, the audit log, and metrics.

mod access_log;
mod audit;
mod caller_metrics;
mod counters;
mod format;
mod line_writer;
mod log_file;
mod log_writer;
mod metrics;
mod proxy_rejections;
mod rejection_code;
mod settings;
mod warning_limit;

pub(crate) use access_log::{AccessLogEvent, AccessLogging, BodyByteCounter, LoggedCaller, ResponseEnd};
pub(crate) use audit::{
    AuditDecision, AuditFailureMode, AuditFormat, AuditLog, AuditNotice, AuditSettings, AuditSinkAddress,
    AuditStatus, AuditSubject, AuditTrail, AuditUnavailable, AuditedKey, AuditedPermission, AuditedResource,
    AuditedSigner, AuditedStatement, CallerPolicyDigests, KeyVisibility,
};
pub(crate) use caller_metrics::{CallerMetrics, CallerSnapshot};
pub use counters::RequestCounts;
pub(crate) use counters::{ClientConnectionCounts, ProcessCounters, RejectedRequest, ReloadStatus};
pub(crate) use format::{LogControl, subscribe};
pub(crate) use log_file::LogFile;
pub(crate) use log_writer::{DroppedLineCount, LogFlushGuard, LogWriter};
pub(crate) use metrics::{MetricsHandle, MetricsSnapshot, OperationSnapshot, RequestOutcome};
pub(crate) use proxy_rejections::ProxyRejection;
pub(crate) use rejection_code::RejectionCode;
pub(crate) use settings::{LogFormat, LogLevel, LogSettings};
