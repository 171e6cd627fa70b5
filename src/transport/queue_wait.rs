//! The wait of a request in the queue of its destination. It can end at any time, and an unused
//! grant is returned.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::pool::{CheckoutGrant, ConnectionPool, DestinationState};
use super::queue::QueuedRequest;

/// A future that waits for a connection. Dropping it removes the request from the queue.
pub(super) struct QueueWait {
    request: Rc<QueuedRequest<CheckoutGrant>>,
    pool: Rc<ConnectionPool>,
    state: Rc<DestinationState>,
}

impl QueueWait {
    /// Appends a request to the queue. A `fresh` one needs a connection that was never used.
    pub(super) fn new(pool: &Rc<ConnectionPool>, state: &Rc<DestinationState>, fresh: bool) -> Self {
        Self { request: pool.enqueue(state, fresh), pool: Rc::clone(pool), state: Rc::clone(state) }
    }
}

impl Future for QueueWait {
    type Output = CheckoutGrant;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CheckoutGrant> {
        self.request.poll_grant(cx)
    }
}

impl Drop for QueueWait {
    fn drop(&mut self) {
        self.pool.dequeue(&self.state, &self.request);
        if let Some(CheckoutGrant::Reuse(permit, idle, _)) = self.request.take_grant() {
            self.pool.put(&self.state, idle);
            drop(permit);
        }
    }
}
