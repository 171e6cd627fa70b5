//! Connections without a request: the one used last is used next, so that the others can end.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Destination;
use super::lease::Connection;

/// The idle connections of one core.
pub(super) struct Pool {
    idle: Duration,
    kept: RefCell<HashMap<Destination, Vec<(Connection, Instant)>>>,
}

impl Pool {
    pub(super) fn new(idle: Duration) -> Self {
        Self { idle, kept: RefCell::default() }
    }

    /// The connection to `to` that was used last, with the time it has been idle.
    pub(super) fn take(&self, to: &Destination, now: Instant) -> Option<(Connection, Duration)> {
        let mut kept = self.kept.borrow_mut();
        let (connection, since) = kept.get_mut(to)?.pop()?;
        let idle = now.saturating_duration_since(since);
        (idle < self.idle).then_some((connection, idle))
    }

    pub(super) fn put(&self, to: Destination, connection: Connection) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= DESTINATIONS_MAX && !kept.contains_key(&to) {
            let since = |same: &Vec<(Connection, Instant)>| same.last().map(|(_, since)| *since);
            let oldest = kept.iter().min_by_key(|(_, same)| since(same)).map(|(to, _)| to.clone());
            oldest.and_then(|oldest| kept.remove(&oldest));
        }
        let same = kept.entry(to).or_default();
        if same.len() < KEPT_MAX {
            same.push((connection, Instant::now()));
        }
    }

    pub(super) fn sweep(&self, now: Instant) {
        self.kept.borrow_mut().retain(|_, same| {
            same.retain(|(connection, since)| {
                !connection.sender.is_closed() && now.saturating_duration_since(*since) < self.idle
            });
            !same.is_empty()
        });
    }
}

/// Idle connections to one destination; more are closed.
const KEPT_MAX: usize = 256;
/// Destinations that connections are kept to. Requests name buckets, and with them hosts, so there must be an end.
const DESTINATIONS_MAX: usize = 64;
