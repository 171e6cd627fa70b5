//! Points in time as OSS writes them. Pure: nothing here reads a clock; code that needs the time gets
//! a [`Clock`].

mod utc_day;

use std::time::{Duration, UNIX_EPOCH};

use jiff::SignedDuration;
use jiff::civil::{self, DateTime};
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;

pub(crate) use utc_day::UtcDay;

/// A source of the current time, so that everything that depends on it can be tested.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// Whole seconds since 1970-01-01T00:00:00Z; OSS signs no fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The latest time with a year of four digits: 9999-12-31T23:59:59Z.
    const LAST_S: i64 = 253_402_300_799;

    /// The time `seconds` after 1970-01-01T00:00:00Z; before it that instant, after the year 9999 its end.
    #[must_use]
    pub const fn from_unix_s(seconds: i64) -> Self {
        if seconds < 0 {
            Self(0)
        } else if seconds > Self::LAST_S {
            Self(Self::LAST_S)
        } else {
            Self(seconds)
        }
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_s(self) -> i64 {
        self.0
    }

    /// `20231216T162057Z`, the form of `x-oss-date`.
    #[must_use]
    pub(crate) fn iso_basic(self) -> String {
        self.written("00000000T000000Z")
    }

    /// `2023-12-16T16:20:57.000Z`, the form of OSS's XML documents.
    #[must_use]
    pub(crate) fn iso_extended(self) -> String {
        self.written("0000-00-00T00:00:00.000Z")
    }

    /// `2023-12-16T16:20:57Z`, the form of the log (RFC 3339).
    #[must_use]
    pub fn rfc3339(self) -> String {
        self.written("0000-00-00T00:00:00Z")
    }

    /// `Sat, 16 Dec 2023 16:20:57 GMT`, the form of HTTP's `Date`.
    #[must_use]
    pub(crate) fn http_date(self) -> String {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.0.unsigned_abs()))
    }

    /// The day in UTC.
    #[must_use]
    pub(crate) fn day(self) -> UtcDay {
        let mut text = [b'0'; 8];
        text.copy_from_slice(&self.digits()[..8]);
        UtcDay::from_digits(text)
    }

    /// Reads `20231216T162057Z`; `None` for anything else.
    #[must_use]
    pub(crate) fn parse_iso_basic(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
            return None;
        }
        let number = |from: usize, to: usize| {
            bytes[from..to]
                .iter()
                .try_fold(0_i16, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i16::from(b - b'0')))
        };
        let small = |from, to| number(from, to).and_then(|n| i8::try_from(n).ok());
        let month = small(4, 6)?;
        let day = small(6, 8)?;
        let hour = small(9, 11)?;
        let minute = small(11, 13)?;
        let second = small(13, 15)?;
        let time = DateTime::new(number(0, 4)?, month, day, hour, minute, second, 0).ok()?;
        Some(Self::from_unix_s(time.duration_since(EPOCH).as_secs()))
    }

    /// Reads a time as RFC 3339 writes it, such as `2023-12-16T16:20:57Z`; fractions are cut off. `None` for anything else.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        match text.parse::<jiff::Timestamp>() {
            Ok(time) => Some(Self::from_unix_s(time.as_second())),
            Err(_) => Self::parse_last_day(text),
        }
    }

    /// Reads one of the last hours of the year 9999, which are beyond jiff's timestamps but not beyond its calendar.
    fn parse_last_day(text: &str) -> Option<Self> {
        let pieces = Pieces::parse(text).ok()?;
        let offset = pieces.to_numeric_offset()?;
        let local = DateTime::from_parts(pieces.date(), pieces.time()?).duration_since(EPOCH).as_secs();
        let seconds = local - i64::from(offset.seconds());
        (seconds > JIFF_LAST_S).then(|| Self::from_unix_s(seconds))
    }

    /// Reads a date in one of HTTP's three forms (RFC 9110, 5.6.7), or with a day of one digit, as in RFC 1123; `None` for
    /// anything else. The Java SDK v2 writes such days with V1 signatures.
    #[must_use]
    pub(crate) fn parse_http_date(text: &str) -> Option<Self> {
        let with_two_digits = || {
            let (weekday, rest) = text.split_once(", ")?;
            let is_short = matches!(rest.as_bytes(), [b'1'..=b'9', b' ', ..]);
            is_short.then(|| httpdate::parse_http_date(&format!("{weekday}, 0{rest}")).ok())?
        };
        let time = httpdate::parse_http_date(text).ok().or_else(with_two_digits)?;
        let since = time.duration_since(UNIX_EPOCH).ok()?;
        Some(Self::from_unix_s(i64::try_from(since.as_secs()).ok()?))
    }

    /// The form with the digits of the time in place of its zeros. Every request has its time written, so formatting would cost too
    /// much.
    fn written(self, form: &str) -> String {
        let mut digits = self.digits().into_iter();
        let digit = |place: char| if place == '0' { digits.next().map_or('0', char::from) } else { place };
        form.chars().map(digit).collect()
    }

    /// Four digits of the year and two each of month, day, hour, minute and second.
    fn digits(self) -> [u8; 14] {
        let t = self.civil();
        let parts = [t.month(), t.day(), t.hour(), t.minute(), t.second()];
        let mut rest = parts.iter().fold(i64::from(t.year()), |sum, part| sum * 100 + i64::from(*part));
        let mut digits = [b'0'; 14];
        for place in digits.iter_mut().rev() {
            *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        digits
    }

    fn civil(self) -> DateTime {
        match jiff::Timestamp::from_second(self.0) {
            Ok(time) => TimeZone::UTC.to_datetime(time),
            // The constructor keeps the value inside the years of the calendar.
            Err(_) => EPOCH.saturating_add(SignedDuration::from_secs(self.0)),
        }
    }
}

const EPOCH: DateTime = civil::date(1970, 1, 1).at(0, 0, 0, 0);
/// The latest timestamp of jiff, 9999-12-30T22:00:00Z: its time zones need the hours after it.
const JIFF_LAST_S: i64 = 253_402_207_200;

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        let seconds = i64::try_from(later.as_secs()).unwrap_or(i64::MAX);
        Self::from_unix_s(self.0.saturating_add(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    const T: Timestamp = Timestamp::from_unix_s(1_702_743_657);

    #[test]
    fn each_form_is_written_as_oss_writes_it() {
        assert_eq!(T.iso_basic(), "20231216T162057Z");
        assert_eq!(T.iso_extended(), "2023-12-16T16:20:57.000Z");
        assert_eq!(T.rfc3339(), "2023-12-16T16:20:57Z");
        assert_eq!(T.http_date(), "Sat, 16 Dec 2023 16:20:57 GMT");
        assert_eq!(T.day().as_str(), "20231216");
    }

    #[test]
    fn written_forms_read_back() {
        assert_eq!(Timestamp::parse_iso_basic("20231216T162057Z"), Some(T));
        assert_eq!(Timestamp::parse_rfc3339("2023-12-16T17:20:57.9+01:00"), Some(T));
        assert_eq!(Timestamp::parse_http_date("Sat, 16 Dec 2023 16:20:57 GMT"), Some(T));
    }

    #[test]
    fn a_day_of_a_month_may_have_one_digit() {
        let read = |text| Timestamp::parse_http_date(text).map(Timestamp::rfc3339);
        assert_eq!(read("Tue, 1 Dec 2026 02:05:00 GMT").as_deref(), Some("2026-12-01T02:05:00Z"));
        assert_eq!(read("Tue, 01 Dec 2026 02:05:00 GMT").as_deref(), Some("2026-12-01T02:05:00Z"));
        for text in [
            "Tue, 0 Dec 2026 02:05:00 GMT",
            "Tue,1 Dec 2026 02:05:00 GMT",
            "Tue, 1 Dec 2026 2:05:00 GMT",
            "1",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn other_texts_are_not_dates() {
        for text in ["", "20231216T162057", "20231316T162057Z", "2023-12-16T16:20:57Z", "2023121６162057Z"] {
            assert_eq!(Timestamp::parse_iso_basic(text), None, "{text}");
        }
        for text in ["", "2023-12-16", "2023-12-16T16:20:57", "16 Dec 2023", "1702743657"] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn the_last_seconds_of_the_year_9999_are_read_and_written() {
        let last = Timestamp::from_unix_s(253_402_300_799);
        for text in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z", "9999-12-31T18:59:59-05:00"] {
            assert_eq!(Timestamp::parse_rfc3339(text), Some(last), "{text}");
        }
        assert_eq!(Timestamp::parse_iso_basic("99991231T235959Z"), Some(last));
        assert_eq!(Timestamp::parse_http_date("Fri, 31 Dec 9999 23:59:59 GMT"), Some(last));
        assert_eq!(last.rfc3339(), "9999-12-31T23:59:59Z");
        assert_eq!(last.iso_basic(), "99991231T235959Z");
        assert_eq!(last.iso_extended(), "9999-12-31T23:59:59.000Z");
        assert_eq!(last.http_date(), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(last.day().as_str(), "99991231");
        let earlier = Timestamp::from_unix_s(253_402_207_201);
        assert_eq!(Timestamp::parse_rfc3339("9999-12-30T22:00:01Z"), Some(earlier));
        assert_eq!(earlier.rfc3339(), "9999-12-30T22:00:01Z");
        assert_eq!(Timestamp::parse_rfc3339("9999-12-31T23:59:59-08:00"), Some(last), "later ones end here");
        for text in ["9999-12-31T23:59:59", "9999-12-31", "9999-13-31T23:59:59Z", "9999-12-31T24:59:59Z"] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn times_outside_the_written_years_stay_at_their_ends() {
        assert_eq!(Timestamp::from_unix_s(i64::MAX).iso_basic(), "99991231T235959Z");
        assert_eq!(Timestamp::from_unix_s(-1).iso_basic(), "19700101T000000Z");
    }
}
