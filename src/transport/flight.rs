//! A task that runs once for many waiters. Dropping a waiter does not cancel the task.

use tokio::sync::watch;

/// A handle to the result of a running task. All clones get the same result.
#[derive(Clone)]
pub(super) struct SharedTask<T>(watch::Receiver<Option<T>>);

impl<T: Clone + Send + Sync + 'static> SharedTask<T> {
    /// Spawns `work` on the runtime of the caller.
    pub(super) fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            let result = work.await;
            sender.send_replace(Some(result));
        });
        Self(receiver)
    }

    /// Creates the handle of a task that has finished.
    pub(super) fn finished(result: T) -> Self {
        Self(watch::channel(Some(result)).1)
    }

    /// Returns whether the task or its runtime has ended.
    pub(super) fn is_over(&self) -> bool {
        self.0.borrow().is_some() || self.0.has_changed().is_err()
    }

    /// Returns the result, if the task has finished.
    pub(super) fn result(&self) -> Option<T> {
        self.0.borrow().clone()
    }

    /// Waits for the result. Returns `None` if the runtime of the task has ended.
    pub(super) async fn wait(mut self) -> Option<T> {
        let result = self.0.wait_for(Option::is_some).await.ok()?;
        result.clone()
    }
}
