//! The difference between the clock of a signer and that of the server that rejected it. Pure.

use std::fmt;

use crate::time::Timestamp;

/// The difference between two clocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClockDifference {
    /// The number of seconds by which the signer is behind, or ahead if negative; `None` if unknown.
    pub(super) behind_s: Option<i64>,
    /// The server whose clock counts.
    pub(super) server: &'static str,
}

impl ClockDifference {
    /// Reads the times in an error document. `of` returns the text of an element by its name.
    pub(super) fn read(of: impl Fn(&str) -> Option<String>, server: &'static str) -> Self {
        let time = |name: &str| Timestamp::parse_rfc3339(of(name)?.trim());
        let behind_s = match (time("ServerTime"), time("RequestTime")) {
            (Some(server_time), Some(request_time)) => Some(server_time.unix_s() - request_time.unix_s()),
            (_, _) => None,
        };
        Self { behind_s, server }
    }
}

impl fmt::Display for ClockDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { behind_s, server } = self;
        let Some(behind_s) = *behind_s else {
            return write!(
                f,
                "clock skew: the signer's clock differs from that of {server} by more than 15 minutes; synchronise it with NTP"
            );
        };
        let side = if behind_s > 0 { "behind" } else { "ahead of" };
        f.write_str("clock skew: the signer's clock was ")?;
        match behind_s.saturating_abs() {
            seconds @ ..7_200 => write!(f, "{} m", seconds / 60)?,
            seconds @ ..172_800 => write!(f, "{} h", seconds / 3_600)?,
            seconds => write!(f, "{} days", seconds / 86_400)?,
        }
        write!(f, " {side} that of {server}; synchronise it with NTP")
    }
}
