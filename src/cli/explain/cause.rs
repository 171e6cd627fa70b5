//! The usual causes of a difference between two signed texts, found by the part that differs. Pure.

use std::fmt;

use super::redact::printable;
use crate::oss::decode;

/// A usual cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MismatchCause {
    Method,
    Bucket,
    Path,
    PathEncoding,
    Query(String),
    QueryOrder,
    QueryEncoding,
    SignedUrl,
    HeaderDropped(String),
    HeaderAdded(String),
    HeaderChanged(String),
    ContentType,
    TokenMissing,
    TokenAdded,
    OtherToken,
    Date,
    Region,
    Product,
    AdditionalHeaders,
    Payload,
    Version,
    Hash,
    UnknownHash,
}

impl fmt::Display for MismatchCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::HeaderDropped(name) => {
                return write!(f, "the header {name} did not arrive: an intermediary dropped it");
            }
            Self::HeaderAdded(name) => {
                return write!(
                    f,
                    "the header {name} is not in this request: add it with -H if the client sends it; otherwise an intermediary added it"
                );
            }
            Self::HeaderChanged(name) => {
                return write!(f, "the header {name} differs: an intermediary or the client changed it");
            }
            Self::Query(name) => {
                return write!(
                    f,
                    "the parameter {name} is on one side only, or has another value: an intermediary added, dropped or changed it, or the client sends another request"
                );
            }
            Self::Method => "the method differs: an intermediary changed it, or the client sends another",
            Self::Bucket => "the bucket differs: the host or the path names another one than this request",
            Self::Path => {
                "the path differs: an intermediary rewrote it (merged //, removed . or ..), or the client requests another key"
            }
            Self::PathEncoding => {
                "path encoding: both name the same key, encoded differently; an intermediary decoded the path or encoded it again"
            }
            Self::QueryOrder => "query order: the parameters are the same, sorted differently",
            Self::QueryEncoding => {
                "query encoding: the parameters are the same, encoded differently (+ and %20, or encoded twice)"
            }
            Self::SignedUrl => {
                "a presigned URL was used: this proxy signs in the header, so it did not sign that request"
            }
            Self::ContentType => {
                "content-type: the client sends one that is missing here (add it with -H), or a library or an intermediary added, dropped or changed it after signing"
            }
            Self::TokenMissing => {
                "the security token did not arrive: an intermediary dropped x-oss-security-token, or other credentials signed, which have no token"
            }
            Self::TokenAdded => {
                "a security token arrived, but the credentials here have none: other credentials signed, or an intermediary added it"
            }
            Self::OtherToken => {
                "the security token differs: the credentials were refreshed since, or others signed"
            }
            Self::Date => {
                "the date: the request was signed for another day or in another format than it states, or an intermediary replaced the header"
            }
            Self::Region => {
                "the region: the request was signed for a region other than that of this route; set `region` to that of the bucket"
            }
            Self::Product => "the product: one side signs for a CloudBox, the other does not; check `region`",
            Self::AdditionalHeaders => {
                "additional headers were signed: this proxy signs none, so something else signed that request"
            }
            Self::Payload => {
                "the payload hash: this proxy signs UNSIGNED-PAYLOAD, so something else signed that request, or an intermediary changed x-oss-content-sha256"
            }
            Self::Version => "the signature version differs",
            Self::UnknownHash => {
                "the hash of the canonical request, which the document does not contain; compare ours with the request that was sent"
            }
            Self::Hash => {
                "the hash of the canonical request, although its visible part is the same: the security token differs, or the document was altered"
            }
        };
        f.write_str(text)
    }
}

impl MismatchCause {
    /// Returns the cause if the canonical requests of V4 differ at this line.
    pub(super) fn in_canonical(theirs: &[u8], ours: &[u8], line: usize) -> Self {
        let (theirs, ours) = (lines(theirs), lines(ours));
        let at = |side: &[&[u8]], line: usize| side.get(line).copied().unwrap_or_default().to_vec();
        match line {
            0 => Self::Method,
            1 => in_path(&at(&theirs, 1), &at(&ours, 1)),
            2 if has(&at(&theirs, 2), b"x-oss-signature-version=") => Self::SignedUrl,
            2 => in_query(&at(&theirs, 2), &at(&ours, 2)),
            _ => {
                let block = |side: &[&[u8]]| {
                    let lines = side.iter().skip(3).take_while(|line| !line.is_empty());
                    lines.map(|line| header(line)).collect::<Vec<_>>()
                };
                let (their_headers, our_headers) = (block(&theirs), block(&ours));
                in_headers(&their_headers, &our_headers).unwrap_or_else(|| {
                    if line <= 3 + our_headers.len() + 1 { Self::AdditionalHeaders } else { Self::Payload }
                })
            }
        }
    }

    /// Returns the cause if the strings to sign of V4 differ at this line.
    pub(super) fn in_v4_string(theirs: &[u8], ours: &[u8], line: usize) -> Self {
        match line {
            0 => Self::Version,
            1 => Self::Date,
            2 => {
                let (theirs, ours) = (lines(theirs), lines(ours));
                let scope = |side: &[&[u8]]| {
                    let line = side.get(2).copied().unwrap_or_default();
                    line.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>()
                };
                let (theirs, ours) = (scope(&theirs), scope(&ours));
                if theirs.first() != ours.first() {
                    Self::Date
                } else if theirs.get(1) != ours.get(1) {
                    Self::Region
                } else {
                    Self::Product
                }
            }
            _ => Self::Hash,
        }
    }

    /// Returns the cause if the strings to sign of V1 differ at this line.
    pub(super) fn in_v1_string(theirs: &[u8], ours: &[u8], line: usize) -> Self {
        let (theirs, ours) = (lines(theirs), lines(ours));
        let at = |line: usize| {
            let (a, b) = (theirs.get(line).copied().unwrap_or_default(), ours.get(line));
            (a, b.copied().unwrap_or_default())
        };
        match line {
            0 => Self::Method,
            1 => sided("content-md5", at(1)),
            2 => Self::ContentType,
            3 if !at(3).0.is_empty() && at(3).0.iter().all(u8::is_ascii_digit) => Self::SignedUrl,
            3 => Self::Date,
            _ => {
                let block = |side: &[&[u8]]| {
                    let lines = side.iter().skip(4).take_while(|line| line.starts_with(b"x-oss-"));
                    lines.map(|line| header(line)).collect::<Vec<_>>()
                };
                let rest = |side: &[&[u8]], headers: usize| {
                    side.iter().skip(4 + headers).copied().collect::<Vec<_>>().join(&b'\n')
                };
                let (their_headers, our_headers) = (block(&theirs), block(&ours));
                in_headers(&their_headers, &our_headers).unwrap_or_else(|| {
                    in_resource(&rest(&theirs, their_headers.len()), &rest(&ours, our_headers.len()))
                })
            }
        }
    }
}

type Header = (String, Vec<u8>);

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split(|byte| *byte == b'\n').collect()
}

fn header(line: &[u8]) -> Header {
    let end = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    (name(&line[..end]), line.get(end + 1..).unwrap_or_default().to_vec())
}

fn name(text: &[u8]) -> String {
    printable(&text[..text.len().min(80)])
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Returns the cause for the first header that differs. Both sides are sorted by name.
fn in_headers(theirs: &[Header], ours: &[Header]) -> Option<MismatchCause> {
    let value = |side: &[Header], name: &str| {
        side.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let mut names: Vec<&str> = theirs.iter().chain(ours).map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let differing = names.into_iter().find(|name| value(theirs, name) != value(ours, name))?;
    let (a, b) = (value(theirs, differing).unwrap_or_default(), value(ours, differing).unwrap_or_default());
    Some(sided(differing, (&a, &b)))
}

/// Returns the cause for a header with these values, the server's first. An empty value means
/// absent.
fn sided(name: &str, (theirs, ours): (&[u8], &[u8])) -> MismatchCause {
    match (name, theirs.is_empty(), ours.is_empty()) {
        ("content-type", ..) => MismatchCause::ContentType,
        ("x-oss-date", ..) => MismatchCause::Date,
        ("x-oss-content-sha256", ..) => MismatchCause::Payload,
        ("x-oss-security-token", true, _) => MismatchCause::TokenMissing,
        ("x-oss-security-token", _, true) => MismatchCause::TokenAdded,
        ("x-oss-security-token", ..) => MismatchCause::OtherToken,
        (_, true, _) => MismatchCause::HeaderDropped(name.to_owned()),
        (_, _, true) => MismatchCause::HeaderAdded(name.to_owned()),
        _ => MismatchCause::HeaderChanged(name.to_owned()),
    }
}

fn in_path(theirs: &[u8], ours: &[u8]) -> MismatchCause {
    if variants(theirs).iter().any(|theirs| variants(ours).contains(theirs)) {
        return MismatchCause::PathEncoding;
    }
    let bucket = |path: &[u8]| path.split(|byte| *byte == b'/').nth(1).map(<[u8]>::to_vec);
    if bucket(theirs) == bucket(ours) { MismatchCause::Path } else { MismatchCause::Bucket }
}

/// Returns a text, decoded once and twice, with plus signs kept or read as spaces.
fn variants(text: &[u8]) -> Vec<Vec<u8>> {
    let decoded = |text: &[u8]| decode(text).unwrap_or_else(|_| text.to_vec());
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    [text, &spaced].into_iter().map(decoded).flat_map(|once| [decoded(&once), once]).collect()
}

fn in_query(theirs: &[u8], ours: &[u8]) -> MismatchCause {
    let parts = |text: &[u8]| {
        let parts = text.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
        parts.map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let sorted = |mut parts: Vec<Vec<u8>>| {
        parts.sort();
        parts
    };
    let (theirs, ours) = (sorted(parts(theirs)), sorted(parts(ours)));
    if theirs == ours {
        return MismatchCause::QueryOrder;
    }
    let only = |side: &[Vec<u8>], other: &[Vec<u8>]| {
        side.iter().filter(|part| !other.contains(part)).cloned().collect::<Vec<_>>()
    };
    let (added, dropped) = (only(&theirs, &ours), only(&ours, &theirs));
    let is_same = |a: &Vec<u8>| dropped.iter().any(|b| variants(a).iter().any(|a| variants(b).contains(a)));
    if added.len() == dropped.len() && !added.is_empty() && added.iter().all(is_same) {
        return MismatchCause::QueryEncoding;
    }
    let odd = added.iter().chain(&dropped).next().map(Vec::as_slice).unwrap_or_default();
    MismatchCause::Query(name(odd.split(|byte| *byte == b'=').next().unwrap_or_default()))
}

/// Compares resources such as `/bucket/key?acl`, decoded.
fn in_resource(theirs: &[u8], ours: &[u8]) -> MismatchCause {
    let split = |text: &[u8]| {
        let end = text.iter().position(|byte| *byte == b'?').unwrap_or(text.len());
        (text[..end].to_vec(), text.get(end + 1..).unwrap_or_default().to_vec())
    };
    let ((their_path, their_query), (our_path, our_query)) = (split(theirs), split(ours));
    if their_path == our_path { in_query(&their_query, &our_query) } else { in_path(&their_path, &our_path) }
}
