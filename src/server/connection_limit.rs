//! Limits the number of client connections. When the limit is reached, new connections wait in the
//! accept queue.
//!
//! The pool of `transport` has another kind of limit. Here a single number decides, and a permit is
//! taken on the accept thread and released on a worker: the count is atomic, and a release wakes
//! all waiting tasks. There, cells of one thread count, the share of a destination depends on the
//! use of the others, and the pool picks the next request. One type for both would bring atomics
//! and wake-ups into the pool, and destinations into this limit.
//!
//! A semaphore of tokio would not be smaller: it cannot be reduced below the permits in use, and
//! does not report that all are taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tracing::warn;

/// The limit on client connections, shared by the whole process.
#[derive(Clone)]
pub(super) struct ConnectionLimit(Arc<LimitState>);

struct LimitState {
    taken: AtomicUsize,
    count: AtomicUsize,
    freed: Notify,
    /// True once the warning that all permits are in use was logged.
    is_warned: AtomicBool,
}

/// A permit for one connection, released on drop.
pub(super) struct ConnectionPermit(Arc<LimitState>);

impl ConnectionLimit {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(LimitState {
            taken: AtomicUsize::new(0),
            count: AtomicUsize::new(count),
            freed: Notify::new(),
            is_warned: AtomicBool::default(),
        }))
    }

    /// Changes the limit. Permits that are in use remain valid.
    pub(super) fn resize(&self, count: usize) {
        self.0.count.store(count, Ordering::Relaxed);
        self.0.freed.notify_waiters();
    }

    /// Returns a permit, or `None` if all are in use.
    pub(super) fn take(&self) -> Option<ConnectionPermit> {
        let count = self.0.count.load(Ordering::Relaxed);
        let another = |taken| (taken < count).then_some(taken + 1);
        let taken = self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, another);
        taken.is_ok().then(|| ConnectionPermit(Arc::clone(&self.0)))
    }

    /// Waits until a permit is available; another caller may take it first. While the caller waits,
    /// it accepts nothing: clients wait in the listener's queue, which the system bounds.
    pub(super) async fn freed(&self) {
        // Subscribe before the check, so that a release after it is not missed.
        let freed = self.0.freed.notified();
        let count = self.0.count.load(Ordering::Relaxed);
        if self.0.taken.load(Ordering::Relaxed) < count {
            return;
        }
        if !self.0.is_warned.swap(true, Ordering::Relaxed) {
            warn!(
                client_connections = count,
                "client connection limit reached; new connections wait (limits.client_connections)"
            );
        }
        freed.await;
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let left = self.0.taken.fetch_sub(1, Ordering::Relaxed) - 1;
        let count = self.0.count.load(Ordering::Relaxed);
        // Re-arm the warning only once 10 % of the permits are free. Otherwise a server running at
        // its limit would log on every connection.
        if left <= count - count.div_ceil(10) {
            self.0.is_warned.store(false, Ordering::Relaxed);
        }
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::atomic::Ordering;
    use std::task::{Context, Poll, Waker};

    use super::ConnectionLimit;

    fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_comes_when_all_places_are_taken_waits_for_one() {
        let places = ConnectionLimit::new(1);
        let first = places.take().expect("a place");
        assert!(places.take().is_none());
        let mut one = pin!(places.freed());
        let mut other = pin!(places.freed());
        assert!(poll_once(one.as_mut()).is_pending() && poll_once(other.as_mut()).is_pending());
        drop(first);
        assert!(poll_once(one.as_mut()).is_ready() && poll_once(other.as_mut()).is_ready());
        assert!(poll_once(pin!(places.freed())).is_ready() && places.take().is_some());
    }

    #[test]
    fn that_all_places_are_taken_is_told_once_until_a_tenth_is_free() {
        let places = ConnectionLimit::new(20);
        let mut all: Vec<_> = (0..20).map(|_| places.take().expect("a place")).collect();
        let told = || places.0.is_warned.load(Ordering::Relaxed);
        let waits = || assert!(poll_once(pin!(places.freed())).is_pending());
        assert!(!told());
        waits();
        assert!(told());
        all.pop();
        assert!(told(), "the next one is known to be the last");
        all.pop();
        assert!(!told());
        all.extend([places.take(), places.take()].into_iter().flatten());
        waits();
        assert!(told());
    }

    #[test]
    fn more_places_let_in_who_waits_and_fewer_throw_nobody_out() {
        let places = ConnectionLimit::new(1);
        let first = places.take().expect("a place");
        let mut freed = pin!(places.freed());
        assert!(poll_once(freed.as_mut()).is_pending());
        places.resize(2);
        assert!(poll_once(freed.as_mut()).is_ready());
        let second = places.take().expect("a place");
        places.resize(1);
        drop(first);
        assert!(places.take().is_none(), "one is still taken");
        drop(second);
        assert!(places.take().is_some());
    }
}
