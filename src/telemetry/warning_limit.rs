//! A limit on warnings that clients can cause, so that they cannot fill the log.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use crate::time::Timestamp;

/// A limit of one warning in ten minutes.
#[derive(Debug)]
pub(crate) struct WarningLimit {
    /// The time of the next warning, in Unix seconds.
    next_s: AtomicI64,
}

impl Default for WarningLimit {
    fn default() -> Self {
        Self { next_s: AtomicI64::new(i64::MIN) }
    }
}

impl WarningLimit {
    /// Returns whether a warning may be written now, and counts it if so.
    pub(crate) fn allows(&self, now: Timestamp) -> bool {
        let now_s = now.unix_s();
        let is_due = |next_s: i64| (now_s >= next_s).then_some(now_s.saturating_add(INTERVAL_S));
        self.next_s.fetch_update(Relaxed, Relaxed, is_due).is_ok()
    }
}

const INTERVAL_S: i64 = 600;

#[cfg(test)]
mod tests {
    use super::WarningLimit;
    use crate::time::Timestamp;

    #[test]
    fn one_warning_is_written_in_ten_minutes() {
        let limit = WarningLimit::default();
        let allowed = [0, 1, 599, 600, 601, 1300].map(|at| limit.allows(Timestamp::from_unix_s(at)));
        assert_eq!(allowed, [true, false, false, true, false, true]);
    }
}
