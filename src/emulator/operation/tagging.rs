//! Tags of objects.

use http::StatusCode;

use super::super::error::OssError;
use super::super::response::OssResponse;
use super::context::OperationContext;
use super::xml::{self, XmlDocument};

/// Handles PutObjectTagging.
pub(super) fn put_tags(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let elements = xml::read(&context.payload.data)?;
    let texts = |path: &'static str| {
        elements.iter().filter(move |element| element.path == path).map(|element| element.text.clone())
    };
    let tags: Vec<_> = texts("Tagging/TagSet/Tag/Key").zip(texts("Tagging/TagSet/Tag/Value")).collect();
    let (_, contents, key) = context.locate()?;
    contents.object_mut(key)?.traits.tags = tags;
    Ok(OssResponse::ok())
}

/// Handles GetObjectTagging.
pub(super) fn get_tags(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let (_, contents, key) = context.locate()?;
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
    let (_, contents, key) = context.locate()?;
    contents.object_mut(key)?.traits.tags.clear();
    Ok(OssResponse::new(StatusCode::NO_CONTENT))
}
