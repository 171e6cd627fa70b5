//! What systemd is told of the process (`sd_notify(3)`), if it has asked to be.

use std::future::pending;

use sd_notify::NotifyState;
use tokio::time::{Interval, interval};

/// It serves.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It reads its configuration again; [`ready`] follows.
pub(super) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// It drains.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The sign of life that systemd waits for, if it does.
pub(super) fn watchdog() -> Watchdog {
    // Twice in the time that systemd waits, as it advises, and once for good measure.
    Watchdog(sd_notify::watchdog_enabled().map(|limit| interval(limit / 3)))
}

/// When the next sign of life is due.
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Gives one when it is time.
    pub(super) async fn tick(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
                tell(&[NotifyState::Watchdog]);
            }
            None => pending().await,
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell; with it, it will see for itself that nothing came.
    let _ = sd_notify::notify(state);
}
