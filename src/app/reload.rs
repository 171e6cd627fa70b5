//! Requests for a reload, and what the application shares with its admin listener.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::admin::AdminReloadError;
use crate::transport::PoolStats;

/// A handle for requesting a reload of the configuration of a running proxy.
#[derive(Clone, Debug)]
pub struct ReloadHandle(mpsc::Sender<ReloadRequest>);

/// A request for a reload, with the sender of its result if the requester waits for it.
pub(crate) type ReloadRequest = Option<oneshot::Sender<Result<Vec<String>, String>>>;

/// The statistics of the upstream connections of each worker.
pub(crate) type SharedPoolStats = Arc<Mutex<Vec<Arc<PoolStats>>>>;

impl ReloadHandle {
    /// Returns a handle and the receiver of its requests.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<ReloadRequest>) {
        let (sender, receiver) = mpsc::channel(REQUESTS_MAX);
        (Self(sender), receiver)
    }

    /// Reloads the configuration. Returns the changes.
    ///
    /// # Errors
    /// [`AdminReloadError`].
    pub async fn reload(&self) -> Result<Vec<String>, AdminReloadError> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(Some(sender)).await.map_err(|_| AdminReloadError::Stopping)?;
        receiver.await.map_err(|_| AdminReloadError::Stopping)?.map_err(AdminReloadError::Wrong)
    }

    /// Requests a reload without waiting for it. A request is dropped while many are queued, because
    /// the queued ones have the same effect.
    pub(crate) fn request_reload(&self) {
        let _ = self.0.try_send(None);
    }
}

/// The number of queued requests.
const REQUESTS_MAX: usize = 16;
