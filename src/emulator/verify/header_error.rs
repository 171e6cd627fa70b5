//! The errors for invalid headers that both versions of signatures share.

use http::StatusCode;

use super::super::error::OssError;

pub(super) fn bad_authorization() -> OssError {
    OssError::argument("Authorization header is invalid.").ec("0002-00000062")
}

pub(super) fn no_date() -> OssError {
    OssError::new(StatusCode::FORBIDDEN, "AccessDenied", "OSS authentication requires a valid Date.")
        .ec("0002-00000503")
}

pub(super) fn bad_date() -> OssError {
    OssError::denied("The format of the Date or x-oss-date header is invalid.").ec("0002-00000502")
}
