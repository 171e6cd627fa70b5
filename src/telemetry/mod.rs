//! Telemetry: the log with one access event per request, and metrics.

mod access_log;
mod counters;
mod format;
mod line_writer;
mod log_file;
mod log_writer;
mod metrics;
mod settings;

pub use access_log::{AccessLogEvent, AccessLogging, BodyByteCounter, RequestId, ResponseEnd};
pub use counters::{ClientConnectionCounts, ProcessCounters, RejectedRequest, ReloadStatus, RequestCounts};
pub use format::{LogControl, subscribe};
pub use log_file::LogFile;
pub use log_writer::{DroppedLines, LogFlushGuard, LogWriter};
pub use metrics::{
    EndedRequest, MetricsHandle, MetricsSnapshot, OperationSnapshot, RequestOutcome, WorkerMetrics,
};
pub use settings::{LogFormat, LogLevel, LogSettings};
