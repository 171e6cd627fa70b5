//! A limit on a resource that destinations share. No destination can use all of it.
//!
//! It only counts, on one thread. Which request waits, and which one is next, is decided by the
//! pool: that also depends on idle connections, outages and silence. The limit on client
//! connections (`server::connection_limit`) is one number that threads share and wait for, so it is
//! a separate type.

use std::cell::Cell;

/// A limit for each destination and for all destinations together.
#[derive(Debug)]
pub(super) struct SharedLimit {
    each: Cell<usize>,
    used: Cell<usize>,
}

impl SharedLimit {
    pub(super) fn new(each: usize) -> Self {
        Self { each: Cell::new(each), used: Cell::default() }
    }

    /// Returns the limit for each destination.
    pub(super) fn each(&self) -> usize {
        self.each.get()
    }

    pub(super) fn renew(&self, each: usize) {
        self.each.set(each);
    }

    /// Returns whether a destination that uses `own` units may have another. It must use fewer than
    /// are free. Even if every destination takes all it can, some remain for the next ("dynamic
    /// threshold" of Choudhury and Hahne, with a factor of one).
    pub(super) fn admits(&self, own: usize) -> bool {
        let each = self.each.get();
        // guard: room-for-others
        own < each && own < self.free()
    }

    /// Returns the units that all destinations together leave free.
    pub(super) fn free(&self) -> usize {
        self.each.get().saturating_mul(TOTAL_FACTOR).saturating_sub(self.used.get())
    }

    pub(super) fn acquire(&self) {
        self.used.set(self.used.get() + 1);
    }

    pub(super) fn release(&self, count: usize) {
        self.used.set(self.used.get() - count);
    }
}

/// The factor between the limit of one destination and the limit of all together.
const TOTAL_FACTOR: usize = 4;

#[cfg(test)]
mod tests {
    use super::SharedLimit;

    /// Returns the units that destinations get if they arrive one after another and each takes all
    /// it can.
    fn greedy(each: usize, destinations: usize) -> Vec<usize> {
        let limit = SharedLimit::new(each);
        let fill = |_| {
            let mut own = 0;
            while limit.admits(own) {
                limit.acquire();
                own += 1;
            }
            own
        };
        (0..destinations).map(fill).collect()
    }

    #[test]
    fn one_destination_gets_the_limit_and_others_leave_room_for_the_next() {
        assert_eq!(greedy(256, 8), [256, 256, 256, 128, 64, 32, 16, 8]);
        assert_eq!(greedy(1, 5), [1, 1, 1, 1, 0]);
        assert_eq!(greedy(2, 4), [2, 2, 2, 1]);
    }

    #[test]
    fn what_is_in_use_beyond_a_lower_limit_is_returned_before_more_is_taken() {
        let limit = SharedLimit::new(8);
        (0..8).for_each(|_| limit.acquire());
        limit.renew(1);
        assert!(!limit.admits(0), "eight of four are in use");
        limit.release(5);
        assert!(limit.admits(0));
        assert!(!limit.admits(1));
    }
}
