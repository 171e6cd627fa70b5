//! The time by which the signature of a client is valid: that of the upstream of its request.

use super::state::WorkerCore;
use crate::address::{Host, UpstreamId};
use crate::caller::{Caller, SignatureClock};
use crate::oss::Bucket;
use crate::time::Timestamp;

/// The time of the upstream that a request is routed to if its signature is valid. A caller can
/// select another upstream, and no upstream moves the time for the requests to another.
pub(super) struct RoutedClock<'a> {
    pub(super) core: &'a WorkerCore,
    /// The host, if a route depends on the caller.
    pub(super) host: Option<&'a Host>,
    pub(super) bucket: Option<&'a Bucket>,
    /// The upstream of requests without a caller.
    pub(super) upstream: UpstreamId,
}

impl SignatureClock for RoutedClock<'_> {
    fn now_for(&self, claimed: Option<&Caller>) -> Timestamp {
        let table = &self.core.state().routing_table;
        let of_caller = self.host.zip(claimed);
        let of_caller =
            of_caller.and_then(|(host, caller)| table.select(host, self.bucket, Some(&caller.name)));
        self.core.time_of(of_caller.unwrap_or(self.upstream))
    }
}
