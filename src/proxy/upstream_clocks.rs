//! The clocks of the upstreams, as far as a worker knows them. An upstream that rejects the local time
//! corrects it for its own requests only.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::address::{RoutingTable, UpstreamAddress, UpstreamId};
use crate::sign::SigningTime;
use crate::time::Timestamp;

/// The clocks of the upstreams, by [`UpstreamId`].
pub(super) struct UpstreamClocks(Vec<UpstreamClock>);

/// The clock of an upstream.
struct UpstreamClock {
    /// The offset of the clock in seconds, once the upstream has rejected the local time.
    ahead_s: Cell<i64>,
    /// The last time that was formatted.
    formatted: RefCell<Rc<SigningTime>>,
}

impl UpstreamClocks {
    /// Creates the clocks of `count` upstreams that have not rejected a time.
    pub(super) fn new(count: usize, now: Timestamp) -> Self {
        let formatted = Rc::new(SigningTime::new(now));
        let clock =
            || UpstreamClock { ahead_s: Cell::default(), formatted: RefCell::new(Rc::clone(&formatted)) };
        Self(std::iter::repeat_with(clock).take(count).collect())
    }

    /// Sets the offsets that these clocks had under another table. An upstream keeps its offset
    /// while its address is the same.
    pub(super) fn keep(&self, table: &RoutingTable, other: &Self, other_table: &RoutingTable) {
        for (old, clock) in other.0.iter().enumerate().filter(|(_, clock)| clock.ahead_s.get() != 0) {
            let old = other_table.get(UpstreamId(old));
            for (id, kept) in self.0.iter().enumerate() {
                if is_same(old, table.get(UpstreamId(id))) {
                    kept.ahead_s.set(clock.ahead_s.get());
                }
            }
        }
    }

    /// Sets the offset of the clock of an upstream.
    pub(super) fn correct(&self, upstream: UpstreamId, ahead_s: i64) {
        if let Some(clock) = self.0.get(upstream.0) {
            clock.ahead_s.set(ahead_s);
        }
    }

    /// Returns the time of an upstream when the local time is `now`.
    pub(super) fn time(&self, upstream: UpstreamId, now: Timestamp) -> Timestamp {
        let ahead_s = self.0.get(upstream.0).map_or(0, |clock| clock.ahead_s.get());
        Timestamp::from_unix_s(now.unix_s() + ahead_s)
    }

    /// Returns the time of an upstream as signatures contain it. It is formatted once a second.
    pub(super) fn signing_time(&self, upstream: UpstreamId, now: Timestamp) -> Rc<SigningTime> {
        let now = self.time(upstream, now);
        let Some(clock) = self.0.get(upstream.0) else { return Rc::new(SigningTime::new(now)) };
        let mut formatted = clock.formatted.borrow_mut();
        if formatted.at() != now {
            *formatted = Rc::new(SigningTime::new(now));
        }
        Rc::clone(&formatted)
    }
}

/// Returns whether requests to both reach the same servers.
fn is_same(one: &UpstreamAddress, other: &UpstreamAddress) -> bool {
    one.endpoint == other.endpoint && one.connect == other.connect
}
