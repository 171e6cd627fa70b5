//! Notifications to the service manager (`sd_notify(3)`), if it wants them. They are sent from a thread of their own: a service
//! manager that does not read them delays nothing else.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::warn;

use crate::credentials::Edge;
use crate::server::Pulse;

/// The way to the service manager.
#[derive(Clone)]
pub(super) struct Notifier(Option<SyncSender<Vec<NotifyState<'static>>>>);

impl Notifier {
    /// Starts the thread, if the environment names a socket to notify.
    pub(super) fn start(edge: &dyn Edge) -> Self {
        if edge.variable("NOTIFY_SOCKET").is_none() {
            return Self(None);
        }
        let (send, receive) = sync_channel::<Vec<NotifyState<'static>>>(WAITING_MAX);
        let sending = move || {
            for states in receive {
                // There is nobody else to report a failure to; the service manager notices that nothing came.
                let _ = sd_notify::notify(&states);
            }
        };
        match thread::Builder::new().name("notify".to_owned()).spawn(sending) {
            Ok(_) => Self(Some(send)),
            Err(error) => {
                warn!(%error, "the service manager cannot be notified");
                Self(None)
            }
        }
    }

    /// Serving.
    pub(super) fn ready(&self) {
        self.send(vec![NotifyState::Ready]);
    }

    /// Reading the configuration again; [`Self::ready`] follows.
    pub(super) fn reloading(&self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.send(vec![NotifyState::Reloading, now]);
        }
    }

    /// Draining.
    pub(super) fn stopping(&self) {
        self.send(vec![NotifyState::Stopping]);
    }

    /// Gives the watchdog of the service manager its sign of life, if there is one, for as long as `pulse` beats.
    pub(super) async fn feed_watchdog(self, pulse: Pulse) {
        let Some(limit) = sd_notify::watchdog_enabled() else { return };
        // Twice in the time that the service manager waits, as it advises, and once for good measure.
        let mut signs = interval(limit / 3);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            signs.tick().await;
            // A thread that was stuck for a while may recover.
            if timeout(limit.max(PULSE_LIMIT_MIN), pulse.beat()).await == Ok(true) {
                self.send(vec![NotifyState::Watchdog]);
            }
        }
    }

    /// Hands a notification to the thread. If many wait there already, the manager does not read and one more is no use.
    fn send(&self, states: Vec<NotifyState<'static>>) {
        if let Some(send) = &self.0 {
            let _ = send.try_send(states);
        }
    }
}

/// Notifications that wait to be sent.
const WAITING_MAX: usize = 16;
const PULSE_LIMIT_MIN: Duration = Duration::from_secs(1);
