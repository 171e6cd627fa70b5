//! How many of something may be in use at once; who comes first is served first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::SendError;

/// So many slots.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    count: usize,
}

/// One of them; free again when this is dropped.
pub(super) type Slot = OwnedSemaphorePermit;

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), count }
    }

    /// The same slots, if there are as many now. Else new ones: those that are taken are not counted among them.
    pub(super) fn renewed(&self, count: usize) -> Self {
        if count == self.count { Self { free: Arc::clone(&self.free), count } } else { Self::new(count) }
    }

    /// Takes a slot, if there is one and nobody is in line for it.
    pub(super) fn try_take(&self) -> Option<Slot> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// Takes a slot, waiting in line for it for as long as `limit`.
    pub(super) async fn take(&self, limit: Duration) -> Result<Slot, SendError> {
        if let Some(slot) = self.try_take() {
            return Ok(slot);
        }
        match tokio::time::timeout(limit, Arc::clone(&self.free).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(SendError::Busy(limit)),
        }
    }
}
