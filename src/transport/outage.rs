//! The outage of a destination. After a failed dial, requests that need another are rejected
//! immediately, except for a few trials.

use std::time::{Duration, Instant};

use super::dial_error::DialError;

/// The state of a destination whose last dial failed.
#[derive(Debug)]
pub(super) struct DialOutage {
    error: DialError,
    /// The time between two trials.
    window: Duration,
    /// The time of the next trial.
    until: Instant,
    /// The number of the last trial.
    trial: u64,
}

impl DialOutage {
    pub(super) fn new(error: DialError, now: Instant) -> Self {
        Self { error, window: FIRST_WINDOW, until: now + FIRST_WINDOW, trial: 0 }
    }

    /// Returns whether one request may dial again.
    pub(super) fn admits_trial(&self, now: Instant) -> bool {
        now >= self.until
    }

    /// Begins a trial and returns its number. The next trial may begin one window later, however
    /// long this one takes.
    pub(super) fn begin_trial(&mut self, now: Instant) -> u64 {
        self.window = (self.window * 2).min(LAST_WINDOW);
        self.until = now + self.window;
        self.trial += 1;
        self.trial
    }

    /// Records another failure. Only the last trial extends the window: older dials that fail late
    /// must not delay the next.
    pub(super) fn fail_again(&mut self, trial: Option<u64>, error: DialError, now: Instant) {
        self.error = error;
        if trial == Some(self.trial) {
            self.until = self.until.max(now + self.window);
        }
    }

    /// Returns whether the outage can be forgotten, because no request has dialled for a long time.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        now >= self.until + STALE_AFTER
    }

    /// Returns the error of the last failed dial.
    pub(super) fn error(&self) -> DialError {
        self.error.clone()
    }
}

/// The time without a dial after the first failure; it doubles with each trial.
const FIRST_WINDOW: Duration = Duration::from_millis(100);
/// The longest time without a dial.
const LAST_WINDOW: Duration = Duration::from_secs(1);
/// The time without a dial after which an outage is forgotten.
const STALE_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::{ConnectFailure, DialError};
    use super::DialOutage;

    fn error() -> DialError {
        DialError::Unreachable { at: String::new(), reason: String::new(), failure: ConnectFailure::Refused }
    }

    #[test]
    fn trials_begin_after_a_tenth_of_a_second_and_then_at_most_a_second_apart() {
        let start = Instant::now();
        let mut outage = DialOutage::new(error(), start);
        let mut at = Duration::ZERO;
        let mut trials = Vec::new();
        while trials.len() < 7 {
            at += Duration::from_millis(50);
            if outage.admits_trial(start + at) {
                trials.push(at.as_millis());
                let trial = outage.begin_trial(start + at);
                outage.fail_again(Some(trial), error(), start + at);
            }
        }
        assert_eq!(trials, [100, 300, 700, 1500, 2500, 3500, 4500]);
    }

    #[test]
    fn a_trial_that_hangs_does_not_delay_the_next() {
        let start = Instant::now();
        let second = |s| start + Duration::from_secs(s);
        let mut outage = DialOutage::new(error(), start);
        let trials = [1, 2, 3, 4, 5].map(|s| {
            assert!(outage.admits_trial(second(s)), "after {s} s");
            outage.begin_trial(second(s))
        });
        outage.fail_again(Some(trials[0]), error(), second(6));
        assert!(outage.admits_trial(second(6)), "the first trial fails late");
        outage.fail_again(Some(trials[4]), error(), second(6));
        assert!(!outage.admits_trial(second(6)), "the last trial has failed now");
    }
}
