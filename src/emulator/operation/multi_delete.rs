//! DeleteMultipleObjects.

use super::super::error::OssError;
use super::super::response::OssResponse;
use super::context::OperationContext;
use super::xml::{self, KeyEncoding, XmlDocument};

/// Deletes up to a thousand keys. Lists the deleted keys unless the request asks for quiet mode.
pub(super) fn run(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let names = KeyEncoding::asked(&context)?;
    let elements = xml::read(&context.payload.data)?;
    let is_quiet =
        elements.iter().any(|e| e.path == "Delete/Quiet" && e.text.trim().eq_ignore_ascii_case("true"));
    let keys: Vec<&str> =
        elements.iter().filter(|e| e.path == "Delete/Object/Key").map(|e| e.text.as_str()).collect();
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(OssError::malformed_xml());
    }
    let (_, contents, _) = context.locate()?;
    for key in &keys {
        contents.objects.remove(key.as_bytes());
    }
    if is_quiet {
        return Ok(OssResponse::ok());
    }
    let mut document = XmlDocument::new("DeleteResult");
    names.write(&mut document);
    for key in keys {
        document.open("Deleted");
        document.name("Key", key.as_bytes(), names);
        document.close("Deleted");
    }
    Ok(OssResponse::xml(document.finish()))
}

/// The limit on keys per request.
const KEYS_MAX: usize = 1000;
