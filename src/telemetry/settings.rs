//! What the log shows and how.

/// Settings of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The form of a line.
    pub format: Format,
    /// The least severe events that are shown.
    pub level: Level,
    /// Whether each request gets a line.
    pub access: bool,
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
