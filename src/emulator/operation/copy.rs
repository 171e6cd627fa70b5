//! CopyObject and UploadPartCopy.

use http::StatusCode;

use super::super::encoding::unescape;
use super::super::error::OssError;
use super::super::request::{self, OssRequest};
use super::super::response::OssResponse;
use super::super::store::{ObjectKind, ObjectMetadata, ObjectStore, StoredObject, SummedBody, UploadedPart};
use super::condition::{ConditionHeaders, ConditionResult, check_overwrite};
use super::context::OperationContext;
use super::object::modified;
use super::xml::XmlDocument;
use super::{multipart, object_metadata, range};

/// Handles CopyObject.
pub(super) fn object(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let request = context.request;
    let now = context.now;
    let source = match source(context.store, request)? {
        CopySource::Object(object) => object,
        CopySource::NotModified => return Ok(OssResponse::new(StatusCode::NOT_MODIFIED)),
    };
    let mut traits = object_metadata::read(request)?;
    if is_copied(request, "x-oss-metadata-directive")? {
        traits.headers.clone_from(&source.traits.headers);
    }
    if is_copied(request, "x-oss-tagging-directive")? {
        traits.tags.clone_from(&source.traits.tags);
    }
    let copy =
        StoredObject { traits, modified: now, kind: ObjectKind::Normal, is_restored: false, ..*source };
    let (_, contents, key) = context.locate()?;
    check_overwrite(request, contents, key)?;
    let response = result("CopyObjectResult", &copy).with("x-oss-hash-crc64ecma", copy.crc.to_string());
    contents.objects.insert(key.to_vec(), copy);
    Ok(response)
}

/// Handles UploadPartCopy.
pub(super) fn part(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let request = context.request;
    let now = context.now;
    let number = multipart::part_number(request)?;
    let source = match source(context.store, request)? {
        CopySource::Object(object) => object,
        CopySource::NotModified => return Ok(OssResponse::new(StatusCode::NOT_MODIFIED)),
    };
    let data = match request.header("x-oss-copy-source-range").and_then(range::bounds) {
        Some((Some(first), Some(last))) if first <= last && last < source.data.len() => {
            source.data.slice(first..=last)
        }
        _ => source.data,
    };
    let payload = SummedBody::new(data);
    let upload = multipart::upload(&mut context)?;
    let object = StoredObject::new(payload.clone(), ObjectMetadata::default(), now);
    upload.parts.insert(number, UploadedPart { payload, modified: now });
    Ok(result("CopyPartResult", &object))
}

/// Returns whether the copy takes a property from its source instead of the request.
fn is_copied(request: &OssRequest, directive: &str) -> Result<bool, OssError> {
    match request.header(directive).map(str::to_ascii_uppercase).as_deref() {
        None | Some("COPY") => Ok(true),
        Some("REPLACE") => Ok(false),
        Some(_) => Err(OssError::argument(format!("The {directive} must be COPY or REPLACE."))),
    }
}

/// The source of a copy.
enum CopySource {
    Object(Box<StoredObject>),
    NotModified,
}

/// Resolves `x-oss-copy-source`: `/bucket/key`, percent-encoded, with `+` for a space as some
/// clients write it.
fn source(store: &mut ObjectStore, request: &OssRequest) -> Result<CopySource, OssError> {
    let invalid =
        || OssError::argument("Copy Source must mention the source bucket and key: /sourcebucket/sourcekey.");
    let text = request.header("x-oss-copy-source").ok_or_else(invalid)?;
    if text.contains('?') {
        // A `versionId`: versions are not implemented.
        return Err(OssError::not_implemented());
    }
    let text = text.replace('+', " ");
    let path = unescape(text.as_bytes()).ok_or_else(invalid)?;
    let path = path.strip_prefix(b"/").unwrap_or(&path);
    let at = path.iter().position(|byte| *byte == b'/').ok_or_else(invalid)?;
    let bucket = &path[..at];
    let key = &path[at + 1..];
    request::check_key(key)?;
    let bucket = request::bucket(&String::from_utf8_lossy(bucket))?;
    let object = store.bucket(&bucket)?.object(key)?;
    Ok(match ConditionHeaders::COPY.judge(request, object)? {
        ConditionResult::Holds => CopySource::Object(Box::new(object.clone())),
        ConditionResult::NotModified => CopySource::NotModified,
    })
}

fn result(root: &'static str, object: &StoredObject) -> OssResponse {
    let mut document = XmlDocument::new(root);
    document.text("ETag", &object.etag);
    document.text("LastModified", modified(object.modified));
    OssResponse::xml(document.finish()).with("etag", &object.etag)
}
