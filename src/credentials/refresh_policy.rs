//! Refresh windows of credentials, and backoff after failed attempts. Pure: the caller passes the
//! time and the random numbers.

use std::time::Duration;

use crate::time::Timestamp;

/// The refresh windows of credentials that have to be refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RefreshWindows {
    /// From here on they are refreshed; they are still valid.
    pub(super) advisory: Timestamp,
    /// From here on a refresh is urgent.
    pub(super) mandatory: Timestamp,
    /// From here on nothing is signed with them, because a request needs time to arrive.
    pub(super) hard: Timestamp,
}

/// The urgency of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefreshUrgency {
    /// The current credentials are valid for a long time.
    Advisory,
    /// The current credentials expire soon.
    Mandatory,
    /// There are no credentials to sign with.
    Empty,
}

impl RefreshWindows {
    /// Returns the windows of credentials that expire at `expires`. The random number `roll`, from
    /// 0 to 1, spreads the refreshes of many proxies that started together.
    pub(super) fn new(now: Timestamp, expires: Timestamp, roll: f64) -> Self {
        let left = (expires.unix_s() - now.unix_s()).max(0);
        let window = match left {
            ..1_200 => left / 3,
            1_200..5_400 => 900,
            5_400.. => 3_600,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "seconds of a window"
        )]
        let jitter = (roll.clamp(0.0, 1.0) * 0.2 * window as f64) as i64;
        let before = |seconds: i64| Timestamp::from_unix_s(expires.unix_s() - seconds);
        Self {
            advisory: before(window + jitter),
            mandatory: before((left / 6).min(60)),
            // At least one second, because clocks count whole seconds.
            hard: before((left / 20).min(10).max(left.min(1))),
        }
    }

    /// Returns the windows of credentials without a known expiry, which are refreshed at
    /// `advisory`.
    pub(super) fn endless(advisory: Timestamp) -> Self {
        let never = Timestamp::from_unix_s(i64::MAX / 2);
        Self { advisory, mandatory: never, hard: never }
    }

    /// Returns the time for which they still sign.
    pub(super) fn left(&self, now: Timestamp) -> Duration {
        Duration::from_secs(u64::try_from(self.hard.unix_s() - now.unix_s()).unwrap_or(0))
    }

    /// Returns the interval between checks of the time. There are several checks between the first
    /// refresh and the expiry, however short that is.
    pub(super) fn check_interval(&self) -> Duration {
        let seconds = self.hard.unix_s().abs_diff(self.advisory.unix_s());
        Duration::from_millis(seconds.saturating_mul(125)).clamp(Duration::from_millis(250), CHECK_INTERVAL)
    }

    /// Returns the longest pause at `now` that leaves time for another attempt before a refresh is
    /// urgent.
    pub(super) fn pause_max(&self, now: Timestamp) -> Duration {
        let left = u64::try_from(self.mandatory.unix_s() - now.unix_s()).unwrap_or(0);
        Duration::from_millis(left.saturating_mul(500)).max(Duration::from_millis(250))
    }

    /// Returns the urgency of a refresh; `None` before it is due.
    pub(super) fn urgency(&self, now: Timestamp) -> Option<RefreshUrgency> {
        if now >= self.hard {
            Some(RefreshUrgency::Empty)
        } else if now >= self.mandatory {
            Some(RefreshUrgency::Mandatory)
        } else if now >= self.advisory {
            Some(RefreshUrgency::Advisory)
        } else {
            None
        }
    }
}

/// The interval between checks of the time and of the state that a provider reads.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Returns the pause after `failures` (at least one) consecutive failures that may be temporary.
pub(super) fn pause(urgency: RefreshUrgency, failures: u32, roll: f64) -> Duration {
    let doubled = |first_ms: u64, cap_ms: u64| {
        let factor = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
        Duration::from_millis(first_ms.saturating_mul(factor).min(cap_ms))
    };
    match urgency {
        // Full jitter, with a floor of 10 %.
        RefreshUrgency::Advisory => doubled(2_000, 120_000).mul_f64(roll.clamp(0.1, 1.0)),
        RefreshUrgency::Mandatory => doubled(250, 3_000),
        RefreshUrgency::Empty => doubled(200, 3_000),
    }
}

/// Returns the pause after an attempt returned the same credentials, which are valid for `left`. It
/// is 50 s to 70 s, but at most a tenth of `left`, and at least 250 ms.
pub(super) fn pause_unchanged(left: Duration, roll: f64) -> Duration {
    Duration::from_secs_f64(50.0 + 20.0 * roll.clamp(0.0, 1.0)).min(left / 10).max(Duration::from_millis(250))
}

/// Returns the pause after this number of consecutive rejections, which an operator must resolve.
pub(super) fn pause_refused(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    Duration::from_secs(30).saturating_mul(factor).min(Duration::from_secs(600))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{RefreshUrgency, RefreshWindows, pause, pause_refused, pause_unchanged};
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_unix_s(1_700_000_000);

    /// Seconds from now to the three times.
    fn stages(life_s: i64, roll: f64) -> [i64; 3] {
        let windows = RefreshWindows::new(NOW, Timestamp::from_unix_s(NOW.unix_s() + life_s), roll);
        [windows.advisory, windows.mandatory, windows.hard].map(|at| at.unix_s() - NOW.unix_s())
    }

    #[test]
    fn windows_scale_with_the_life_that_is_left() {
        for (life_s, expected) in [
            (20, [14, 17, 19]),
            (900, [600, 840, 890]),
            (1_199, [800, 1_139, 1_189]),
            (1_200, [300, 1_140, 1_190]),
            (3_600, [2_700, 3_540, 3_590]),
            (5_400, [1_800, 5_340, 5_390]),
            (21_600, [18_000, 21_540, 21_590]),
            (0, [0, 0, 0]),
        ] {
            assert_eq!(stages(life_s, 0.0), expected, "{life_s} s");
        }
    }

    #[test]
    fn chance_only_makes_a_renewal_earlier_and_by_a_fifth_at_most() {
        assert_eq!(stages(900, 1.0), [540, 840, 890]);
        assert_eq!(stages(21_600, 0.5), [17_640, 21_540, 21_590]);
        assert_eq!(stages(21_600, 7.0), [17_280, 21_540, 21_590]);
    }

    #[test]
    fn the_stages_follow_each_other() {
        let windows = RefreshWindows::new(NOW, Timestamp::from_unix_s(NOW.unix_s() + 900), 0.0);
        let at = |seconds: i64| windows.urgency(Timestamp::from_unix_s(NOW.unix_s() + seconds));
        assert_eq!((at(0), at(599)), (None, None));
        assert_eq!((at(600), at(839)), (Some(RefreshUrgency::Advisory), Some(RefreshUrgency::Advisory)));
        assert_eq!((at(840), at(889)), (Some(RefreshUrgency::Mandatory), Some(RefreshUrgency::Mandatory)));
        assert_eq!((at(890), at(10_000)), (Some(RefreshUrgency::Empty), Some(RefreshUrgency::Empty)));
    }

    #[test]
    fn a_pause_leaves_time_for_another_attempt() {
        let windows = RefreshWindows::new(NOW, Timestamp::from_unix_s(NOW.unix_s() + 900), 0.0);
        let at = |seconds: i64| windows.pause_max(Timestamp::from_unix_s(NOW.unix_s() + seconds));
        assert_eq!([600, 838, 900].map(|s| at(s).as_millis()), [120_000, 1_000, 250]);
        let short = RefreshWindows::new(NOW, Timestamp::from_unix_s(NOW.unix_s() + 9), 0.0);
        assert_eq!((windows.check_interval().as_millis(), short.check_interval().as_millis()), (1_000, 250));
    }

    #[test]
    fn pauses_double_up_to_their_caps() {
        let ms = |urgency, failures, roll| pause(urgency, failures, roll).as_millis();
        assert_eq!(
            [1, 2, 3, 7, 99].map(|n| ms(RefreshUrgency::Advisory, n, 1.0)),
            [2_000, 4_000, 8_000, 120_000, 120_000]
        );
        assert_eq!(ms(RefreshUrgency::Advisory, 1, 0.0), 200);
        assert_eq!(
            [1, 2, 3, 4, 5, 99].map(|n| ms(RefreshUrgency::Mandatory, n, 0.5)),
            [250, 500, 1_000, 2_000, 3_000, 3_000]
        );
        assert_eq!(
            [1, 2, 3, 4, 5, 99].map(|n| ms(RefreshUrgency::Empty, n, 0.5)),
            [200, 400, 800, 1_600, 3_000, 3_000]
        );
        let unchanged = |left_s, roll| pause_unchanged(Duration::from_secs(left_s), roll).as_secs();
        assert_eq!([unchanged(3_600, 0.0), unchanged(3_600, 1.0), unchanged(300, 0.5)], [50, 70, 30]);
        assert_eq!([1, 2, 5, 6, 99].map(pause_refused), [30, 60, 480, 600, 600].map(Duration::from_secs));
    }
}
