//! A request in the queue of its destination. It is generic over the grant, so it does not depend
//! on the pool.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};

/// A request that waits for a grant.
pub(super) struct QueuedRequest<Grant> {
    /// The number of the request. Later requests have higher numbers.
    pub(super) ticket: u64,
    /// Set if the request needs a connection that was never used.
    pub(super) fresh: bool,
    grant: RefCell<Option<Grant>>,
    waker: RefCell<Option<Waker>>,
}

impl<Grant> QueuedRequest<Grant> {
    pub(super) fn new(ticket: u64, fresh: bool) -> Self {
        Self { ticket, fresh, grant: RefCell::default(), waker: RefCell::default() }
    }

    /// Ends the wait with a grant. The request has already left the queue.
    pub(super) fn grant(&self, grant: Grant) {
        self.grant.replace(Some(grant));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits for the grant, and takes it.
    pub(super) fn poll_grant(&self, cx: &Context<'_>) -> Poll<Grant> {
        if let Some(grant) = self.take_grant() {
            return Poll::Ready(grant);
        }
        self.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Takes the grant, if there is one.
    pub(super) fn take_grant(&self) -> Option<Grant> {
        self.grant.take()
    }
}
