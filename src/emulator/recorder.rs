//! What came in: requests and connections, for tests to look at.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Method, request};

/// One request as it was received.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// The method.
    pub method: Method,
    /// The target as on the wire; an absolute one is written with its path.
    pub target: String,
    /// The headers; of each name the values are in the order of the wire.
    pub headers: HeaderMap,
    /// On which connection, counted from 1.
    pub connection: usize,
    /// How many bytes of the body were read so far, without the framing of chunks.
    pub body_bytes: u64,
    /// How the body ended.
    pub body: BodyArrival,
    number: u64,
}

/// How far the body of a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyArrival {
    /// To the end that its framing announced, or there was none.
    Whole,
    /// Its end was not read: more comes, or the rest was left unread after a refusal.
    Open,
    /// The connection ended before it.
    Broken,
}

/// The requests received so far. Clones see the same.
#[derive(Clone, Debug, Default)]
pub struct RequestRecorder(Arc<Mutex<RecordedRequests>>);

#[derive(Debug, Default)]
struct RecordedRequests {
    connections: usize,
    requests: usize,
    broken_bodies: usize,
    /// The number of the next request; it is never set back.
    next: u64,
    /// The latest [`KEPT`].
    latest: VecDeque<ReceivedRequest>,
}

/// The place of one request in the journal.
#[derive(Debug)]
pub(super) struct RecordedEntry {
    journal: RequestRecorder,
    number: u64,
}

impl RequestRecorder {
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

    /// How many uploads broke off before their end.
    #[must_use]
    pub fn broken_bodies(&self) -> usize {
        self.lock().broken_bodies
    }

    /// The latest thousand requests, the oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.lock().latest.iter().cloned().collect()
    }

    /// The latest request.
    #[must_use]
    pub fn last(&self) -> Option<ReceivedRequest> {
        self.lock().latest.back().cloned()
    }

    /// Forgets the requests and sets the counts to zero.
    pub fn clear(&self) {
        let mut entries = self.lock();
        *entries = RecordedRequests { next: entries.next, ..RecordedRequests::default() };
    }

    pub(super) fn connected(&self) -> usize {
        let mut entries = self.lock();
        entries.connections += 1;
        entries.connections
    }

    /// Writes down the head of a request.
    pub(super) fn record(&self, head: &request::Parts, connection: usize) -> RecordedEntry {
        let target = match (head.uri.authority(), head.uri.path_and_query()) {
            (None, Some(origin)) => origin.as_str().to_owned(),
            (_, _) => head.uri.to_string(),
        };
        let mut entries = self.lock();
        let number = entries.next;
        entries.next += 1;
        entries.requests += 1;
        if entries.latest.len() == KEPT {
            entries.latest.pop_front();
        }
        entries.latest.push_back(ReceivedRequest {
            method: head.method.clone(),
            target,
            headers: head.headers.clone(),
            connection,
            body_bytes: 0,
            body: BodyArrival::Open,
            number,
        });
        RecordedEntry { journal: self.clone(), number }
    }

    fn lock(&self) -> MutexGuard<'_, RecordedRequests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecordedEntry {
    /// Counts bytes of the body.
    pub(super) fn received(&self, bytes: usize) {
        let mut entries = self.journal.lock();
        if let Some(received) = entries.find(self.number) {
            received.body_bytes += bytes as u64;
        }
    }

    /// Writes down how the body ended.
    pub(super) fn ended(&self, arrival: BodyArrival) {
        let mut entries = self.journal.lock();
        if arrival == BodyArrival::Broken {
            entries.broken_bodies += 1;
        }
        if let Some(received) = entries.find(self.number) {
            received.body = arrival;
        }
    }
}

impl RecordedRequests {
    /// The request of this number, unless it is forgotten. The latest are looked at first: those are still coming in.
    fn find(&mut self, number: u64) -> Option<&mut ReceivedRequest> {
        self.latest.iter_mut().rev().find(|received| received.number == number)
    }
}

/// How many requests are remembered.
const KEPT: usize = 1000;
