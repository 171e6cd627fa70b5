//! The silence of a destination: many complete requests wait for a response, and none has arrived
//! for a while. Further requests are then rejected immediately, except for a few trials. When a
//! response arrives, the silence ends. The requests that waited through it no longer count against
//! the connection limits, because they may never get a response. Their number is bounded by the
//! limit on client connections.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// The requests of a destination that wait for the head of their response.
#[derive(Debug, Default)]
pub(super) struct ResponseWaits {
    waiting: Cell<usize>,
    /// The number of responses so far.
    responses: Cell<u64>,
    /// The number of silences that are over.
    silences: Cell<u64>,
    /// The number of responses at the last check, and the time of the first check that found this
    /// number.
    seen: Cell<Option<(u64, Instant)>>,
    is_silent: Cell<bool>,
    next_trial: Cell<Option<Instant>>,
    /// The trials without a response, oldest first.
    trials: RefCell<VecDeque<Rc<Notify>>>,
}

/// The number of the period, between two silences, in which a wait began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WaitPeriod(u64);

/// A request that finds out whether a silence is over. Dropping it ends the trial.
pub(super) struct SilenceTrial {
    waits: Rc<ResponseWaits>,
    superseded: Rc<Notify>,
}

/// The state of a silent destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DestinationSilence {
    /// The number of requests that wait for a response.
    pub(super) waiting: usize,
    /// The time without a response.
    pub(super) lasting: Duration,
}

/// The decision about a new request to a silent destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SilenceStep {
    /// Send the request, to find out whether the silence is over.
    Trial,
    Reject(DestinationSilence),
}

impl ResponseWaits {
    /// Returns the number of trials without a response.
    pub(super) fn trials(&self) -> usize {
        self.trials.borrow().len()
    }

    /// Begins the wait of a request, and returns its period.
    pub(super) fn begin(&self) -> WaitPeriod {
        self.waiting.set(self.waiting.get() + 1);
        WaitPeriod(self.silences.get())
    }

    /// Ends a wait. Returns whether it was still counted; waits from before the end of the last
    /// silence are not.
    pub(super) fn end(&self, period: WaitPeriod) -> bool {
        let counts = period.0 == self.silences.get();
        if counts {
            self.waiting.set(self.waiting.get() - 1);
        }
        counts
    }

    /// Records a response. If this ends a silence, returns the number of waiting requests that are
    /// no longer counted; otherwise zero.
    pub(super) fn note_response(&self) -> usize {
        self.responses.set(self.responses.get() + 1);
        if !self.is_silent.replace(false) {
            return 0;
        }
        self.silences.set(self.silences.get() + 1);
        // guard: silence-frees-waiting
        self.waiting.take()
    }

    /// Returns the step for a request at `now`, or `None` if the destination is not silent. `limit`
    /// is the number of connections that it may have in use.
    pub(super) fn step(&self, limit: usize, now: Instant) -> Option<SilenceStep> {
        let waiting = self.waiting.get();
        if waiting < (limit - limit / 2).max(WAITING_MIN) {
            self.seen.set(None);
            self.is_silent.set(false);
            return None;
        }
        let responses = self.responses.get();
        let Some((_, since)) = self.seen.get().filter(|(seen, _)| *seen == responses) else {
            self.seen.set(Some((responses, now)));
            self.next_trial.set(None);
            return None;
        };
        let lasting = now.saturating_duration_since(since);
        if lasting < SILENT_AFTER {
            return None;
        }
        self.is_silent.set(true);
        if self.next_trial.get().is_none_or(|next| next <= now) {
            self.next_trial.set(Some(now + TRIAL_INTERVAL));
            return Some(SilenceStep::Trial);
        }
        Some(SilenceStep::Reject(DestinationSilence { waiting, lasting }))
    }
}

impl SilenceTrial {
    /// Begins a trial. At most `limit` run at a time, and never more than [`TRIALS_MAX`]: a further
    /// one ends the oldest.
    pub(super) fn begin(waits: &Rc<ResponseWaits>, limit: usize) -> Self {
        let mut trials = waits.trials.borrow_mut();
        if trials.len() >= limit.clamp(1, TRIALS_MAX)
            && let Some(oldest) = trials.pop_front()
        {
            oldest.notify_one();
        }
        let superseded = Rc::<Notify>::default();
        trials.push_back(Rc::clone(&superseded));
        Self { waits: Rc::clone(waits), superseded }
    }

    /// Waits until a newer trial has replaced this one.
    pub(super) fn superseded(&self) -> impl Future<Output = ()> + use<> {
        let superseded = Rc::clone(&self.superseded);
        async move { superseded.notified().await }
    }
}

impl Drop for SilenceTrial {
    fn drop(&mut self) {
        self.waits.trials.borrow_mut().retain(|trial| !Rc::ptr_eq(trial, &self.superseded));
    }
}

/// The limit on trials without a response. At two a second, the oldest has then waited for eight
/// seconds.
const TRIALS_MAX: usize = 16;
/// The least number of waiting requests that counts as a silence. Fewer may just be slow.
const WAITING_MIN: usize = 8;
/// The time without a response after which a destination counts as silent.
const SILENT_AFTER: Duration = Duration::from_secs(3);
/// The time between two trials.
const TRIAL_INTERVAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::{Context, Waker};
    use std::time::{Duration, Instant};

    use super::{DestinationSilence, ResponseWaits, SilenceStep, SilenceTrial};

    #[test]
    fn half_of_the_connections_without_a_response_for_a_while_is_a_silence_with_trials() {
        let waits = ResponseWaits::default();
        let start = Instant::now();
        let step = |limit, ms| waits.step(limit, start + Duration::from_millis(ms));
        let mut waiting: Vec<_> = (0..16).map(|_| waits.begin()).collect();
        assert_eq!(step(33, 0), None, "fewer than half");
        assert_eq!(step(32, 0), None, "it begins");
        assert_eq!(step(32, 2_999), None);
        assert_eq!(step(32, 3_000), Some(SilenceStep::Trial));
        let reject = |ms| {
            Some(SilenceStep::Reject(DestinationSilence { waiting: 16, lasting: Duration::from_millis(ms) }))
        };
        assert_eq!(step(32, 3_499), reject(3_499));
        assert_eq!(step(32, 3_500), Some(SilenceStep::Trial));
        assert_eq!(step(32, 3_501), reject(3_501));
        let trial = waiting.pop().expect("one");
        assert!(waits.end(trial));
        assert_eq!(waits.note_response(), 15, "those that have waited through it");
        assert!(waiting.into_iter().all(|old| !waits.end(old)));
        assert_eq!((step(32, 3_600), waits.note_response()), (None, 0));
        assert!(waits.end(waits.begin()));
    }

    #[test]
    fn a_trial_too_many_ends_the_oldest() {
        let waits = Rc::<ResponseWaits>::default();
        let is_over = |trial: &SilenceTrial| {
            let over = pin!(trial.superseded());
            over.poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        let mut trials: Vec<_> = (0..3).map(|_| SilenceTrial::begin(&waits, 3)).collect();
        assert!(!trials.iter().any(is_over));
        trials.push(SilenceTrial::begin(&waits, 3));
        assert!(is_over(&trials[0]) && !trials[1..].iter().any(is_over));
        trials.truncate(2);
        assert_eq!(waits.trials.borrow().len(), 1);
        trials.push(SilenceTrial::begin(&waits, 3));
        assert!(!is_over(&trials[1]) && !is_over(&trials[2]));
    }

    #[test]
    fn responses_now_and_then_are_no_silence() {
        let waits = ResponseWaits::default();
        let start = Instant::now();
        for second in 0..20 {
            let waiting = waits.begin();
            (0..40).for_each(|_| _ = waits.begin());
            assert_eq!(waits.step(32, start + Duration::from_secs(second * 2)), None);
            assert!(waits.end(waiting));
            assert_eq!(waits.note_response(), 0);
        }
    }

    #[test]
    fn a_few_slow_requests_are_no_silence_whatever_the_limit() {
        let waits = ResponseWaits::default();
        let start = Instant::now();
        (0..7).for_each(|_| _ = waits.begin());
        for limit in [1, 2, 7, 14] {
            assert_eq!(waits.step(limit, start), None);
            assert_eq!(waits.step(limit, start + Duration::from_secs(60)), None, "{limit}");
        }
    }
}
