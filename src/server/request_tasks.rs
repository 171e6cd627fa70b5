//! Requests with effects of an HTTP/2 connection, each in a task of its own, so that a client that leaves cancels none.
//!
//! What has not come whole ends by itself: its body fails when the stream is reset or the connection ends.

use std::cell::RefCell;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// The tasks of a connection.
pub(super) struct RequestTasks {
    tasks: RefCell<JoinSet<()>>,
    limit: usize,
}

impl RequestTasks {
    /// None yet; at most so many at once.
    pub(super) fn new(limit: usize) -> Self {
        Self { tasks: RefCell::default(), limit }
    }

    /// Whether there may be no more: the clients of so many have left that the next ones end with their streams.
    pub(super) fn is_full(&self) -> bool {
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.len() >= self.limit
    }

    /// Runs a request to its end. The receiver gets its response, or an error if the task has panicked.
    pub(super) fn spawn<T: 'static>(
        &self,
        request: impl Future<Output = T> + 'static,
    ) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        self.tasks.borrow_mut().spawn_local(async move {
            // The client may have left.
            let _ = sender.send(request.await);
        });
        receiver
    }

    /// Waits until all have ended.
    pub(super) async fn finish(&self) {
        let mut tasks = self.tasks.take();
        while tasks.join_next().await.is_some() {}
    }
}
