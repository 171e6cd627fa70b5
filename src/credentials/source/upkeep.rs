//! What keeps a source fresh: its renewal in the background, a look at everything when the clock jumps, and another key when
//! OSS refuses the one that is there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, info, warn};

use super::{Asking, Source, WAIT_MAX};
use crate::credentials::schedule::LOOK_EVERY;
use crate::credentials::{Credentials, Edge, ProvideError};
use crate::time::{Clock, Timestamp};

impl Source {
    /// Renews the credentials before they end, and asks the source again whenever what it reads has changed. Never returns.
    pub async fn follow(&self, edge: &dyn Edge) {
        let mut anchor = (Instant::now(), edge.now());
        loop {
            let wanted = tokio::select! {
                () = sleep(self.rest(edge.now())) => false,
                () = self.wanted.notified() => true,
            };
            let moment = (Instant::now(), edge.now());
            if jumped(anchor, moment) {
                warn!(
                    source = self.name,
                    "the clock of this machine has jumped; everything is looked at anew"
                );
                self.look_anew(moment);
            }
            anchor = moment;
            let changed = self.has_changed(edge);
            if !wanted && !changed && !self.is_due(edge.now()) {
                continue;
            }
            if wanted {
                warn!(source = self.name, "OSS refuses the access key; the source is asked for another");
            }
            let (before, failed) = (self.current.load_full(), self.history().told.is_some());
            let outcome = self.refresh(edge).await;
            let is_same = outcome
                .as_ref()
                .is_ok_and(|given| before.is_some_and(|before| Arc::ptr_eq(&before.credentials, given)));
            if is_same && !failed {
                debug!(source = self.name, "the source gives what it gave before");
            } else {
                self.tell(&outcome, changed);
            }
        }
    }

    /// The clock has jumped: what was refused may have been for its sake, and what is counted by it is counted from now.
    fn look_anew(&self, (instant, now): (Instant, Timestamp)) {
        if let Some(snapshot) = self.current.load_full() {
            self.renew_later(&snapshot.credentials, now);
        }
        let mut history = self.history();
        if history.next.is_some() && history.failures > 0 {
            history.next = Some(instant);
        }
    }

    /// Logs what an attempt came to; a failure that goes on is told once.
    fn tell(&self, outcome: &Result<Arc<Credentials>, ProvideError>, changed: bool) {
        match outcome {
            Ok(fresh) => {
                let expires = fresh.expires.map(Timestamp::rfc3339);
                let what = if changed { "credentials have changed" } else { "credentials renewed" };
                info!(source = self.name, provider = &*fresh.provider, expires, "{what}");
            }
            Err(failure) => {
                let text = failure.to_string();
                let known = self.history().told.replace(text.clone()).is_some_and(|known| known == text);
                if known {
                    debug!(source = self.name, error = text, "still no new credentials");
                } else {
                    error!(
                        source = self.name,
                        error = text,
                        "no new credentials; what was there before is used for as long as it lasts"
                    );
                }
            }
        }
    }

    /// How long there is nothing to look at.
    fn rest(&self, now: Timestamp) -> Duration {
        let look_every = self.windows().map_or(LOOK_EVERY, |windows| windows.look_every());
        let next = self.history().next;
        match next {
            Some(next) if self.urgency(now).is_some() => {
                next.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(1), look_every)
            }
            Some(_) | None => look_every,
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.urgency(now).is_some() && self.history().next.is_some_and(|next| next <= Instant::now())
    }

    fn has_changed(&self, edge: &dyn Edge) -> bool {
        let asked = self.history().asked;
        asked.is_some() && self.provider.fingerprint(edge) != asked
    }

    /// OSS has taken what these credentials signed.
    pub fn accept(&self, credentials: &Arc<Credentials>) {
        let taken = Arc::as_ptr(credentials).cast_mut();
        if self.accepted.load(Ordering::Relaxed) != taken {
            self.accepted.store(taken, Ordering::Relaxed);
        }
    }

    /// Whether OSS has taken what these credentials signed.
    #[must_use]
    pub fn has_accepted(&self, credentials: &Arc<Credentials>) -> bool {
        self.accepted.load(Ordering::Relaxed) == Arc::as_ptr(credentials).cast_mut()
    }

    /// OSS has refused these credentials with this code: others, if the source has others, which is asked at once, but not more
    /// often than every ten seconds, and not for long.
    pub async fn replace(
        &self,
        refused: &Arc<Credentials>,
        code: &'static str,
        clock: &dyn Clock,
    ) -> Option<Arc<Credentials>> {
        let other = || {
            let current = self.get(clock.now()).ok()?;
            (!Arc::ptr_eq(&current, refused)).then_some(current)
        };
        let mut asking = self.asking.subscribe();
        if let Some(other) = other() {
            return Some(other);
        }
        let Asking { now: is_asked, done } = *asking.borrow_and_update();
        {
            let mut history = self.history();
            *history.rejections.entry(code).or_default() += 1;
            let now = Instant::now();
            if history.forced.is_none_or(|forced| now >= forced + FORCED_EVERY) {
                (history.forced, history.forcing) = (Some(now), true);
                self.wanted.notify_one();
            } else if !is_asked && !history.forcing {
                return None;
            }
        }
        let answered = asking.wait_for(|asking| asking.done > done);
        // However the wait ends, what counts is what is there then.
        let _ = timeout(WAIT_MAX, answered).await;
        other()
    }
}

/// Whether the clock has gone another way than time between two looks.
fn jumped((began, at): (Instant, Timestamp), (ended, now): (Instant, Timestamp)) -> bool {
    let passed = i64::try_from(ended.duration_since(began).as_secs()).unwrap_or(i64::MAX);
    (now.unix_s() - at.unix_s()).abs_diff(passed) > JUMP_S
}

/// A clock that is set right goes by less, or slowly.
const JUMP_S: u64 = 30;
/// How often OSS's refusals may have the source asked.
const FORCED_EVERY: Duration = Duration::from_secs(10);
