//! Which header lines pass, and what becomes of those that are signed (RFC 9110, 7.6.1).

use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};

use crate::sign::v4;

/// Removes what is meant for this hop alone: the fixed names, and those that `Connection` nominates. It is done before
/// anything is signed, or a client could have a signed header removed behind the signature.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let nominated = headers.get_all(CONNECTION).iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
    let nominated = nominated.map(<[u8]>::trim_ascii).filter(|name| !is_option(name));
    let nominated = nominated.filter_map(|name| HeaderName::from_bytes(name).ok());
    // Mostly none, which needs no memory.
    let nominated: Vec<HeaderName> = nominated.filter(|name| !JUDGED.contains(&name.as_str())).collect();
    for name in nominated {
        headers.remove(name);
    }
    // Looking through the names is cheaper than asking for each.
    while let Some(name) = headers.keys().find(|name| is_hop_by_hop(name.as_str())).cloned() {
        headers.remove(name);
    }
}

/// Makes request headers ready to be signed: the framing and the host are ours to write, signed headers have one line each,
/// and none is empty, for implementations differ about those.
pub fn settle(headers: &mut HeaderMap) {
    headers.remove(HOST);
    headers.remove(CONTENT_LENGTH);
    let odd: Vec<HeaderName> = headers
        .keys()
        .filter(|name| v4::is_signed(name.as_str()))
        .filter(|name| !is_settled(headers, name))
        .cloned()
        .collect();
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

/// One line, trimmed, not empty.
fn is_settled(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut lines = headers.get_all(name).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return false;
    };
    let value = line.as_bytes();
    !value.is_empty() && value.trim_ascii().len() == value.len()
}

/// Removes from an answer what was meant for this hop. A length beside an encoding goes too: it is not the one that counted.
pub(super) fn settle_answer(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    strip_hop_by_hop(headers);
}

/// What a request is judged by, which it must not take away itself.
const JUDGED: [&str; 3] = ["host", "origin", "sec-fetch-site"];

/// What `Connection` mostly says, and which is no header that counts.
fn is_option(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"close") || name.eq_ignore_ascii_case(b"keep-alive")
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
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

    use super::{settle, settle_answer, strip_hop_by_hop};

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
            ("host", "h"),
            ("content-length", "5"),
        ]);
        settle(&mut headers);
        assert_eq!(
            headers,
            map(&[("x-oss-meta-a", "1,2"), ("content-type", "text/plain"), ("x-unsigned", " v ")])
        );
    }

    #[test]
    fn a_length_beside_an_encoding_is_removed_from_an_answer() {
        let mut headers = map(&[("content-length", "5"), ("transfer-encoding", "chunked"), ("etag", "e")]);
        settle_answer(&mut headers);
        assert_eq!(headers, map(&[("etag", "e")]));
    }
}
