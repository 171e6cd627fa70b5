//! What systemd is told of the process (`sd_notify(3)`), if it has asked to be.

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use crate::server::Pulse;

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

/// Gives systemd the sign of life that it waits for, if it does, for as long as this thread and each core do their work.
pub(super) async fn watchdog(pulse: Pulse) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    // Twice in the time that systemd waits, as it advises, and once for good measure.
    let mut signs = interval(limit / 3);
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        signs.tick().await;
        if pulse.beat().await {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell; with it, it will see for itself that nothing came.
    let _ = sd_notify::notify(state);
}
