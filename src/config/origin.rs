//! The origin of a value, which errors point at.

use std::fmt;
use std::sync::Arc;

/// The origin of a value, or the location where a missing value belongs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ValueOrigin {
    /// The configuration file.
    File {
        /// The name of the file as given.
        file: Arc<str>,
        /// The line, counted from 1; `None` if no line of the file concerns the value.
        line: Option<usize>,
        /// The key with its sections: `upstream.region`.
        key: String,
    },
    /// An environment variable.
    Variable(String),
    /// A command line flag.
    Flag(String),
}

/// A value with its origin.
#[derive(Clone)]
pub(super) struct SpannedValue<T> {
    pub(super) value: T,
    pub(super) at: ValueOrigin,
}

impl<T> SpannedValue<T> {
    /// Returns another value with the same origin.
    pub(super) fn with<U>(&self, value: U) -> SpannedValue<U> {
        SpannedValue { value, at: self.at.clone() }
    }
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, key } => {
                f.write_str(file)?;
                if let Some(line) = line {
                    write!(f, ":{line}")?;
                }
                if key.is_empty() { Ok(()) } else { write!(f, ": {key}") }
            }
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}
