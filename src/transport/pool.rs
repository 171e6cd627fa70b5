//! Connections without a request: the one used last is used next, so that the others can end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Destination;
use super::lease::Connection;
use super::tally::Tally;

/// The idle connections of one core.
pub(super) struct Pool {
    idle: Cell<Duration>,
    /// By destination. They are few, and comparing them costs less than hashing one.
    kept: RefCell<Vec<Kept>>,
    count: Cell<usize>,
    tally: Arc<Tally>,
}

/// The connections to a destination, each with the time since when it is idle; the one that was used last is the last.
struct Kept {
    to: Rc<Destination>,
    connections: Vec<(Connection, Instant)>,
}

impl Pool {
    pub(super) fn new(idle: Duration, tally: Arc<Tally>) -> Self {
        Self { idle: Cell::new(idle), kept: RefCell::default(), count: Cell::default(), tally }
    }

    fn counts(&self, count: usize) {
        self.count.set(count);
        self.tally.kept(count);
    }

    /// Sets how long a connection may be idle.
    pub(super) fn keep_for(&self, idle: Duration) {
        self.idle.set(idle);
    }

    /// The connection to `to` that was used last, with the time it has been idle.
    pub(super) fn take(&self, to: &Rc<Destination>, now: Instant) -> Option<(Connection, Duration)> {
        let mut kept = self.kept.borrow_mut();
        let same = kept.iter_mut().find(|same| is_same(&same.to, to))?;
        let (connection, since) = same.connections.pop()?;
        self.counts(self.count.get() - 1);
        let idle = now.saturating_duration_since(since);
        (idle < self.idle.get()).then_some((connection, idle))
    }

    pub(super) fn put(&self, to: Rc<Destination>, connection: Connection) {
        let mut kept = self.kept.borrow_mut();
        let place = kept.iter().position(|same| is_same(&same.to, &to)).unwrap_or_else(|| {
            if kept.len() >= DESTINATIONS_MAX {
                let since = |at: &usize| kept[*at].connections.last().map(|(_, since)| *since);
                let oldest = (0..kept.len()).min_by_key(since);
                let closed = oldest.map_or(0, |oldest| kept.swap_remove(oldest).connections.len());
                self.counts(self.count.get() - closed);
            }
            kept.push(Kept { to, connections: Vec::new() });
            kept.len() - 1
        });
        let same = &mut kept[place].connections;
        if same.len() < KEPT_MAX {
            same.push((connection, Instant::now()));
            self.counts(self.count.get() + 1);
        }
    }

    pub(super) fn sweep(&self, now: Instant) {
        self.kept.borrow_mut().retain_mut(|same| {
            same.connections.retain(|(connection, since)| {
                !connection.sender.is_closed() && now.saturating_duration_since(*since) < self.idle.get()
            });
            !same.connections.is_empty()
        });
        self.counts(self.kept.borrow().iter().map(|same| same.connections.len()).sum());
    }
}

/// Requests for the same bucket mostly come with the very same destination.
fn is_same(one: &Rc<Destination>, other: &Rc<Destination>) -> bool {
    Rc::ptr_eq(one, other) || one == other
}

/// Idle connections to one destination; more are closed.
const KEPT_MAX: usize = 256;
/// Destinations that connections are kept to. Requests name buckets, and with them hosts, so there must be an end.
const DESTINATIONS_MAX: usize = 64;
