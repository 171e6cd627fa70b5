//! What a client does on its connection, and how long it may do nothing.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use http::Method;
use tokio::time::{Instant, Sleep, sleep};

use super::protocol::HttpVersion;
use super::streams::UnreadStreams;

/// What is known of a client's doings; shared by the service, the stream and who waits for the end.
pub(super) struct ClientActivity {
    /// Each request in flight holds a clone.
    in_flight: Rc<()>,
    begun: Cell<u64>,
    /// Whether the head of a request is on its way.
    heard: Cell<bool>,
    /// Whether the request in flight is to be given up when its client is gone.
    is_watched: Cell<bool>,
    /// Whether something for the client waits for the socket.
    is_writing: Cell<bool>,
    protocol: HttpVersion,
    /// Responses of HTTP/2 that are not in flight any more, but not taken by the client either.
    unread: Rc<UnreadStreams>,
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ActivityPhase {
    /// Requests are in flight; they have limits of their own.
    Busy,
    /// For the rest of a head; after so many requests.
    Head(u64),
    /// For the next request; after so many.
    Idle(u64),
}

/// The limits on doing nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IdleLimits {
    /// From the first byte of a head to its last; on a new connection, from its beginning.
    pub(super) head: Duration,
    /// From the end of a request to the beginning of the next.
    pub(super) idle: Duration,
}

/// The clock that runs while a client does nothing. One timer for a connection: where something happens it is only noted when.
pub(super) struct IdleTimer {
    limits: IdleLimits,
    phase: ActivityPhase,
    until: Instant,
    timer: Pin<Box<Sleep>>,
}

impl ClientActivity {
    /// Of a new connection, whose first request is owed at once.
    pub(super) fn new(protocol: HttpVersion) -> Self {
        Self {
            in_flight: Rc::default(),
            begun: Cell::default(),
            heard: Cell::new(true),
            is_watched: Cell::default(),
            is_writing: Cell::default(),
            protocol,
            unread: Rc::default(),
        }
    }

    /// A request has begun; it lasts until what is returned is dropped.
    pub(super) fn begin(&self, method: &Method) -> Rc<()> {
        self.heard.set(false);
        // A request with effects that has come whole is finished, whatever happens to its client.
        self.is_watched.set(self.protocol == HttpVersion::Http1 && method.is_safe());
        self.begun.set(self.begun.get() + 1);
        Rc::clone(&self.in_flight)
    }

    /// How many requests have begun.
    pub(super) fn requests_started(&self) -> u64 {
        self.begun.get()
    }

    /// Something has come from the client. Over HTTP/2 it need not belong to a request.
    pub(super) fn on_bytes_received(&self) {
        if self.protocol == HttpVersion::Http1 && !self.is_busy() {
            self.heard.set(true);
        }
    }

    /// Whether a request is in flight that is to be given up when its client is gone.
    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.get() && self.is_in_flight()
    }

    /// Stops watching for the end of the client, until the next request.
    pub(super) fn unwatch(&self) {
        self.is_watched.set(false);
    }

    /// Notes whether something for the client waits for the socket.
    pub(super) fn set_writing(&self, is_writing: bool) {
        self.is_writing.set(is_writing);
    }

    /// Whether a request is in flight, or a response not taken yet.
    pub(super) fn is_busy(&self) -> bool {
        self.is_in_flight() || self.is_writing.get() || !self.unread.is_empty()
    }

    /// Whether the connection may be closed: nothing is in flight, and the client takes nothing of what is left for it.
    pub(super) fn is_over(&self, stall: Duration) -> bool {
        let is_read = self.unread.is_empty() || self.unread.is_over(stall);
        !self.is_in_flight() && !self.is_writing.get() && is_read
    }

    fn is_in_flight(&self) -> bool {
        Rc::strong_count(&self.in_flight) > 1
    }

    /// Returns the responses that the client has not taken.
    pub(super) fn unread(&self) -> &Rc<UnreadStreams> {
        &self.unread
    }

    fn phase(&self) -> ActivityPhase {
        match (self.is_busy(), self.heard.get()) {
            (true, _) => ActivityPhase::Busy,
            (false, true) => ActivityPhase::Head(self.begun.get()),
            (false, false) => ActivityPhase::Idle(self.begun.get()),
        }
    }
}

impl IdleTimer {
    pub(super) fn new(limits: IdleLimits) -> Self {
        let timer = Box::pin(sleep(limits.head));
        Self { limits, phase: ActivityPhase::Busy, until: timer.deadline(), timer }
    }

    /// Whether the client has done nothing for as long as it may. To be asked whenever the connection has nothing to do.
    pub(super) fn is_over(&mut self, presence: &ClientActivity, cx: &mut Context<'_>) -> bool {
        let phase = presence.phase();
        if phase != self.phase {
            self.phase = phase;
            let limit = match phase {
                ActivityPhase::Busy => return false,
                ActivityPhase::Head(_) => self.limits.head,
                ActivityPhase::Idle(_) => self.limits.idle,
            };
            self.until = Instant::now() + limit;
            if self.until < self.timer.deadline() {
                self.timer.as_mut().reset(self.until);
            }
        }
        // guard: quiet-connection
        while phase != ActivityPhase::Busy && self.timer.as_mut().poll(cx).is_ready() {
            if self.timer.deadline() >= self.until {
                return true;
            }
            self.timer.as_mut().reset(self.until);
        }
        false
    }
}
