//! The values of headers, in the form that signatures cover.

use http::HeaderMap;

/// Returns the value covered by a signature: repeated values trimmed and joined with a comma.
pub(super) fn merged(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> =
        headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii()).collect();
    if values.is_empty() { None } else { Some(values.join(&b","[..])) }
}

/// Returns the security token in the headers.
pub(super) fn token_header(headers: &HeaderMap) -> Option<Vec<u8>> {
    merged(headers, "x-oss-security-token").filter(|token| !token.is_empty())
}
