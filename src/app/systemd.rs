//! Notifies the service manager (`sd_notify(3)`), if it requests that. Notifications are sent from
//! a separate thread: a service manager that does not read them delays nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::warn;

use crate::credentials::SourceEnv;
use crate::server::ServerWatchdog;

/// A handle to notify the service manager.
#[derive(Clone)]
pub(crate) struct ServiceNotifier(Option<Arc<NotifyQueue>>);

/// Notifications to send. If the service manager reads none, the oldest are dropped, because only
/// the last state counts.
#[derive(Default)]
struct NotifyQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Vec<NotifyState<'static>>>,
    is_sending: bool,
}

impl ServiceNotifier {
    /// Starts the thread, if the environment names a notification socket.
    pub(crate) fn start(env: &dyn SourceEnv) -> Self {
        if env.variable("NOTIFY_SOCKET").is_none() {
            return Self(None);
        }
        let queue = Arc::<NotifyQueue>::default();
        let sending = Arc::clone(&queue);
        // The thread ends with the process.
        match thread::Builder::new().name("notify".to_owned()).spawn(move || sending.send_all()) {
            Ok(_) => Self(Some(queue)),
            Err(error) => {
                warn!(%error, "cannot notify the service manager");
                Self(None)
            }
        }
    }

    /// Reports that the process serves.
    pub(crate) fn ready(&self) {
        self.send(vec![NotifyState::Ready]);
    }

    /// Reports that a reload has started. [`Self::ready`] must follow.
    pub(crate) fn reloading(&self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.send(vec![NotifyState::Reloading, now]);
        }
    }

    /// Reports that shutdown has started.
    pub(crate) fn stopping(&self) {
        self.send(vec![NotifyState::Stopping]);
    }

    /// Notifies the watchdog of the service manager, if there is one, while `pulse` shows that the
    /// threads respond.
    pub(crate) async fn feed_watchdog(self, pulse: ServerWatchdog) {
        let Some(limit) = sd_notify::watchdog_enabled() else { return };
        // The service manager advises two notifications in its timeout. A third leaves a margin.
        let mut signs = interval(limit / 3);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            signs.tick().await;
            // A thread that was blocked for a while may recover.
            if timeout(limit.max(PULSE_LIMIT_MIN), pulse.beat()).await == Ok(true) {
                // guard: watchdog-sign
                self.send(vec![NotifyState::Watchdog]);
            }
        }
    }

    /// Queues a notification for the thread.
    fn send(&self, states: Vec<NotifyState<'static>>) {
        let Some(queue) = &self.0 else { return };
        let waiting = &mut queue.state.lock().waiting;
        if waiting.len() >= WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(states);
        queue.changed.notify_all();
    }

    /// Waits until everything is sent, up to a limit. Blocks.
    pub(crate) fn flush(&self) {
        if let Some(queue) = &self.0 {
            let is_busy = |state: &mut QueueState| state.is_sending || !state.waiting.is_empty();
            queue.changed.wait_while_for(&mut queue.state.lock(), is_busy, FLUSH_LIMIT);
        }
    }
}

impl NotifyQueue {
    /// Sends queued notifications. Never returns.
    fn send_all(&self) {
        loop {
            let mut state = self.state.lock();
            self.changed.wait_while(&mut state, |state| state.waiting.is_empty());
            let next = state.waiting.pop_front();
            state.is_sending = true;
            drop(state);
            // A failure cannot be reported elsewhere. The service manager notices the missing
            // notification.
            let _ = next.map(|states| sd_notify::notify(&states));
            self.state.lock().is_sending = false;
            self.changed.notify_all();
        }
    }
}

/// The number of notifications that can be queued.
const WAITING_MAX: usize = 16;
const PULSE_LIMIT_MIN: Duration = Duration::from_secs(1);
/// The time that shutdown waits for the last notification.
const FLUSH_LIMIT: Duration = Duration::from_millis(200);
