//! Blocking work, such as reading a file, off the threads that serve requests. A file system that
//! does not respond then delays only the work that needs it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// A lane for blocking work: runs one piece of work at a time.
///
/// Work that hangs keeps its thread, and no other work begins in the same lane until it ends. A
/// file system that does not respond therefore blocks at most one thread per lane, however often it
/// is accessed.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockingLane(Arc<Mutex<()>>);

/// The timeout of blocking work, which may still be running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no response within {0:?}; check that the file system responds")]
pub struct BlockingTimeout(pub(crate) Duration);

impl BlockingLane {
    /// Runs `work` on a blocking thread of the runtime, and waits for at most `limit`. The limit
    /// includes the wait for earlier work of this lane. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BlockingTimeout`] if the limit has passed or the runtime is shutting down.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, BlockingTimeout> {
        let done = async {
            let lane = Arc::clone(&self.0).lock_owned().await;
            let work = spawn_blocking(move || {
                let result = work();
                // guard: lane-until-end
                drop(lane);
                result
            });
            work.await
        };
        match timeout(limit, done).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(failed)) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            // The runtime is shutting down, or the limit has passed.
            Ok(Err(_)) | Err(_) => Err(BlockingTimeout(limit)),
        }
    }
}

/// Timeout for a file of a few KiB. A healthy local file system needs milliseconds, a remote one up
/// to a second.
pub(crate) const FILE_LIMIT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use super::{BlockingLane, BlockingTimeout};

    #[tokio::test]
    async fn work_that_hangs_is_given_up_and_no_other_begins_until_it_ends() {
        let lane = BlockingLane::default();
        let (release, hangs) = mpsc::channel::<()>();
        let limit = Duration::from_millis(50);
        let hanging = lane.run(limit, move || hangs.recv().is_err()).await;
        assert_eq!(hanging, Err(BlockingTimeout(limit)));
        let begun = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let begun = Arc::clone(&begun);
            let next = lane.run(limit, move || begun.fetch_add(1, Ordering::Relaxed)).await;
            assert_eq!(next, Err(BlockingTimeout(limit)));
        }
        drop(release);
        let last = lane.run(Duration::from_secs(10), || 7).await;
        assert_eq!((last, begun.load(Ordering::Relaxed)), (Ok(7), 0));
    }

    #[tokio::test]
    async fn a_caller_that_leaves_does_not_free_the_lane_of_work_that_goes_on() {
        let lane = BlockingLane::default();
        let (release, hangs) = mpsc::channel::<()>();
        let abandoned = lane.run(Duration::from_secs(10), move || hangs.recv().is_err());
        assert!(tokio::time::timeout(Duration::from_millis(50), abandoned).await.is_err());
        assert!(lane.run(Duration::from_millis(50), || ()).await.is_err());
        drop(release);
        assert!(lane.run(Duration::from_secs(10), || ()).await.is_ok());
    }
}
