//! The end of serving: no new connections, requests in flight finish, idle connections close.

use std::sync::Arc;

use tokio::sync::watch;

/// The phases of a process, seen by everything that serves.
#[derive(Clone, Debug)]
pub struct DrainSignal {
    phase: Arc<watch::Sender<DrainPhase>>,
    seen: watch::Receiver<DrainPhase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum DrainPhase {
    Serving,
    /// Still serving, but not ready for more.
    Leaving,
    Draining,
    Forced,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainOutcome {
    /// Every request in flight was answered.
    Whole,
    /// Connections were cut: at the limit of time, or because somebody forced it.
    Cut {
        /// How many.
        connections: usize,
    },
}

impl DrainSignal {
    /// Serving.
    #[must_use]
    pub fn new() -> Self {
        let (phase, seen) = watch::channel(DrainPhase::Serving);
        Self { phase: Arc::new(phase), seen }
    }

    /// Says that the process is to end; said again, it changes nothing.
    pub fn leave(&self) {
        self.at_least(DrainPhase::Leaving);
    }

    /// Begins the drain.
    pub fn close(&self) {
        self.at_least(DrainPhase::Draining);
    }

    /// Ends everything now.
    pub fn force(&self) {
        self.at_least(DrainPhase::Forced);
    }

    fn at_least(&self, wanted: DrainPhase) {
        self.phase.send_modify(|phase| *phase = wanted.max(*phase));
    }

    /// Whether the process is to end.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        *self.seen.borrow() >= DrainPhase::Leaving
    }

    /// Waits until the process is to end.
    pub async fn leaving(&self) {
        self.reached(DrainPhase::Leaving).await;
    }

    /// Whether it has begun.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        *self.seen.borrow() >= DrainPhase::Draining
    }

    /// Waits until it begins.
    pub async fn wait_for_start(&self) {
        self.reached(DrainPhase::Draining).await;
    }

    /// Waits until its end is forced.
    pub async fn forced(&self) {
        self.reached(DrainPhase::Forced).await;
    }

    async fn reached(&self, phase: DrainPhase) {
        let mut seen = self.seen.clone();
        // The sender lives in `self`, so there is no error to handle.
        let _ = seen.wait_for(|now| *now >= phase).await;
    }
}

impl Default for DrainSignal {
    fn default() -> Self {
        Self::new()
    }
}
