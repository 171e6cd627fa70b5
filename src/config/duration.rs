//! Parses durations: a whole number and a unit.
//!
//! Written by hand: the parsers of libraries also accept `1.5h`, `5 s`, `1d` and sums of units. One
//! spelling for settings, variables and flags lets the message name the whole format.

use std::time::Duration;

use super::error::ConfigErrorKind;

/// Parses `500ms`, `5s`, `2m` or `1h`, at most [`LONGEST`].
pub(super) fn parse(text: &str) -> Result<Duration, ConfigErrorKind> {
    read(text)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| ConfigErrorKind::Duration(text.to_owned()))
}

/// Parses like [`parse`], and rejects zero.
pub(super) fn positive(text: &str) -> Result<Duration, ConfigErrorKind> {
    match parse(text)? {
        Duration::ZERO => Err(ConfigErrorKind::Zero),
        duration => Ok(duration),
    }
}

/// Parses the limit of the lifetime of URLs in whole seconds, which may exceed [`LONGEST`].
pub(super) fn url_lifetime(text: &str) -> Result<Duration, ConfigErrorKind> {
    match read(text).ok_or_else(|| ConfigErrorKind::Duration(text.to_owned()))? {
        short if short.as_secs() == 0 => Err(ConfigErrorKind::Zero),
        lifetime => Ok(lifetime),
    }
}

/// Parses the lifetime of a URL, which may exceed the maximum of other durations.
///
/// # Errors
/// A sentence that describes the format.
pub(crate) fn parse_lifetime(text: &str) -> Result<Duration, String> {
    read(text).ok_or_else(|| "write a whole number and ms, s, m or h, such as 10m".to_owned())
}

/// Parses a waiting time of at most one day.
///
/// # Errors
/// A sentence that describes the format.
pub(crate) fn parse_wait(text: &str) -> Result<Duration, String> {
    parse(text).map_err(|problem| problem.to_string())
}

fn read(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return None,
    };
    let ms = number.parse::<u64>().ok()?.checked_mul(factor_ms)?;
    Some(Duration::from_millis(ms))
}

/// The longest duration; longer ones are probably mistakes in the unit.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{parse, positive};

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        let rows = [
            ("500ms", 500),
            ("5s", 5000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("0s", 0),
            ("24h", 86_400_000),
        ];
        for (text, ms) in rows {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "5 s", "1.5s", "-1s", "5S", "25h", "99999999999999999999s", "1d"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(positive("0ms").is_err());
    }
}
