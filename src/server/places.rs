//! Places for client connections: there are only so many, and who comes when all are taken waits to be served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tracing::warn;

/// The places of the process.
pub(super) struct Places(Arc<Shared>);

struct Shared {
    taken: AtomicUsize,
    count: AtomicUsize,
    freed: Notify,
}

/// A place that is taken until this is dropped.
pub(super) struct Place(Arc<Shared>);

impl Places {
    pub(super) fn new(count: usize) -> Self {
        let (taken, count) = (AtomicUsize::new(0), AtomicUsize::new(count));
        Self(Arc::new(Shared { taken, count, freed: Notify::new() }))
    }

    /// Has another number of places. Those that are taken stay so.
    pub(super) fn resize(&self, count: usize) {
        self.0.count.store(count, Ordering::Relaxed);
        self.0.freed.notify_one();
    }

    /// Takes a place. Who waits here accepts nothing more: others wait in the listener's queue, which the system bounds.
    pub(super) async fn take(&self) -> Place {
        if let Some(place) = self.try_take() {
            return place;
        }
        warn!(
            client_connections = self.0.count.load(Ordering::Relaxed),
            "all client connections are in use; new ones wait (limits.client_connections)"
        );
        loop {
            self.0.freed.notified().await;
            if let Some(place) = self.try_take() {
                // There may be more than one free by now, and one more who waits.
                self.0.freed.notify_one();
                return place;
            }
        }
    }

    fn try_take(&self) -> Option<Place> {
        let count = self.0.count.load(Ordering::Relaxed);
        let another = |taken| (taken < count).then_some(taken + 1);
        let taken = self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, another);
        taken.is_ok().then(|| Place(Arc::clone(&self.0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::Places;

    fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_comes_when_all_places_are_taken_waits_for_one() {
        let places = Places::new(1);
        let first = places.try_take().expect("a place");
        let mut second = pin!(places.take());
        assert!(poll_once(second.as_mut()).is_pending());
        drop(first);
        assert!(poll_once(second.as_mut()).is_ready());
    }

    #[test]
    fn more_places_let_in_who_waits_and_fewer_throw_nobody_out() {
        let places = Places::new(1);
        let first = places.try_take().expect("a place");
        let mut second = pin!(places.take());
        assert!(poll_once(second.as_mut()).is_pending());
        places.resize(2);
        let Poll::Ready(second) = poll_once(second.as_mut()) else { panic!("it waits") };
        places.resize(1);
        drop(first);
        assert!(places.try_take().is_none(), "one is still taken");
        drop(second);
        assert!(places.try_take().is_some());
    }
}
