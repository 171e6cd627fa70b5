//! The section of a file that defines a caller.

use std::fmt;
use std::sync::Arc;

/// The section that defines a caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallerOrigin {
    /// The name of the file, which all of its callers share.
    pub(crate) file: Arc<str>,
    /// The line on which the section begins, counted from 1.
    pub(crate) line: usize,
    /// A keyed hash of the section. It detects a change, and says nothing about the content.
    pub(crate) mark: u64,
}

impl fmt::Display for CallerOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
