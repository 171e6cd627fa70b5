//! What the log shows and how.

use std::path::PathBuf;

use super::access_log::AccessLogging;

/// Settings of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The form of a line.
    pub format: LogFormat,
    /// The least severe events that are shown.
    pub level: LogLevel,
    /// Which requests get a line.
    pub access: AccessLogging,
    /// Where it is written; `None` is standard error.
    pub file: Option<PathBuf>,
}

/// The form of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogLevel {
    /// All, the most severe first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// As the configuration writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How severe an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// The process cannot do what it is for.
    Error,
    /// Something needs attention.
    Warn,
    /// What happens, one event a request.
    #[default]
    Info,
    /// What an operator looks for when something is wrong.
    Debug,
    /// Everything.
    Trace,
}
