//! What came in: requests and connections, for tests to look at.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Method, request};

/// One request as it was received.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: Method,
    /// The target as on the wire; an absolute one is written with its path.
    pub target: String,
    /// The headers; of each name the values are in the order of the wire.
    pub headers: HeaderMap,
    /// On which connection, counted from 1.
    pub connection: usize,
}

/// The requests received so far. Clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    connections: usize,
    requests: usize,
    broken_bodies: usize,
    /// The latest [`KEPT`].
    latest: VecDeque<Received>,
}

impl Journal {
    /// How many connections were accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.lock().connections
    }

    /// How many requests were received.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().requests
    }

    /// How many uploads broke off before their end; nothing of them was stored.
    #[must_use]
    pub fn broken_bodies(&self) -> usize {
        self.lock().broken_bodies
    }

    /// The latest thousand requests, the oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.lock().latest.iter().cloned().collect()
    }

    /// The latest request.
    #[must_use]
    pub fn last(&self) -> Option<Received> {
        self.lock().latest.back().cloned()
    }

    /// Forgets the requests and sets the counts to zero.
    pub fn clear(&self) {
        *self.lock() = Entries::default();
    }

    pub(super) fn connected(&self) -> usize {
        let mut entries = self.lock();
        entries.connections += 1;
        entries.connections
    }

    pub(super) fn broken(&self) {
        self.lock().broken_bodies += 1;
    }

    pub(super) fn record(&self, head: &request::Parts, connection: usize) {
        let target = match (head.uri.authority(), head.uri.path_and_query()) {
            (None, Some(origin)) => origin.as_str().to_owned(),
            (_, _) => head.uri.to_string(),
        };
        let received =
            Received { method: head.method.clone(), target, headers: head.headers.clone(), connection };
        let mut entries = self.lock();
        entries.requests += 1;
        if entries.latest.len() == KEPT {
            entries.latest.pop_front();
        }
        entries.latest.push_back(received);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many requests are remembered.
const KEPT: usize = 1000;
