//! Settings of the log: format, level, access events and destination.

use std::path::PathBuf;

use super::access_log::AccessLogging;

/// The settings of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// The format of a line.
    pub(crate) format: LogFormat,
    /// The least severe level that is logged.
    pub(crate) level: LogLevel,
    /// The requests whose access event is written.
    pub(crate) access: AccessLogging,
    /// The file to write to; `None` is standard error.
    pub(crate) file: Option<PathBuf>,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogLevel {
    /// All levels, the most severe first.
    pub(crate) const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The name of the level in the configuration.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The severity of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum LogLevel {
    /// The process cannot do its work.
    Error,
    /// Something needs attention.
    Warn,
    /// Normal operation, one event per request.
    #[default]
    Info,
    /// Details for troubleshooting.
    Debug,
    /// Everything.
    Trace,
}
