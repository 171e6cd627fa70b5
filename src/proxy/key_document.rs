//! The documents in which a listener hands out an access key: the forms that the credential clients
//! of Alibaba Cloud and of AWS read.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response};
use serde::Serialize;

use super::caller_limiter::CallerPermit;
use super::response_body::ResponseBody;
use crate::telemetry::AccessLogEvent;
use crate::time::Timestamp;

/// A response of a listener that serves access keys.
pub(super) struct KeyDocument {
    body: Bytes,
    content_type: &'static str,
    /// The permit of the caller, if it has limits.
    permit: Option<CallerPermit>,
}

/// An access key to hand out.
pub(super) struct ServedKey<'a> {
    pub(super) id: &'a str,
    pub(super) secret: &'a str,
    pub(super) token: &'a str,
    pub(super) expires: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct VendorDocument<'a> {
    code: &'static str,
    access_key_id: &'a str,
    access_key_secret: &'a str,
    security_token: &'a str,
    expiration: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_updated: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerDocument<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
}

impl KeyDocument {
    /// Creates the document of a credentials URI.
    pub(super) fn of_uri(key: &ServedKey<'_>) -> Self {
        Self::json(&VendorDocument::new(key, None))
    }

    /// Creates the document of the role of an ECS instance.
    pub(super) fn of_instance(key: &ServedKey<'_>, now: Timestamp) -> Self {
        Self::json(&VendorDocument::new(key, Some(now.rfc3339())))
    }

    /// Creates the document of AWS for containers.
    pub(super) fn of_container(key: &ServedKey<'_>) -> Self {
        Self::json(&ContainerDocument {
            access_key_id: key.id,
            secret_access_key: key.secret,
            token: key.token,
            expiration: key.expires.rfc3339(),
        })
    }

    /// Creates a plain text.
    pub(super) fn text(text: String) -> Self {
        Self { body: text.into(), content_type: "text/plain", permit: None }
    }

    fn json(document: &impl Serialize) -> Self {
        // Only maps with keys that are not texts fail.
        let body = serde_json::to_vec(document).expect("a document of texts");
        Self { body: body.into(), content_type: "application/json", permit: None }
    }

    /// Sets the permit of the caller, which is held until the response has ended.
    pub(super) fn with_permit(self, permit: Option<CallerPermit>) -> Self {
        Self { permit, ..self }
    }

    /// Builds the response, which no cache may store.
    pub(super) fn respond(self, mut access: AccessLogEvent) -> Response<ResponseBody> {
        access.answered(200);
        let mut response =
            Response::new(ResponseBody::own(self.body, access).with_permit(self.permit.map(Rc::new)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

impl<'a> VendorDocument<'a> {
    fn new(key: &ServedKey<'a>, last_updated: Option<String>) -> Self {
        Self {
            code: "Success",
            access_key_id: key.id,
            access_key_secret: key.secret,
            security_token: key.token,
            expiration: key.expires.rfc3339(),
            last_updated,
        }
    }
}
