//! Symbolic links.

use http::StatusCode;

use super::super::encoding::unescape;
use super::super::error::OssError;
use super::super::response::OssResponse;
use super::super::store::{BucketContents, ObjectKind, StoredObject, SummedBody};
use super::condition::check_overwrite;
use super::context::OperationContext;
use super::object_metadata;

/// Handles PutSymlink.
pub(super) fn put_symlink(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let request = context.request;
    let now = context.now;
    let target = request.headers.get("x-oss-symlink-target").filter(|target| !target.is_empty());
    let target = target.ok_or_else(|| OssError::argument("The x-oss-symlink-target header is missing."))?;
    let (_, contents, key) = context.locate()?;
    check_overwrite(request, contents, key)?;
    let mut object =
        StoredObject::new(SummedBody::new(bytes::Bytes::new()), object_metadata::read(request)?, now);
    object.kind = ObjectKind::Symlink;
    object.link = Some(target.clone());
    let response = OssResponse::ok().with("etag", &object.etag);
    contents.objects.insert(key.to_vec(), object);
    Ok(response)
}

/// Handles GetSymlink.
pub(super) fn get_symlink(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let (_, contents, key) = context.locate()?;
    let object = contents.object(key)?;
    let Some(target) = &object.link else {
        return Err(OssError::new(StatusCode::BAD_REQUEST, "NotSymlink", "The object is not a symlink."));
    };
    Ok(OssResponse::ok()
        .with("etag", &object.etag)
        .with("last-modified", object.modified.http_date())
        .with("x-oss-symlink-target", target.as_bytes()))
}

/// Returns the object of a key, or the target if the object is a symbolic link.
pub(super) fn resolved<'c>(contents: &'c BucketContents, key: &[u8]) -> Result<&'c StoredObject, OssError> {
    let object = contents.object(key)?;
    let Some(link) = &object.link else {
        return Ok(object);
    };
    // Some clients write a space as a plus.
    let text = link.as_bytes().iter().map(|byte| if *byte == b'+' { b' ' } else { *byte });
    let target = unescape(&text.collect::<Vec<_>>()).unwrap_or_default();
    let found = contents.objects.get(&target).filter(|object| object.link.is_none());
    found.ok_or_else(|| {
        let message = "The symlink target object does not exist.";
        OssError::new(StatusCode::NOT_FOUND, "SymlinkTargetNotExist", message)
    })
}
