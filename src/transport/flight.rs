//! A task that many wait for and that runs once. A waiter that is dropped cancels nothing.

use tokio::sync::watch;

/// A handle on the result of a running task. Its clones get the same result.
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

    /// Whether there is nothing to wait for: the task has ended, or its runtime has.
    pub(super) fn is_over(&self) -> bool {
        self.0.borrow().is_some() || self.0.has_changed().is_err()
    }

    /// The result, once there is one.
    pub(super) fn result(&self) -> Option<T> {
        self.0.borrow().clone()
    }

    /// Waits for the result. Returns `None` if the runtime of the task has ended.
    pub(super) async fn wait(mut self) -> Option<T> {
        let result = self.0.wait_for(Option::is_some).await.ok()?;
        result.clone()
    }
}
