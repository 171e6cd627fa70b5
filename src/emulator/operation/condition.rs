//! Conditional requests: `If-Match` and related headers, for reads and for copy sources, and
//! `x-oss-forbid-overwrite`.

use http::StatusCode;

use super::super::error::OssError;
use super::super::request::OssRequest;
use super::super::store::{BucketContents, StoredObject};
use crate::time::Timestamp;

/// The header names of one set of conditions.
#[derive(Debug)]
pub(super) struct ConditionHeaders {
    matches: &'static str,
    none_match: &'static str,
    modified: &'static str,
    unmodified: &'static str,
}

/// The result of conditions that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConditionResult {
    Holds,
    NotModified,
}

impl ConditionHeaders {
    /// The conditions of GET and HEAD.
    pub(super) const READ: Self = Self {
        matches: "if-match",
        none_match: "if-none-match",
        modified: "if-modified-since",
        unmodified: "if-unmodified-since",
    };

    /// The conditions on the source of a copy.
    pub(super) const COPY: Self = Self {
        matches: "x-oss-copy-source-if-match",
        none_match: "x-oss-copy-source-if-none-match",
        modified: "x-oss-copy-source-if-modified-since",
        unmodified: "x-oss-copy-source-if-unmodified-since",
    };

    /// Evaluates the conditions of a request against an object.
    pub(super) fn judge(
        &self,
        request: &OssRequest,
        object: &StoredObject,
    ) -> Result<ConditionResult, OssError> {
        let time = |name| request.header(name).and_then(Timestamp::parse_http_date);
        let failed = |condition: &str| {
            OssError::new(
                StatusCode::PRECONDITION_FAILED,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold.",
            )
            .with("Condition", condition)
        };
        if request.header(self.matches).is_some_and(|list| !names(list, &object.etag)) {
            return Err(failed("If-Match"));
        }
        if time(self.unmodified).is_some_and(|at| object.modified > at) {
            return Err(failed("If-Unmodified-Since"));
        }
        let same = request.header(self.none_match).map(|list| names(list, &object.etag));
        let old = time(self.modified).is_some_and(|at| object.modified <= at);
        Ok(if same.unwrap_or(old) { ConditionResult::NotModified } else { ConditionResult::Holds })
    }
}

/// Rejects overwriting an object if the request forbids it.
pub(super) fn check_overwrite(
    request: &OssRequest,
    contents: &BucketContents,
    key: &[u8],
) -> Result<(), OssError> {
    let forbids =
        request.header("x-oss-forbid-overwrite").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    if forbids && contents.objects.contains_key(key) {
        return Err(OssError::new(
            StatusCode::CONFLICT,
            "FileAlreadyExists",
            "The object you specified already exists and can not be overwritten.",
        )
        .ec("0026-00000044"));
    }
    Ok(())
}

/// Returns whether a list of entity tags, with or without quotes, contains `etag`.
fn names(list: &str, etag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_matches('"').to_ascii_uppercase();
    list.trim() == "*" || list.split(',').any(|tag| bare(tag) == bare(etag))
}
