//! A record of received requests and connections, for tests to inspect.

use std::collections::VecDeque;
use std::sync::Arc;

use http::{HeaderMap, Method, request};
use parking_lot::Mutex;

/// A request as received.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// The method.
    pub method: Method,
    /// The request target as received. A target in absolute form always has a path.
    pub target: String,
    /// The headers. The values of each name are in the order received.
    pub headers: HeaderMap,
    /// The number of the connection, counted from 1.
    pub connection: usize,
    /// The number of body bytes read so far, without chunk framing.
    pub body_bytes: u64,
    /// The state of the body.
    pub body: BodyArrival,
    number: u64,
}

/// The state of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyArrival {
    /// Read to the end announced by its framing, or there was no body.
    Whole,
    /// Not read to the end: more may follow, or the rest was left unread after an error response.
    Open,
    /// The connection ended before the body was complete.
    Broken,
}

/// The requests received so far. Clones share the same record.
#[derive(Clone, Debug, Default)]
pub struct RequestRecorder(Arc<Mutex<RecordedRequests>>);

#[derive(Debug, Default)]
struct RecordedRequests {
    connections: usize,
    requests: usize,
    broken_bodies: usize,
    /// The number of the next request; never reset.
    next: u64,
    /// The latest [`KEPT`] requests.
    latest: VecDeque<ReceivedRequest>,
}

/// A handle to one recorded request.
#[derive(Debug)]
pub(super) struct RecordedEntry {
    recorder: RequestRecorder,
    number: u64,
}

impl RequestRecorder {
    /// Returns the number of accepted connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.lock().connections
    }

    /// Returns the number of received requests.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().requests
    }

    /// Returns the number of uploads that ended before their body was complete.
    #[must_use]
    pub fn broken_bodies(&self) -> usize {
        self.0.lock().broken_bodies
    }

    /// Returns the latest thousand requests, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.0.lock().latest.iter().cloned().collect()
    }

    /// Returns the latest request.
    #[must_use]
    pub fn last(&self) -> Option<ReceivedRequest> {
        self.0.lock().latest.back().cloned()
    }

    /// Drops the recorded requests and resets the counters.
    pub fn clear(&self) {
        let mut entries = self.0.lock();
        *entries = RecordedRequests { next: entries.next, ..RecordedRequests::default() };
    }

    pub(super) fn connected(&self) -> usize {
        let mut entries = self.0.lock();
        entries.connections += 1;
        entries.connections
    }

    /// Records the head of a request.
    pub(super) fn record(&self, head: &request::Parts, connection: usize) -> RecordedEntry {
        let target = match (head.uri.authority(), head.uri.path_and_query()) {
            (None, Some(origin)) => origin.as_str().to_owned(),
            (_, _) => head.uri.to_string(),
        };
        let mut entries = self.0.lock();
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
        RecordedEntry { recorder: self.clone(), number }
    }
}

impl RecordedEntry {
    /// Adds to the number of body bytes received.
    pub(super) fn received(&self, bytes: usize) {
        let mut entries = self.recorder.0.lock();
        if let Some(received) = entries.find(self.number) {
            received.body_bytes += bytes as u64;
        }
    }

    /// Records the final state of the body.
    pub(super) fn ended(&self, arrival: BodyArrival) {
        let mut entries = self.recorder.0.lock();
        if arrival == BodyArrival::Broken {
            entries.broken_bodies += 1;
        }
        if let Some(received) = entries.find(self.number) {
            received.body = arrival;
        }
    }
}

impl RecordedRequests {
    /// Finds a request by number, unless it was dropped. Searches from the latest, because only
    /// recent requests still receive a body.
    fn find(&mut self, number: u64) -> Option<&mut ReceivedRequest> {
        self.latest.iter_mut().rev().find(|received| received.number == number)
    }
}

/// The number of requests that are kept.
const KEPT: usize = 1000;
