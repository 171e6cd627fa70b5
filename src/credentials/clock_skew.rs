//! Clock skew of other machines, measured from their responses. Implausible values are ignored.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::{AGE, DATE};
use parking_lot::{Mutex, MutexGuard};
use tracing::warn;

use crate::time::Timestamp;

/// The offset of the clock of each service: how far it is ahead of the local clock, in seconds.
#[derive(Default)]
pub(crate) struct ClockOffsets(Mutex<BTreeMap<String, i64>>);

/// A call, by the local time.
#[derive(Clone, Copy)]
pub(crate) struct CallPeriod {
    /// The time at which the call began.
    pub(crate) begun: Timestamp,
    /// The time at which the response arrived.
    pub(crate) ended: Timestamp,
}

impl ClockOffsets {
    /// Records the offset of the clock of a service. Logs a warning when it becomes too large.
    pub(crate) fn record(&self, endpoint: &str, ahead_s: i64) {
        let before = self.all().insert(endpoint.to_owned(), ahead_s);
        let alarming = |ahead_s: i64| ahead_s.abs() > ALARMING_S;
        if alarming(ahead_s) && !before.is_some_and(alarming) {
            warn!(
                endpoint,
                ahead_s,
                "clock skew: this service's clock is ahead of this host's (behind if negative); synchronise this host's clock, because OSS rejects a skew of 15 minutes"
            );
        }
    }

    /// Returns all offsets, by service.
    #[must_use]
    pub(crate) fn snapshot(&self) -> BTreeMap<String, i64> {
        self.all().clone()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, i64>> {
        self.0.lock()
    }
}

/// Returns how far the clock that wrote a response is ahead of the local clock, in seconds.
/// `server_time`, if valid, takes precedence over the `Date` header. Either is compared with the
/// middle of the call. Returns `None` if the response may come from a cache, or if its time is
/// missing, invalid or implausible.
#[must_use]
pub(crate) fn ahead(server_time: Option<&str>, headers: &HeaderMap, call: CallPeriod) -> Option<i64> {
    if headers.contains_key(AGE) {
        return None;
    }
    let date = || Timestamp::parse_http_date(headers.get(DATE)?.to_str().ok()?);
    let theirs = server_time.and_then(Timestamp::parse_rfc3339).or_else(date)?;
    let ahead_s = theirs.unix_s() - i64::midpoint(call.begun.unix_s(), call.ended.unix_s());
    (ahead_s.abs() <= AHEAD_MAX_S).then_some(ahead_s)
}

/// A larger difference is ignored, because one of the two clocks is broken.
const AHEAD_MAX_S: i64 = 24 * 60 * 60;
/// A larger difference is logged. OSS tolerates 15 minutes.
const ALARMING_S: i64 = 5;

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{CallPeriod, ahead};
    use crate::time::Timestamp;

    /// Measures a call that began at 2023-11-14T22:13:20Z and took four seconds.
    fn told(server_time: Option<&str>, headers: &[(&'static str, &str)]) -> Option<i64> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().expect("a value")))
            .collect();
        let at = |seconds: i64| Timestamp::from_unix_s(1_700_000_000 + seconds);
        ahead(server_time, &headers, CallPeriod { begun: at(0), ended: at(4) })
    }

    #[test]
    fn a_date_is_compared_with_the_middle_of_the_call() {
        assert_eq!(told(None, &[("date", "Tue, 14 Nov 2023 22:13:22 GMT")]), Some(0));
        assert_eq!(told(None, &[("date", "Tue, 14 Nov 2023 23:13:22 GMT")]), Some(3_600));
        assert_eq!(told(None, &[("date", "Tue, 14 Nov 2023 21:13:22 GMT")]), Some(-3_600));
    }

    #[test]
    fn the_time_that_the_answer_names_goes_before_its_date() {
        let date = ("date", "Thu, 01 Jan 1970 12:52:35 GMT");
        assert_eq!(told(Some("2023-11-14T23:13:22.000Z"), &[date]), Some(3_600));
        let date = ("date", "Tue, 14 Nov 2023 23:13:22 GMT");
        assert_eq!(told(Some("nonsense"), &[date]), Some(3_600));
    }

    #[test]
    fn a_clock_of_an_answer_out_of_a_cache_is_not_believed() {
        let date = ("date", "Tue, 14 Nov 2023 23:13:22 GMT");
        assert_eq!(told(None, &[date, ("age", "5")]), None);
        assert_eq!(told(Some("2023-11-14T23:13:22Z"), &[("age", "0")]), None);
    }

    #[test]
    fn a_clock_that_is_off_by_more_than_a_day_is_not_believed() {
        assert_eq!(told(None, &[("date", "Thu, 01 Jan 1970 00:00:00 GMT")]), None);
        assert_eq!(told(None, &[("date", "Wed, 15 Nov 2023 22:13:22 GMT")]), Some(86_400));
        assert_eq!(told(None, &[("date", "Wed, 15 Nov 2023 22:13:23 GMT")]), None);
        assert_eq!(told(None, &[("date", "nonsense")]), None);
        assert_eq!(told(None, &[]), None);
    }
}
