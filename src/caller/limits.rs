//! The limits of a caller, as configured.

use std::num::NonZeroU64;

/// The limits of a caller. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallerLimits {
    /// The limit on requests in flight.
    pub(crate) requests: Option<usize>,
    /// The limit on requests per second.
    pub(crate) rate: Option<NonZeroU64>,
    /// The limit on bytes of request bodies per second.
    pub(crate) upload: Option<NonZeroU64>,
    /// The limit on bytes of response bodies per second.
    pub(crate) download: Option<NonZeroU64>,
}

impl CallerLimits {
    /// Returns these limits, and those of `default` where there is none.
    #[must_use]
    pub(crate) fn or(self, default: Self) -> Self {
        Self {
            requests: self.requests.or(default.requests),
            rate: self.rate.or(default.rate),
            upload: self.upload.or(default.upload),
            download: self.download.or(default.download),
        }
    }

    /// Returns whether there is no limit.
    #[must_use]
    pub(crate) fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}
