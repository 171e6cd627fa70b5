//! Restoring archived objects.

use http::StatusCode;

use super::super::error::OssError;
use super::super::response::OssResponse;
use super::context::OperationContext;
use super::xml;

/// Handles RestoreObject. An archived object becomes readable immediately. The first request
/// returns 202, later ones return 200.
pub(super) fn restore(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    if !context.payload.data.is_empty() {
        xml::read(&context.payload.data)?;
    }
    let (_, contents, key) = context.locate()?;
    let object = contents.object_mut(key)?;
    if !object.is_archived() {
        let message = "The operation is not supported for this resource";
        return Err(OssError::new(StatusCode::BAD_REQUEST, "OperationNotSupported", message));
    }
    let was_restored = std::mem::replace(&mut object.is_restored, true);
    Ok(OssResponse::new(if was_restored { StatusCode::OK } else { StatusCode::ACCEPTED }))
}
