//! Symbolic links, tags, and restoring archived objects.

use http::StatusCode;

use super::super::encoding::unescape;
use super::super::error::OssError;
use super::super::response::OssResponse;
use super::super::store::{BucketContents, ObjectKind, StoredObject, SummedBody};
use super::object::check_overwrite;
use super::xml::{self, XmlDocument};
use super::{OperationContext, object_metadata};

/// Handles PutSymlink.
pub(super) fn put_symlink(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let (request, now) = (context.request, context.now);
    let target = request.headers.get("x-oss-symlink-target").filter(|target| !target.is_empty());
    let target = target.ok_or_else(|| OssError::argument("The x-oss-symlink-target header is missing."))?;
    let (_, contents, key) = context.place()?;
    check_overwrite(request, contents, key)?;
    let mut object =
        StoredObject::new(SummedBody::of(bytes::Bytes::new()), object_metadata::of(request)?, now);
    object.kind = ObjectKind::Symlink;
    object.link = Some(target.clone());
    let reply = OssResponse::ok().with("etag", &object.etag);
    contents.objects.insert(key.to_vec(), object);
    Ok(reply)
}

/// Handles GetSymlink.
pub(super) fn get_symlink(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let (_, contents, key) = context.place()?;
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

/// Handles PutObjectTagging.
pub(super) fn put_tags(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let elements = xml::read(&context.payload.data)?;
    let texts = |path: &'static str| {
        elements.iter().filter(move |element| element.path == path).map(|element| element.text.clone())
    };
    let tags: Vec<_> = texts("Tagging/TagSet/Tag/Key").zip(texts("Tagging/TagSet/Tag/Value")).collect();
    let (_, contents, key) = context.place()?;
    contents.object_mut(key)?.traits.tags = tags;
    Ok(OssResponse::ok())
}

/// Handles GetObjectTagging.
pub(super) fn get_tags(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let (_, contents, key) = context.place()?;
    let mut document = XmlDocument::new("Tagging");
    document.open("TagSet");
    for (name, value) in &contents.object(key)?.traits.tags {
        document.open("Tag");
        document.text("Key", name);
        document.text("Value", value);
        document.close("Tag");
    }
    document.close("TagSet");
    Ok(OssResponse::xml(document.finish()))
}

/// Handles DeleteObjectTagging.
pub(super) fn delete_tags(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let (_, contents, key) = context.place()?;
    contents.object_mut(key)?.traits.tags.clear();
    Ok(OssResponse::new(StatusCode::NO_CONTENT))
}

/// Handles RestoreObject. An archived object becomes readable immediately. The first request
/// returns 202, later ones return 200.
pub(super) fn restore(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    if !context.payload.data.is_empty() {
        xml::read(&context.payload.data)?;
    }
    let (_, contents, key) = context.place()?;
    let object = contents.object_mut(key)?;
    if !object.is_archived() {
        let message = "The operation is not supported for this resource";
        return Err(OssError::new(StatusCode::BAD_REQUEST, "OperationNotSupported", message));
    }
    let was_restored = std::mem::replace(&mut object.is_restored, true);
    Ok(OssResponse::new(if was_restored { StatusCode::OK } else { StatusCode::ACCEPTED }))
}
