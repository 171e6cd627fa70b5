//! A request in the queue of its destination. It can leave at any time, and an unused grant is
//! returned.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::pool::{CheckoutGrant, ConnectionPool, DestinationState};

/// A request that waits for a connection.
pub(super) struct QueuedRequest {
    /// The number of the request. Later requests have higher numbers.
    pub(super) ticket: u64,
    /// Set if the request needs a connection that was never used.
    pub(super) fresh: bool,
    grant: RefCell<Option<CheckoutGrant>>,
    waker: RefCell<Option<Waker>>,
}

/// A future that waits for a connection. Dropping it removes the request from the queue.
pub(super) struct QueueWait {
    request: Rc<QueuedRequest>,
    pool: Rc<ConnectionPool>,
    state: Rc<DestinationState>,
}

impl QueuedRequest {
    pub(super) fn new(ticket: u64, fresh: bool) -> Self {
        Self { ticket, fresh, grant: RefCell::default(), waker: RefCell::default() }
    }

    /// Ends the wait with a grant. The request has already left the queue.
    pub(super) fn grant(&self, grant: CheckoutGrant) {
        self.grant.replace(Some(grant));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl QueueWait {
    pub(super) fn new(
        request: Rc<QueuedRequest>,
        pool: Rc<ConnectionPool>,
        state: Rc<DestinationState>,
    ) -> Self {
        Self { request, pool, state }
    }
}

impl Future for QueueWait {
    type Output = CheckoutGrant;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CheckoutGrant> {
        if let Some(grant) = self.request.grant.take() {
            return Poll::Ready(grant);
        }
        self.request.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for QueueWait {
    fn drop(&mut self) {
        self.pool.dequeue(&self.state, &self.request);
        let unused = self.request.grant.take();
        if let Some(CheckoutGrant::Reuse(permit, idle, _)) = unused {
            self.pool.put(&self.state, idle);
            drop(permit);
        }
    }
}
