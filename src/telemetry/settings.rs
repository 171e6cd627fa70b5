//! What the log shows and how.

use std::path::PathBuf;

use super::access::Logged;

/// Settings of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The form of a line.
    pub format: Format,
    /// The least severe events that are shown.
    pub level: Level,
    /// Which requests get a line.
    pub access: Logged,
    /// Where it is written; `None` is standard error.
    pub file: Option<PathBuf>,
}

/// The form of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Level {
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
pub enum Level {
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
