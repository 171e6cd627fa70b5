//! Names of buckets and keys in headers, parameters and bodies.

use super::not_understood::NotUnderstood;
use crate::oss::Key;

/// Returns whether OSS accepts the text as an object key.
pub(super) fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= Key::BYTES_MAX
}

/// An alias of an access point stands for a bucket that the request does not name.
pub(super) fn refuse_alias(bucket: &str) -> Result<(), NotUnderstood> {
    // guard: no-access-point-aliases
    if bucket.ends_with("-ossalias") { Err(NotUnderstood::AccessPointAlias) } else { Ok(()) }
}
