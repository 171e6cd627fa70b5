//! How many of something may be in use at once; who comes first is served first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_local;

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

    /// The same slots, but so many. Those that are taken stay so; if there are fewer now, the next that come free are gone. Must be
    /// used where tasks stay on their thread.
    pub(super) fn renewed(&self, count: usize) -> Self {
        let free = Arc::clone(&self.free);
        if count >= self.count {
            free.add_permits(count - self.count);
        } else {
            let (free, too_many) = (Arc::clone(&free), self.count - count);
            spawn_local(async move {
                for _ in 0..too_many {
                    // It is never closed.
                    if let Ok(slot) = free.acquire().await {
                        slot.forget();
                    }
                }
            });
        }
        Self { free, count }
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
