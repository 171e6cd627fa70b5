//! Multipart uploads.

use base16ct::upper;
use std::collections::BTreeMap;

use bytes::BytesMut;
use http::StatusCode;
use md5::{Digest as _, Md5};

use super::super::error::OssError;
use super::super::request::OssRequest;
use super::super::response::OssResponse;
use super::super::store::{
    MultipartUpload, ObjectKind, ObjectMetadata, StoredObject, SummedBody, UploadedPart,
};
use super::condition::check_overwrite;
use super::context::OperationContext;
use super::object_metadata;
use super::xml::{self, KeyEncoding, XmlDocument};

/// Handles InitiateMultipartUpload.
pub(super) fn initiate(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let names = KeyEncoding::asked(&context)?;
    let request = context.request;
    let now = context.now;
    let id = format!("{:016X}{:016X}", fastrand::u64(..), fastrand::u64(..));
    let (bucket, contents, key) = context.locate()?;
    check_overwrite(request, contents, key)?;
    let upload = MultipartUpload {
        key: key.to_vec(),
        started: now,
        traits: object_metadata::read(request)?,
        parts: BTreeMap::new(),
    };
    contents.uploads.insert(id.clone(), upload);
    let mut document = XmlDocument::new("InitiateMultipartUploadResult");
    names.write(&mut document);
    document.text("Bucket", bucket.as_str());
    document.name("Key", key, names);
    document.text("UploadId", id);
    Ok(OssResponse::xml(document.finish()))
}

/// Handles UploadPart.
pub(super) fn upload_part(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let number = part_number(context.request)?;
    let now = context.now;
    let payload = std::mem::take(&mut context.payload);
    let upload = upload(&mut context)?;
    let object = StoredObject::new(payload.clone(), ObjectMetadata::default(), now);
    upload.parts.insert(number, UploadedPart { payload, modified: now });
    Ok(super::object::sums(OssResponse::ok(), &object))
}

/// Handles CompleteMultipartUpload, from a list of parts or from all parts.
pub(super) fn complete(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let names = KeyEncoding::asked(&context)?;
    let request = context.request;
    let now = context.now;
    let region = context.identity.region.clone();
    let listed = match request.header("x-oss-complete-all") {
        Some(text) if text.eq_ignore_ascii_case("yes") => None,
        Some(_) => return Err(OssError::argument("The x-oss-complete-all header must be yes.")),
        None => Some(listed_parts(&context.payload)?),
    };
    let upload = upload(&mut context)?;
    let listed = listed.unwrap_or_else(|| {
        upload.parts.iter().map(|(number, part)| (*number, part.payload.etag())).collect()
    });
    let parts = chosen(upload, &listed)?;
    let mut object = assemble(&parts);
    object.traits = upload.traits.clone();
    object.modified = now;
    let id = request.query.get("uploadId").unwrap_or("");
    let (bucket, contents, key) = context.locate()?;
    check_overwrite(request, contents, key)?;
    contents.uploads.remove(id);
    let mut document = XmlDocument::new("CompleteMultipartUploadResult");
    names.write(&mut document);
    document.text("Location", format!("http://{bucket}.oss-{region}.aliyuncs.com/"));
    document.text("Bucket", bucket.as_str());
    document.name("Key", key, names);
    document.text("ETag", &object.etag);
    let response = super::object::sums(OssResponse::xml(document.finish()), &object);
    contents.objects.insert(key.to_vec(), object);
    Ok(response)
}

/// Handles AbortMultipartUpload.
pub(super) fn abort(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    upload(&mut context)?;
    let id = context.query().get("uploadId").unwrap_or("");
    let (_, contents, _) = context.locate()?;
    contents.uploads.remove(id);
    Ok(OssResponse::new(StatusCode::NO_CONTENT))
}

/// Returns the upload that a request names. Its key must be that of the request.
pub(super) fn upload<'c>(context: &'c mut OperationContext<'_>) -> Result<&'c mut MultipartUpload, OssError> {
    let id = context.query().get("uploadId").unwrap_or("");
    let (_, contents, key) = context.locate()?;
    let upload = contents.uploads.get_mut(id).filter(|upload| upload.key == key);
    upload.ok_or_else(|| {
        OssError::new(
            StatusCode::NOT_FOUND,
            "NoSuchUpload",
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
        )
        .ec("0042-00000002")
        .with("UploadId", id)
    })
}

/// Parses `partNumber`, from 1 to 10000.
pub(super) fn part_number(request: &OssRequest) -> Result<u32, OssError> {
    match request.query.get("partNumber").and_then(|text| text.parse().ok()) {
        Some(number @ 1..=10_000) => Ok(number),
        Some(_) | None => Err(OssError::argument("Part number must be an integer between 1 and 10000.")),
    }
}

/// Parses part numbers and entity tags, in document order.
fn listed_parts(payload: &SummedBody) -> Result<Vec<(u32, String)>, OssError> {
    let elements = xml::read(&payload.data)?;
    let texts = |name: &'static str| {
        elements.iter().filter(move |e| e.path == name).map(|e| e.text.trim().to_owned())
    };
    let numbers = texts("CompleteMultipartUpload/Part/PartNumber").map(|text| text.parse().ok());
    let numbers: Option<Vec<u32>> = numbers.collect();
    let tags: Vec<String> = texts("CompleteMultipartUpload/Part/ETag").collect();
    match numbers {
        Some(numbers) if !numbers.is_empty() && numbers.len() == tags.len() => {
            Ok(numbers.into_iter().zip(tags).collect())
        }
        Some(_) | None => Err(OssError::malformed_xml()),
    }
}

/// Validates a list of parts and returns the parts.
fn chosen<'u>(
    upload: &'u MultipartUpload,
    listed: &[(u32, String)],
) -> Result<Vec<&'u UploadedPart>, OssError> {
    let refused =
        |code: &'static str, message: &'static str| OssError::new(StatusCode::BAD_REQUEST, code, message);
    if !listed.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(refused("InvalidPartOrder", "The list of parts was not in ascending order."));
    }
    let mut parts = Vec::new();
    for (number, etag) in listed {
        let part = upload.parts.get(number).filter(|part| {
            part.payload.etag().trim_matches('"').eq_ignore_ascii_case(etag.trim_matches('"'))
        });
        let message = "One or more of the specified parts could not be found or the specified entity tag might not have matched the part's entity tag.";
        parts.push(
            part.ok_or_else(|| refused("InvalidPart", message).with("PartNumber", number.to_string()))?,
        );
    }
    let Some((_, all_but_last)) = parts.split_last() else {
        return Err(refused("InvalidPart", "The upload has no parts."));
    };
    if all_but_last.iter().any(|part| part.payload.data.len() < PART_BYTES_MIN) {
        return Err(refused("EntityTooSmall", "Your proposed upload smaller than the minimum allowed size."));
    }
    Ok(parts)
}

fn assemble(parts: &[&UploadedPart]) -> StoredObject {
    let mut data = BytesMut::new();
    let mut tags = Md5::new();
    for part in parts {
        data.extend_from_slice(&part.payload.data);
        tags.update(part.payload.md5);
    }
    let digits = upper::encode_string(&tags.finalize());
    let whole =
        StoredObject::new(SummedBody::new(data.freeze()), ObjectMetadata::default(), parts[0].modified);
    StoredObject {
        etag: format!("\"{digits}-{}\"", parts.len()),
        md5: None,
        kind: ObjectKind::Multipart,
        ..whole
    }
}

/// The minimum size of every part but the last.
const PART_BYTES_MIN: usize = 100 * 1024;
