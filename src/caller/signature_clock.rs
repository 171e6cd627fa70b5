//! The time by which the signatures of clients are valid.

use super::directory::Caller;
use crate::time::Timestamp;

/// The time by which signatures are valid. It may depend on the upstream, which corrects the time for
/// its own requests only.
pub(crate) trait SignatureClock {
    /// Returns the current time for a request of this caller, which is not verified yet; `None` if the
    /// request names no caller.
    fn now_for(&self, claimed: Option<&Caller>) -> Timestamp;
}

impl SignatureClock for Timestamp {
    fn now_for(&self, _claimed: Option<&Caller>) -> Timestamp {
        *self
    }
}
