//! Filtering of hop-by-hop headers, and normalization of signed headers (RFC 9110, 7.6.1).
//!
//! A request has few header lines. Iterating over them is cheaper than a map lookup, which hashes
//! the name.

use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};

use crate::sign::v4;

/// Removes hop-by-hop headers: the fixed names, and those that `Connection` nominates. This happens
/// before signing; otherwise a client could have a signed header removed after the signature.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !is_option(name))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !JUDGED.contains(&name.as_str()))
        .collect();
    // guard: nominated-headers
    for name in nominated {
        headers.remove(name);
    }
    while let Some(name) = headers.keys().find(|name| is_hop_by_hop(name)).cloned() {
        headers.remove(name);
    }
}

/// Normalizes the headers that are signed: one trimmed, non-empty line for each name.
/// Implementations differ in how they sign other forms.
pub fn prepare_headers(headers: &mut HeaderMap) {
    let mut odd: Vec<HeaderName> = Vec::new();
    let mut last = None;
    // The iterator yields the lines of one name consecutively.
    for (name, value) in headers.iter().filter(|(name, _)| v4::is_signed(name.as_str())) {
        if (last == Some(name) || !is_settled(value)) && odd.last() != Some(name) {
            odd.push(name.clone());
        }
        last = Some(name);
    }
    for name in odd {
        let values: Vec<&[u8]> =
            headers.get_all(&name).iter().map(|value| value.as_bytes().trim_ascii()).collect();
        let merged = values.join(&b","[..]);
        match HeaderValue::from_bytes(&merged) {
            Ok(value) if !merged.is_empty() => {
                headers.insert(name, value);
            }
            Ok(_) | Err(_) => {
                headers.remove(name);
            }
        }
    }
}

/// Returns whether the value is trimmed and not empty.
fn is_settled(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    !value.is_empty() && value.trim_ascii().len() == value.len()
}

/// The framing of a response body, by its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// Neither a length nor a transfer coding.
    Nowhere,
    /// `Content-Length`; `plainly` if there is one line with a number in canonical form.
    ByLength { plainly: bool },
    /// `Transfer-Encoding`, which overrides a length; `chunked` if that is the only coding.
    ByEncoding { chunked: bool },
}

impl BodyFraming {
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let mut extent = Self::Nowhere;
        for (name, value) in headers {
            if *name == TRANSFER_ENCODING {
                let is_first = !matches!(extent, Self::ByEncoding { .. });
                let is_chunked = value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
                extent = Self::ByEncoding { chunked: is_first && is_chunked };
            } else if *name == CONTENT_LENGTH {
                extent = match extent {
                    Self::Nowhere => Self::ByLength { plainly: is_plain_number(value.as_bytes()) },
                    Self::ByLength { .. } => Self::ByLength { plainly: false },
                    Self::ByEncoding { .. } => extent,
                };
            }
        }
        extent
    }
}

fn is_plain_number(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_digit) && (digits == b"0" || !digits.starts_with(b"0"))
}

/// Removes hop-by-hop headers from a response, and headers that only this proxy sends. A length
/// beside a transfer coding is removed too, because it was ignored.
pub(super) fn settle_answer(headers: &mut HeaderMap, extent: BodyFraming) {
    if matches!(extent, BodyFraming::ByEncoding { .. }) {
        // guard: length-beside-encoding
        headers.remove(CONTENT_LENGTH);
    }
    strip_hop_by_hop(headers);
    if headers.keys().any(is_own) {
        OWN.iter().for_each(|name| drop(headers.remove(name)));
    }
}

/// Returns whether only this proxy may send this header. An upstream must not impersonate the
/// proxy.
fn is_own(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-proxy-") && OWN.contains(name)
}

/// The header with the stable error code of a rejection, for programs.
pub(super) const PROXY_ERROR: HeaderName = HeaderName::from_static("x-proxy-error");
/// The header with the reason why a rejected request may be retried.
pub(super) const NOTE: HeaderName = HeaderName::from_static("x-proxy-note");
/// The header with the proxy's request id, under which the request is logged. OSS has a separate
/// one, `x-oss-request-id`.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-proxy-request-id");
/// The headers that only this proxy sends.
const OWN: [HeaderName; 3] = [PROXY_ERROR, NOTE, REQUEST_ID];

/// Headers used for access decisions; a client must not remove them with `Connection`.
const JUDGED: [&str; 3] = ["host", "origin", "sec-fetch-site"];

/// Returns whether a `Connection` option is a common one that requires no further removal.
fn is_option(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"close") || name.eq_ignore_ascii_case(b"keep-alive")
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "expect"
    )
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{BodyFraming, prepare_headers, settle_answer, strip_hop_by_hop};

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn headers_of_this_hop_and_those_that_connection_names_are_removed() {
        let mut headers = map(&[
            ("connection", "close, X-Oss-Meta-Gone"),
            ("connection", "x-also"),
            ("x-oss-meta-gone", "v"),
            ("x-also", "v"),
            ("keep-alive", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("expect", "100-continue"),
            ("x-oss-meta-kept", "v"),
            ("range", "bytes=0-1"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-oss-meta-kept", "range"]);
    }

    #[test]
    fn signed_headers_get_one_trimmed_line_and_empty_ones_are_dropped() {
        let mut headers = map(&[
            ("x-oss-meta-a", "1"),
            ("x-oss-meta-a", " 2 "),
            ("x-oss-meta-empty", " "),
            ("content-type", "\ttext/plain "),
            ("x-unsigned", " v "),
            ("x-unsigned", " v "),
        ]);
        prepare_headers(&mut headers);
        assert_eq!(
            headers,
            map(&[
                ("x-oss-meta-a", "1,2"),
                ("content-type", "text/plain"),
                ("x-unsigned", " v "),
                ("x-unsigned", " v ")
            ])
        );
    }

    #[test]
    fn a_length_beside_an_encoding_is_removed_from_an_answer() {
        let mut headers = map(&[("content-length", "5"), ("transfer-encoding", "chunked"), ("etag", "e")]);
        let extent = BodyFraming::from_headers(&headers);
        settle_answer(&mut headers, extent);
        assert_eq!(headers, map(&[("etag", "e")]));
    }

    #[test]
    fn headers_that_only_this_proxy_sends_are_removed_from_an_answer() {
        let mut headers = map(&[
            ("x-proxy-error", "denied"),
            ("x-proxy-error", "twice"),
            ("x-proxy-note", "n"),
            ("x-proxy-request-id", "1"),
            ("x-proxy-cache", "hit"),
            ("x-oss-meta-x-proxy-error", "kept"),
        ]);
        settle_answer(&mut headers, BodyFraming::Nowhere);
        assert_eq!(headers, map(&[("x-proxy-cache", "hit"), ("x-oss-meta-x-proxy-error", "kept")]));
    }

    #[test]
    fn an_answer_tells_its_end_by_an_encoding_before_a_length() {
        let length = |plainly| BodyFraming::ByLength { plainly };
        let encoding = |chunked| BodyFraming::ByEncoding { chunked };
        for (lines, extent) in [
            (&[("etag", "e")][..], BodyFraming::Nowhere),
            (&[("content-length", "5")], length(true)),
            (&[("content-length", "0")], length(true)),
            (&[("content-length", "005")], length(false)),
            (&[("content-length", "5"), ("content-length", "5")], length(false)),
            (&[("content-length", "5, 5")], length(false)),
            (&[("transfer-encoding", "Chunked"), ("content-length", "5")], encoding(true)),
            (&[("content-length", "5"), ("transfer-encoding", "gzip, chunked")], encoding(false)),
            (&[("transfer-encoding", "chunked, gzip")], encoding(false)),
            (&[("transfer-encoding", "")], encoding(false)),
            (&[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")], encoding(false)),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], encoding(false)),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "gzip")], encoding(false)),
        ] {
            assert_eq!(BodyFraming::from_headers(&map(lines)), extent, "{lines:?}");
        }
    }
}
