//! Places for client connections: there are only so many, and who comes when all are taken waits to be served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tracing::warn;

/// The places of the process.
#[derive(Clone)]
pub(super) struct ConnectionLimit(Arc<LimitState>);

struct LimitState {
    taken: AtomicUsize,
    count: AtomicUsize,
    freed: Notify,
    /// Whether it was told that all are taken.
    told: AtomicBool,
}

/// A place that is taken until this is dropped.
pub(super) struct ConnectionPermit(Arc<LimitState>);

impl ConnectionLimit {
    pub(super) fn new(count: usize) -> Self {
        let (taken, count) = (AtomicUsize::new(0), AtomicUsize::new(count));
        Self(Arc::new(LimitState { taken, count, freed: Notify::new(), told: AtomicBool::default() }))
    }

    /// Has another number of places. Those that are taken stay so.
    pub(super) fn resize(&self, count: usize) {
        self.0.count.store(count, Ordering::Relaxed);
        self.0.freed.notify_waiters();
    }

    /// A place, unless all are taken.
    pub(super) fn take(&self) -> Option<ConnectionPermit> {
        let count = self.0.count.load(Ordering::Relaxed);
        let another = |taken| (taken < count).then_some(taken + 1);
        let taken = self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, another);
        taken.is_ok().then(|| ConnectionPermit(Arc::clone(&self.0)))
    }

    /// Waits until there is one, which somebody else may take first. Who waits here accepts nothing: clients wait in the
    /// listener's queue, which the system bounds.
    pub(super) async fn freed(&self) {
        // Before the look, or what is freed after it would not be heard of.
        let freed = self.0.freed.notified();
        let count = self.0.count.load(Ordering::Relaxed);
        if self.0.taken.load(Ordering::Relaxed) < count {
            return;
        }
        if !self.0.told.swap(true, Ordering::Relaxed) {
            warn!(
                client_connections = count,
                "all client connections are in use; new ones wait (limits.client_connections)"
            );
        }
        freed.await;
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let left = self.0.taken.fetch_sub(1, Ordering::Relaxed) - 1;
        let count = self.0.count.load(Ordering::Relaxed);
        // One that goes for one that comes is no news; a tenth that is free is.
        if left <= count - count.div_ceil(10) {
            self.0.told.store(false, Ordering::Relaxed);
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
        let (mut one, mut other) = (pin!(places.freed()), pin!(places.freed()));
        assert!(poll_once(one.as_mut()).is_pending() && poll_once(other.as_mut()).is_pending());
        drop(first);
        assert!(poll_once(one.as_mut()).is_ready() && poll_once(other.as_mut()).is_ready());
        assert!(poll_once(pin!(places.freed())).is_ready() && places.take().is_some());
    }

    #[test]
    fn that_all_places_are_taken_is_told_once_until_a_tenth_is_free() {
        let places = ConnectionLimit::new(20);
        let mut all: Vec<_> = (0..20).map(|_| places.take().expect("a place")).collect();
        let told = || places.0.told.load(Ordering::Relaxed);
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
