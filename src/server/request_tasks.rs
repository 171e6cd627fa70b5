//! Runs the requests with side effects of an HTTP/2 connection in separate tasks, so that a
//! disconnect cancels none.
//!
//! An incomplete request needs no handling: its body fails when the stream is reset or the
//! connection ends.

use std::cell::RefCell;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// The request tasks of one connection.
pub(super) struct RequestTasks {
    tasks: RefCell<JoinSet<()>>,
    limit: usize,
}

impl RequestTasks {
    /// Creates an empty set of at most `limit` concurrent tasks.
    pub(super) fn new(limit: usize) -> Self {
        Self { tasks: RefCell::default(), limit }
    }

    /// Returns whether the limit is reached. Requests beyond it run in their streams, and end with
    /// them.
    pub(super) fn is_full(&self) -> bool {
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.len() >= self.limit
    }

    /// Runs a request to its end in a task. The receiver gets its response, or an error if the task
    /// has panicked.
    pub(super) fn spawn<T: 'static>(
        &self,
        request: impl Future<Output = T> + 'static,
    ) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        self.tasks.borrow_mut().spawn_local(async move {
            // The client may have disconnected.
            let _ = sender.send(request.await);
        });
        receiver
    }

    /// Waits until all tasks have ended.
    pub(super) async fn finish(&self) {
        let mut tasks = self.tasks.take();
        while tasks.join_next().await.is_some() {}
    }
}
