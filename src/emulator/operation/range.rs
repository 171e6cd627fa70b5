//! `Range`. A range that does not fit is ignored, as in OSS without
//! `x-oss-range-behavior: standard`.

use std::ops::Range;

use http::StatusCode;

use super::super::error::OssError;
use super::super::request::OssRequest;

/// Returns the requested part of an object, or `None` for the whole object.
pub(super) fn asked(request: &OssRequest, length: usize) -> Result<Option<Range<usize>>, OssError> {
    let Some(text) = request.header("range") else {
        return Ok(None);
    };
    let standard = request.header("x-oss-range-behavior") == Some("standard");
    let Some((first, last)) = bounds(text) else {
        return Ok(None);
    };
    let (start, end, fits) = match (first, last) {
        (Some(first), Some(last)) if first > last => return Ok(None),
        (Some(first), Some(last)) => (first, (last.saturating_add(1)).min(length), last < length),
        (Some(first), None) => (first, length, first < length),
        (None, Some(count)) => (length.saturating_sub(count), length, count > 0 && count <= length),
        (None, None) => return Ok(None),
    };
    if fits || standard && start < end {
        return Ok(Some(start..end));
    }
    if standard {
        return Err(OssError::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "InvalidRange",
            "The requested range cannot be satisfied.",
        )
        .with("ActualObjectSize", length.to_string())
        .with("RangeRequested", text));
    }
    Ok(None)
}

/// Parses `bytes=a-b`. Only a single range is supported.
pub(super) fn bounds(text: &str) -> Option<(Option<usize>, Option<usize>)> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |digits: &str| match digits.trim() {
        "" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Some),
        _ => None,
    };
    Some((number(first)?, number(last)?))
}
