//! `limits` of a `[[caller]]`, and `caller` of `[limits]`, which applies to all of them.

use std::num::NonZeroU64;

use super::caller_schema::CALLER_LIMITS;
use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::section::ConfigSection;
use super::size;
use crate::caller::CallerLimits;

/// Reads the limits in the table `key` of a section.
pub(super) fn read(section: &ConfigSection<'_>, key: &str, report: &mut ConfigReport) -> CallerLimits {
    let section = section.child(key, report);
    section.check(&CALLER_LIMITS, report);
    let rate = section.number("rate", report).and_then(|rate| NonZeroU64::new(rate as u64));
    let mut bytes = |key: &str| section.parsed(key, byte_rate, report).map(|given| given.value);
    let upload = bytes("upload");
    let download = bytes("download");
    CallerLimits { requests: section.number("requests", report), rate, upload, download }
}

/// Parses a number of bytes per second.
fn byte_rate(text: &str) -> Result<NonZeroU64, ConfigErrorKind> {
    let rate = NonZeroU64::new(size::parse(text)?).filter(|rate| rate.get() >= BYTE_RATE_MIN);
    rate.ok_or_else(|| ConfigErrorKind::ByteRate(text.to_owned()))
}

/// The least number of bytes per second. With fewer, OSS and clients would take a transfer for a
/// stalled one.
const BYTE_RATE_MIN: u64 = 1024;
