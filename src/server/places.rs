//! Places for client connections: there are only so many, and who comes when all are taken waits to be served.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

/// The places of the process.
pub(super) struct Places {
    free: Arc<Semaphore>,
    count: usize,
}

/// A place that is taken until this is dropped.
pub(super) struct Place {
    #[expect(dead_code, reason = "held, not used")]
    permit: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), count }
    }

    /// Takes a place. Who waits here accepts nothing more: others wait in the listener's queue, which the system bounds.
    pub(super) async fn take(&self) -> Place {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Place { permit: Some(permit) };
        }
        warn!(
            client_connections = self.count,
            "all client connections are in use; new ones wait (limits.client_connections)"
        );
        // It is never closed, so there is always a permit in the end.
        Place { permit: Arc::clone(&self.free).acquire_owned().await.ok() }
    }
}
