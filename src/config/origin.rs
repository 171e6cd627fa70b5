//! Where a value was given: what an error points at.

use std::fmt;

/// Where a value was given, or would have been.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValueOrigin {
    /// In the file.
    File {
        /// The name of the file, as it was asked for.
        file: String,
        /// The line, counted from 1; `None` if nothing in the file is about it.
        line: Option<usize>,
        /// The key with its sections: `upstream.region`.
        key: String,
    },
    /// In a variable of the environment.
    Variable(String),
    /// In a flag.
    Flag(String),
}

/// A value with its origin.
#[derive(Clone)]
pub(super) struct SpannedValue<T> {
    pub(super) value: T,
    pub(super) at: ValueOrigin,
}

impl<T> SpannedValue<T> {
    /// Another value that was given at the same place.
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
