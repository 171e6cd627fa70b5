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
                    "the parameter {name} is missing on one side, or its values differ: an intermediary added, dropped or changed it, or the client sends a different request"
                );
            }
            Self::Method => {
                "the method differs: an intermediary changed it, or the client sends a different one"
            }
            Self::Bucket => "the bucket differs: the host or the path names a different bucket",
            Self::Path => {
                "the path differs: an intermediary rewrote it (merged //, removed . or ..), or the client requests a different key"
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
                "the date: the signed day or format differs from that in the request, or an intermediary replaced the header"
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
                "the hash of the canonical request, which the document does not contain; compare this one with the request that was sent"
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
        let theirs = lines(theirs);
        let ours = lines(ours);
        match line {
            0 => Self::Method,
            1 => in_path(at(&theirs, 1), at(&ours, 1)),
            2 if is_of_url(at(&theirs, 2)) && !is_of_url(at(&ours, 2)) => Self::SignedUrl,
            2 => in_query(at(&theirs, 2), at(&ours, 2)),
            _ => {
                let their_headers = SignedHeader::all_of_v4(&theirs);
                let our_headers = SignedHeader::all_of_v4(&ours);
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
                let their_scope = scope(theirs);
                let our_scope = scope(ours);
                if their_scope.first() != our_scope.first() {
                    Self::Date
                } else if their_scope.get(1) != our_scope.get(1) {
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
        let theirs = lines(theirs);
        let ours = lines(ours);
        match line {
            0 => Self::Method,
            1 => in_header("content-md5", at(&theirs, 1), at(&ours, 1)),
            2 => Self::ContentType,
            3 if is_number(at(&theirs, 3)) => Self::SignedUrl,
            3 => Self::Date,
            _ => {
                let rest = |side: &[&[u8]], headers: usize| {
                    side.iter().skip(4 + headers).copied().collect::<Vec<_>>().join(&b'\n')
                };
                let their_headers = SignedHeader::all_of_v1(&theirs);
                let our_headers = SignedHeader::all_of_v1(&ours);
                in_headers(&their_headers, &our_headers).unwrap_or_else(|| {
                    in_resource(&rest(&theirs, their_headers.len()), &rest(&ours, our_headers.len()))
                })
            }
        }
    }
}

/// A header in a signed text.
struct SignedHeader<'a> {
    name: String,
    value: &'a [u8],
}

impl<'a> SignedHeader<'a> {
    fn parse(line: &'a [u8]) -> Self {
        let end = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        Self { name: name(&line[..end]), value: line.get(end + 1..).unwrap_or_default() }
    }

    /// Returns the headers in the lines of a canonical request of V4.
    fn all_of_v4(lines: &[&'a [u8]]) -> Vec<Self> {
        lines.iter().skip(3).take_while(|line| !line.is_empty()).map(|line| Self::parse(line)).collect()
    }

    /// Returns the headers of OSS in the lines of a string to sign of V1.
    fn all_of_v1(lines: &[&'a [u8]]) -> Vec<Self> {
        lines
            .iter()
            .skip(4)
            .take_while(|line| line.starts_with(b"x-oss-"))
            .map(|line| Self::parse(line))
            .collect()
    }
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split(|byte| *byte == b'\n').collect()
}

/// Returns a line, or an empty one past the end.
fn at<'a>(lines: &[&'a [u8]], line: usize) -> &'a [u8] {
    lines.get(line).copied().unwrap_or_default()
}

/// Returns the parts of the scope in a string to sign of V4.
fn scope(text: &[u8]) -> Vec<&[u8]> {
    at(&lines(text), 2).split(|byte| *byte == b'/').collect()
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn name(text: &[u8]) -> String {
    printable(&text[..text.len().min(80)])
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Returns the cause for the first header that differs. Both sides are sorted by name.
fn in_headers(theirs: &[SignedHeader<'_>], ours: &[SignedHeader<'_>]) -> Option<MismatchCause> {
    let mut names: Vec<&str> = theirs.iter().chain(ours).map(|header| header.name.as_str()).collect();
    names.sort_unstable();
    let differing = names.into_iter().find(|name| value(theirs, name) != value(ours, name))?;
    let their_value = value(theirs, differing).unwrap_or_default();
    let our_value = value(ours, differing).unwrap_or_default();
    Some(in_header(differing, their_value, our_value))
}

fn value<'a>(headers: &[SignedHeader<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.name == name).map(|header| header.value)
}

/// Returns the cause for a header with these values. An empty value means absent.
fn in_header(name: &str, theirs: &[u8], ours: &[u8]) -> MismatchCause {
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

/// Returns whether a canonical query is that of a presigned URL.
fn is_of_url(query: &[u8]) -> bool {
    has(query, b"x-oss-signature-version=")
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
    let theirs = sorted_parameters(theirs);
    let ours = sorted_parameters(ours);
    if theirs == ours {
        return MismatchCause::QueryOrder;
    }
    let added: Vec<&[u8]> = theirs.iter().filter(|part| !ours.contains(part)).copied().collect();
    let dropped: Vec<&[u8]> = ours.iter().filter(|part| !theirs.contains(part)).copied().collect();
    let is_same = |a: &&[u8]| dropped.iter().any(|b| variants(a).iter().any(|a| variants(b).contains(a)));
    if added.len() == dropped.len() && !added.is_empty() && added.iter().all(is_same) {
        return MismatchCause::QueryEncoding;
    }
    let odd = added.iter().chain(&dropped).next().copied().unwrap_or_default();
    MismatchCause::Query(name(odd.split(|byte| *byte == b'=').next().unwrap_or_default()))
}

fn sorted_parameters(query: &[u8]) -> Vec<&[u8]> {
    let mut parameters: Vec<_> = query.split(|byte| *byte == b'&').filter(|part| !part.is_empty()).collect();
    parameters.sort_unstable();
    parameters
}

/// Compares resources such as `/bucket/key?acl`, decoded.
fn in_resource(theirs: &[u8], ours: &[u8]) -> MismatchCause {
    let theirs = SignedResource::parse(theirs);
    let ours = SignedResource::parse(ours);
    if theirs.path == ours.path {
        in_query(theirs.query, ours.query)
    } else {
        in_path(theirs.path, ours.path)
    }
}

/// A resource in a signed text of V1.
struct SignedResource<'a> {
    path: &'a [u8],
    query: &'a [u8],
}

impl<'a> SignedResource<'a> {
    fn parse(text: &'a [u8]) -> Self {
        let end = text.iter().position(|byte| *byte == b'?').unwrap_or(text.len());
        Self { path: &text[..end], query: text.get(end + 1..).unwrap_or_default() }
    }
}
