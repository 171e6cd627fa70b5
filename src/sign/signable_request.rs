//! A request to sign, and the parts of it that both versions write in the same form.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use crate::oss::{Bucket, Key, Query};

/// A request to sign, in its final form except for the headers of the signature itself.
///
/// For a signer, each header that a signature covers has one line, trimmed and not empty. The caller
/// ensures this.
#[derive(Clone, Copy, Debug)]
pub struct SignableRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The bucket; `None` for requests to the service. A signature contains it in every form of the
    /// host.
    pub bucket: Option<&'a Bucket>,
    /// The object key; empty for requests to a bucket.
    pub key: &'a Key,
    /// The parameters.
    pub query: &'a Query,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// Returns the headers of the subject and of `added` for which `wanted` is true, sorted by name.
/// Lines of one name keep their order.
pub(super) fn collect<'a>(
    request: &SignableRequest<'a>,
    added: &'a [(HeaderName, HeaderValue)],
    wanted: impl Fn(&str) -> bool,
) -> Vec<(&'a str, &'a [u8])> {
    let present = request.headers.iter();
    let added = added.iter().map(|(name, value)| (name, value));
    let mut lines: Vec<_> = present
        .chain(added)
        .filter(|(name, _)| wanted(name.as_str()))
        .map(|(name, value)| (name.as_str(), value.as_bytes().trim_ascii()))
        .collect();
    lines.sort_by_key(|(name, _)| *name);
    lines
}

/// Writes `name:value\n` for each line; the values of one name are joined with a comma.
pub(super) fn write_headers(lines: &[(&str, &[u8])], out: &mut Vec<u8>) {
    for same_name in lines.chunk_by(|a, b| a.0 == b.0) {
        let mut separator = ':';
        out.extend_from_slice(same_name[0].0.as_bytes());
        for (_, value) in same_name {
            out.push(separator as u8);
            out.extend_from_slice(value);
            separator = ',';
        }
        out.push(b'\n');
    }
}

/// Returns whether a header belongs to OSS and is therefore signed.
pub(super) fn is_oss_header(name: &str) -> bool {
    name.starts_with("x-oss-")
}
