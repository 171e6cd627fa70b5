//! Bodies that name resources, such as those of batch deletes. They are read before the request is
//! judged, within a limit of length and time.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body;
use md5::{Digest as _, Md5};
use tokio::time::timeout;

/// The reason why a body cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JudgedBodyError {
    /// The body is longer than this limit, in bytes.
    #[error("the body of this operation has more than {0} bytes; send it in several requests")]
    TooLong(usize),
    /// `Content-MD5` is that of another body.
    #[error("Content-MD5 is not that of the body")]
    Digest,
    /// The body does not end, or not in time.
    #[error("the body did not arrive completely")]
    Broken,
}

/// Reads a body, and compares it with `Content-MD5` if the client sends that.
pub(super) async fn read<B>(
    body: B,
    limit: usize,
    stall: Duration,
    headers: &HeaderMap,
) -> Result<Bytes, JudgedBodyError>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let collected = timeout(stall, Limited::new(body, limit).collect()).await;
    let bytes = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(JudgedBodyError::TooLong(limit)),
        Ok(Err(_)) | Err(_) => return Err(JudgedBodyError::Broken),
    };
    check_digest(&bytes, headers)?;
    Ok(bytes)
}

/// Checks a complete body as [`read`] does.
pub(super) fn check(body: &[u8], limit: usize, headers: &HeaderMap) -> Result<(), JudgedBodyError> {
    if body.len() > limit {
        return Err(JudgedBodyError::TooLong(limit));
    }
    check_digest(body, headers)
}

fn check_digest(body: &[u8], headers: &HeaderMap) -> Result<(), JudgedBodyError> {
    // guard: digest-of-judged-body
    if headers.get(CONTENT_MD5).is_some_and(|given| given.as_bytes() != digest(body).as_bytes()) {
        return Err(JudgedBodyError::Digest);
    }
    Ok(())
}

/// Sets `Content-MD5` for a body that was written again.
pub(super) fn set_digest(headers: &mut HeaderMap, body: &[u8]) {
    if let Ok(value) = HeaderValue::try_from(digest(body)) {
        headers.insert(CONTENT_MD5, value);
    }
}

fn digest(body: &[u8]) -> String {
    STANDARD.encode(Md5::digest(body))
}

const CONTENT_MD5: &str = "content-md5";
