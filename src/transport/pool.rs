//! Connections without a request: the one used last is used next, so that the others can end.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Destination;
use super::lease::Connection;

/// The idle connections of one core.
pub(super) struct Pool {
    idle: Duration,
    /// By destination. They are few, and comparing them costs less than hashing one.
    kept: RefCell<Vec<Kept>>,
}

/// The connections to a destination, each with the time since when it is idle; the one that was used last is the last.
struct Kept {
    to: Rc<Destination>,
    connections: Vec<(Connection, Instant)>,
}

impl Pool {
    pub(super) fn new(idle: Duration) -> Self {
        Self { idle, kept: RefCell::default() }
    }

    /// The connection to `to` that was used last, with the time it has been idle.
    pub(super) fn take(&self, to: &Rc<Destination>, now: Instant) -> Option<(Connection, Duration)> {
        let mut kept = self.kept.borrow_mut();
        let same = kept.iter_mut().find(|same| is_same(&same.to, to))?;
        let (connection, since) = same.connections.pop()?;
        let idle = now.saturating_duration_since(since);
        (idle < self.idle).then_some((connection, idle))
    }

    pub(super) fn put(&self, to: Rc<Destination>, connection: Connection) {
        let mut kept = self.kept.borrow_mut();
        let place = kept.iter().position(|same| is_same(&same.to, &to)).unwrap_or_else(|| {
            if kept.len() >= DESTINATIONS_MAX {
                let since = |at: &usize| kept[*at].connections.last().map(|(_, since)| *since);
                let oldest = (0..kept.len()).min_by_key(since);
                oldest.map(|oldest| kept.swap_remove(oldest));
            }
            kept.push(Kept { to, connections: Vec::new() });
            kept.len() - 1
        });
        let same = &mut kept[place].connections;
        if same.len() < KEPT_MAX {
            same.push((connection, Instant::now()));
        }
    }

    pub(super) fn sweep(&self, now: Instant) {
        self.kept.borrow_mut().retain_mut(|same| {
            same.connections.retain(|(connection, since)| {
                !connection.sender.is_closed() && now.saturating_duration_since(*since) < self.idle
            });
            !same.connections.is_empty()
        });
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
