//! How many of something may be in use at once; who comes first is served first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::SendError;

/// So many slots.
pub(super) struct Slots(Arc<Semaphore>);

/// One of them; free again when this is dropped.
pub(super) type Slot = OwnedSemaphorePermit;

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Takes a slot, waiting in line for it for as long as `limit`.
    pub(super) async fn take(&self, limit: Duration) -> Result<Slot, SendError> {
        if let Ok(slot) = Arc::clone(&self.0).try_acquire_owned() {
            return Ok(slot);
        }
        match tokio::time::timeout(limit, Arc::clone(&self.0).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(SendError::Busy(limit)),
        }
    }
}
