//! The metadata of an upload: stored headers, ACL, storage class, tags.

use http::{HeaderMap, HeaderName, header};

use super::super::encoding::ParameterPairs;
use super::super::error::OssError;
use super::super::request::OssRequest;
use super::super::store::{ObjectMetadata, PRIVATE};

/// Reads the metadata from the headers of a request.
pub(super) fn read(request: &OssRequest) -> Result<ObjectMetadata, OssError> {
    Ok(ObjectMetadata {
        headers: headers(request),
        acl: request.header("x-oss-object-acl").map_or(Ok("default"), object_acl)?,
        class: request.header("x-oss-storage-class").map_or(Ok("Standard"), class)?,
        tags: request.header("x-oss-tagging").map_or(Ok(Vec::new()), tags)?,
    })
}

/// Returns the headers that are stored with the object.
pub(super) fn headers(request: &OssRequest) -> HeaderMap {
    let is_stored = |name: &HeaderName| KEPT.contains(name) || name.as_str().starts_with("x-oss-meta-");
    let all = request.headers.iter().filter(|(name, _)| is_stored(name));
    all.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Parses the ACL of an object.
pub(super) fn object_acl(acl: &str) -> Result<&'static str, OssError> {
    if acl == "default" { Ok("default") } else { bucket_acl(acl) }
}

/// Parses the ACL of a bucket.
pub(super) fn bucket_acl(acl: &str) -> Result<&'static str, OssError> {
    let known = [PRIVATE, "public-read", "public-read-write"].into_iter().find(|word| *word == acl);
    known.ok_or_else(|| OssError::argument("The access control level is unknown."))
}

/// Parses the tags in a header: `a=b&c=d`, percent-encoded.
pub(super) fn tags(text: &str) -> Result<Vec<(String, String)>, OssError> {
    let invalid = || OssError::argument("The x-oss-tagging header is invalid.");
    let pairs = ParameterPairs::parse(text).ok_or_else(invalid)?.0.into_iter();
    let texts =
        pairs.map(|pair| Some((String::from_utf8(pair.name).ok()?, String::from_utf8(pair.value).ok()?)));
    texts.collect::<Option<_>>().ok_or_else(invalid)
}

fn class(text: &str) -> Result<&'static str, OssError> {
    let known = ["Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive"];
    let known = known.into_iter().find(|word| *word == text);
    known.ok_or_else(|| OssError::argument("The storage class is unknown."))
}

const KEPT: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::EXPIRES,
];
