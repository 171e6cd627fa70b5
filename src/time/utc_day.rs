//! The day in UTC that is part of the scope of a V4 signature.

use std::fmt;

/// A day in UTC as the scope of a V4 signature names it, `yyyymmdd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UtcDay([u8; 8]);

impl UtcDay {
    /// Creates the day from its digits.
    pub(super) fn from_digits(digits: [u8; 8]) -> Self {
        Self(digits)
    }

    /// The eight digits.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        // Digits only, by construction.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for UtcDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
