//! Tracks activity on a client connection, and enforces the header and idle timeouts.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use http::Method;
use tokio::time::{Instant, Sleep, sleep};

use super::http_version::HttpVersion;
use super::streams::UnreadStreams;

/// The activity of a client; shared by the service, the stream and the task that serves the
/// connection.
pub(super) struct ClientActivity {
    /// A reference count: each request in flight holds a clone.
    in_flight: Rc<()>,
    begun: Cell<u64>,
    /// True while the head of a request is being received.
    heard: Cell<bool>,
    /// True if the request in flight is abandoned when its client disconnects.
    is_watched: Cell<bool>,
    /// True while output to the client waits for the socket.
    is_writing: Cell<bool>,
    protocol: HttpVersion,
    /// HTTP/2 responses that are no longer in flight and that the client has not fully read.
    unread: Rc<UnreadStreams>,
}

/// The event that a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ActivityPhase {
    /// Requests are in flight; they have separate limits.
    Busy,
    /// The rest of a head, after this number of requests.
    Head(u64),
    /// The next request, after this number of requests.
    Idle(u64),
}

/// The timeouts for an inactive client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IdleLimits {
    /// The time from the first byte of a head to its last; on a new connection, from its start.
    pub(super) head: Duration,
    /// The time from the end of a request to the start of the next.
    pub(super) idle: Duration,
}

/// A timer for the time in which a client does nothing. There is one per connection. Activity only
/// moves the deadline; the timer is reset later.
pub(super) struct IdleTimer {
    limits: IdleLimits,
    phase: ActivityPhase,
    until: Instant,
    timer: Pin<Box<Sleep>>,
}

impl ClientActivity {
    /// Creates the state of a new connection, which is waiting for its first head.
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

    /// Records the start of a request, which lasts until the returned value is dropped.
    pub(super) fn begin(&self, method: &Method) -> Rc<()> {
        self.heard.set(false);
        // A request with side effects that was received in full is finished, even if its client
        // disconnects.
        self.is_watched.set(self.protocol == HttpVersion::Http1 && method.is_safe());
        self.begun.set(self.begun.get() + 1);
        Rc::clone(&self.in_flight)
    }

    /// Returns the number of requests that have started.
    pub(super) fn requests_started(&self) -> u64 {
        self.begun.get()
    }

    /// Records that bytes have arrived. Over HTTP/2 they need not belong to a request.
    pub(super) fn on_bytes_received(&self) {
        if self.protocol == HttpVersion::Http1 && !self.is_busy() {
            self.heard.set(true);
        }
    }

    /// Returns whether the request in flight is abandoned when its client disconnects.
    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.get() && self.is_in_flight()
    }

    /// Stops watching for a disconnect until the next request.
    pub(super) fn unwatch(&self) {
        self.is_watched.set(false);
    }

    /// Records whether output to the client waits for the socket.
    pub(super) fn set_writing(&self, is_writing: bool) {
        self.is_writing.set(is_writing);
    }

    /// Returns whether a request is in flight or a response is not fully read.
    pub(super) fn is_busy(&self) -> bool {
        self.is_in_flight() || self.is_writing.get() || !self.unread.is_empty()
    }

    /// Returns whether the connection may be closed. It may if nothing is in flight, and the client
    /// has not read any of the remaining output for `stall`.
    pub(super) fn is_over(&self, stall: Duration) -> bool {
        let is_read = self.unread.is_empty() || self.unread.is_over(stall);
        !self.is_in_flight() && !self.is_writing.get() && is_read
    }

    fn is_in_flight(&self) -> bool {
        Rc::strong_count(&self.in_flight) > 1
    }

    /// Returns the responses that the client has not fully read.
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

    /// Returns whether the client has been inactive for the timeout. Must be called whenever the
    /// connection is pending.
    pub(super) fn is_over(&mut self, activity: &ClientActivity, cx: &mut Context<'_>) -> bool {
        let phase = activity.phase();
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
