//! Operations on one object: write, read, append, delete.

use bytes::BytesMut;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::super::error::OssError;
use super::super::request::OssRequest;
use super::super::response::OssResponse;
use super::super::store::{ObjectKind, StoredObject, SummedBody};
use super::condition::{ConditionHeaders, ConditionResult, check_overwrite};
use super::context::OperationContext;
use super::symlink::resolved;
use super::xml::XmlDocument;
use super::{object_metadata, range};
use crate::time::Timestamp;

/// Handles PutObject.
pub(super) fn put(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let now = context.now;
    let request = context.request;
    let payload = std::mem::take(&mut context.payload);
    let (_, contents, key) = context.locate()?;
    check_overwrite(request, contents, key)?;
    let object = StoredObject::new(payload, object_metadata::read(request)?, now);
    let response = sums(OssResponse::ok(), &object);
    contents.objects.insert(key.to_vec(), object);
    Ok(response)
}

/// Handles GetObject and HeadObject. The body of a HEAD response is removed later.
pub(super) fn get(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let request = context.request;
    let (_, contents, key) = context.locate()?;
    let object = resolved(contents, key)?;
    if ConditionHeaders::READ.judge(request, object)? == ConditionResult::NotModified {
        return Ok(OssResponse::new(StatusCode::NOT_MODIFIED)
            .with("etag", &object.etag)
            .with("last-modified", object.modified.http_date()));
    }
    let mut response = describe(object);
    if request.method == Method::GET && object.is_archived() && !object.is_restored {
        let message = "The operation is not valid for the object's state";
        return Err(OssError::forbidden("InvalidObjectState", message));
    }
    response.body = object.data.clone();
    if let Some(range) = range::asked(request, object.data.len())? {
        response.status = StatusCode::PARTIAL_CONTENT;
        let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, object.data.len());
        response.headers.remove("content-md5");
        response.body = object.data.slice(range);
        response = response.with("content-range", content_range);
    }
    overrides(request, &mut response.headers);
    Ok(response)
}

/// Handles GetObjectMeta.
pub(super) fn meta(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let (_, contents, key) = context.locate()?;
    let object = contents.object(key)?;
    let length = object.data.len().to_string();
    Ok(OssResponse::ok()
        .with("etag", &object.etag)
        .with("last-modified", object.modified.http_date())
        .with("x-oss-hash-crc64ecma", object.crc.to_string())
        .with("content-length", length))
}

/// Handles DeleteObject. Deleting a missing object succeeds.
pub(super) fn delete(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let (_, contents, key) = context.locate()?;
    contents.objects.remove(key);
    Ok(OssResponse::new(StatusCode::NO_CONTENT))
}

/// Handles AppendObject.
pub(super) fn append(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let now = context.now;
    let request = context.request;
    let position = request.query.get("position").and_then(|text| text.parse::<usize>().ok());
    let position = position.ok_or_else(|| OssError::argument("The position is missing or invalid."))?;
    let payload = std::mem::take(&mut context.payload);
    let (_, contents, key) = context.locate()?;
    let old = contents.objects.get(key);
    if old.is_some_and(|object| object.kind != ObjectKind::Appendable) {
        return Err(conflict("ObjectNotAppendable", "The object is not appendable"));
    }
    let length = old.map_or(0, |object| object.data.len());
    if position != length {
        return Err(conflict("PositionNotEqualToLength", "Position is not equal to file length")
            .header("x-oss-next-append-position", length.to_string()));
    }
    let mut data = BytesMut::from(old.map_or(&[][..], |object| &object.data));
    let traits = old.map_or_else(|| object_metadata::read(request), |object| Ok(object.traits.clone()))?;
    data.extend_from_slice(&payload.data);
    let mut object = StoredObject::new(SummedBody::new(data.freeze()), traits, now);
    object.kind = ObjectKind::Appendable;
    object.md5 = None;
    let next = object.data.len().to_string();
    let response = sums(OssResponse::ok().with("x-oss-next-append-position", next), &object);
    contents.objects.insert(key.to_vec(), object);
    Ok(response)
}

/// Handles GetObjectAcl.
pub(super) fn get_acl(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let (_, contents, key) = context.locate()?;
    Ok(acl_document(contents.object(key)?.traits.acl))
}

/// Handles PutObjectAcl.
pub(super) fn put_acl(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let acl = object_metadata::object_acl(context.request.header("x-oss-object-acl").unwrap_or("default"))?;
    let (_, contents, key) = context.locate()?;
    contents.object_mut(key)?.traits.acl = acl;
    Ok(OssResponse::ok())
}

/// Returns the document for an ACL.
pub(super) fn acl_document(acl: &str) -> OssResponse {
    let mut document = XmlDocument::new("AccessControlPolicy");
    document.owner();
    document.open("AccessControlList");
    document.text("Grant", acl);
    document.close("AccessControlList");
    OssResponse::xml(document.finish())
}

/// Formats a time for documents, as in `LastModified`.
pub(super) fn modified(at: Timestamp) -> String {
    at.iso_extended()
}

/// Adds the checksums of an object to a response.
pub(super) fn sums(mut response: OssResponse, object: &StoredObject) -> OssResponse {
    if let Some(md5) = object.md5_base64() {
        response = response.with("content-md5", md5);
    }
    response.with("etag", &object.etag).with("x-oss-hash-crc64ecma", object.crc.to_string())
}

/// Returns the headers for reading an object.
fn describe(object: &StoredObject) -> OssResponse {
    let mut response = OssResponse::ok();
    response.headers = object.traits.headers.clone();
    if !response.headers.contains_key(header::CONTENT_TYPE) {
        response = response.with("content-type", "application/octet-stream");
    }
    if !object.traits.tags.is_empty() {
        response = response.with("x-oss-tagging-count", object.traits.tags.len().to_string());
    }
    if object.is_restored {
        response = response.with("x-oss-restore", "ongoing-request=\"false\"");
    }
    sums(response, object)
        .with("accept-ranges", "bytes")
        .with("last-modified", object.modified.http_date())
        .with("x-oss-object-type", object.kind.as_str())
        .with("x-oss-storage-class", object.traits.class)
}

/// Applies `response-content-type` and related parameters.
fn overrides(request: &OssRequest, headers: &mut HeaderMap) {
    for pair in &request.query.0 {
        let name = pair.name.strip_prefix(b"response-").and_then(|name| HeaderName::from_bytes(name).ok());
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_bytes(&pair.value))
            && OVERRIDABLE.contains(&name)
        {
            headers.insert(name, value);
        }
    }
}

fn conflict(code: &'static str, message: &'static str) -> OssError {
    OssError::new(StatusCode::CONFLICT, code, message)
}

const OVERRIDABLE: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_LANGUAGE,
    header::EXPIRES,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
];
