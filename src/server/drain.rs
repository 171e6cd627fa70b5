//! The drain at shutdown: no new connections, requests in flight finish, idle connections close.

use std::sync::Arc;

use tokio::sync::watch;

/// The lifecycle phase of the process, shared by every task that serves.
#[derive(Clone, Debug)]
pub struct DrainSignal {
    phase: Arc<watch::Sender<DrainPhase>>,
    seen: watch::Receiver<DrainPhase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum DrainPhase {
    Serving,
    /// Still serving, but no longer ready for new clients.
    Leaving,
    Draining,
    Forced,
}

/// The outcome of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainOutcome {
    /// Every request in flight was answered.
    Whole,
    /// Connections were closed early, at the drain timeout or by a forced shutdown.
    Cut {
        /// The number of connections that were open.
        connections: usize,
    },
}

impl DrainSignal {
    /// Creates a signal in the serving phase.
    #[must_use]
    pub fn new() -> Self {
        let (phase, seen) = watch::channel(DrainPhase::Serving);
        Self { phase: Arc::new(phase), seen }
    }

    /// Announces the shutdown. Further calls change nothing.
    pub fn leave(&self) {
        self.at_least(DrainPhase::Leaving);
    }

    /// Starts the drain.
    pub(crate) fn close(&self) {
        self.at_least(DrainPhase::Draining);
    }

    /// Forces the shutdown: connections are closed now.
    pub fn force(&self) {
        self.at_least(DrainPhase::Forced);
    }

    fn at_least(&self, wanted: DrainPhase) {
        self.phase.send_modify(|phase| *phase = wanted.max(*phase));
    }

    /// Returns whether a shutdown was announced.
    #[must_use]
    pub(crate) fn is_leaving(&self) -> bool {
        *self.seen.borrow() >= DrainPhase::Leaving
    }

    /// Waits until a shutdown is announced.
    pub async fn leaving(&self) {
        self.reached(DrainPhase::Leaving).await;
    }

    /// Returns whether the drain has started.
    #[must_use]
    pub(crate) fn is_begun(&self) -> bool {
        *self.seen.borrow() >= DrainPhase::Draining
    }

    /// Waits until the drain starts.
    pub async fn wait_for_start(&self) {
        self.reached(DrainPhase::Draining).await;
    }

    /// Waits until the shutdown is forced.
    pub async fn forced(&self) {
        self.reached(DrainPhase::Forced).await;
    }

    async fn reached(&self, phase: DrainPhase) {
        let mut seen = self.seen.clone();
        // The sender is held by `self`, so this cannot fail.
        let _ = seen.wait_for(|now| *now >= phase).await;
    }
}

impl Default for DrainSignal {
    fn default() -> Self {
        Self::new()
    }
}
