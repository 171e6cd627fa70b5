//! The form of an upload by a browser: its fields and its file ("PostObject").

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::encoding::ParameterPairs;
use super::error::OssError;
use super::request::{OssRequest, RequestTarget, check_key};
use super::response::OssResponse;
use crate::oss::Bucket;

/// The fields and the file of a form.
#[derive(Debug)]
pub(super) struct UploadForm {
    fields: Vec<(String, String)>,
    /// The key, with the name of the file in it.
    pub(super) key: String,
    pub(super) file: Bytes,
}

impl UploadForm {
    /// Reads a form. Fields after the file are ignored.
    pub(super) fn read(request: &OssRequest, body: &Bytes) -> Result<Self, OssError> {
        let content_type = request.header("content-type").unwrap_or_default();
        let (_, boundary) = content_type.split_once("boundary=").ok_or_else(malformed)?;
        let delimiter = format!("--{}", boundary.trim_matches('"'));
        let mut fields = Vec::new();
        let mut rest = body.strip_prefix(delimiter.as_bytes()).ok_or_else(malformed)?;
        let delimiter = [b"\r\n", delimiter.as_bytes()].concat();
        loop {
            rest = rest.strip_prefix(b"\r\n").ok_or_else(malformed)?;
            let at = position(rest, b"\r\n\r\n").ok_or_else(malformed)?;
            let head = String::from_utf8_lossy(&rest[..at]).into_owned();
            let content = &rest[at + 4..];
            let end = position(content, &delimiter).ok_or_else(malformed)?;
            let name = quoted(&head, "; name=\"").ok_or_else(malformed)?;
            if name == "file" {
                let filename = quoted(&head, "; filename=\"").unwrap_or_default();
                let find = |name: &str| field(&fields, name);
                let key = find("key").ok_or_else(malformed)?.replace("${filename}", filename);
                check_key(key.as_bytes())?;
                let file = body.slice_ref(&content[..end]);
                return Ok(Self { fields, key, file });
            }
            let value = String::from_utf8(content[..end].to_vec()).map_err(|_| malformed())?;
            fields.push((name.to_owned(), value));
            rest = &content[end + delimiter.len()..];
        }
    }

    /// Returns the value of a field. The case of its name does not matter.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)
    }

    /// Returns the upload that the form stands for.
    pub(super) fn to_put(&self, bucket: &Bucket) -> OssRequest {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.fields {
            let name = HeaderName::try_from(name.as_str());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
        if let Some(value) = headers.remove("x-oss-content-type") {
            headers.insert(header::CONTENT_TYPE, value);
        }
        let target = RequestTarget::Object(bucket.clone(), self.key.clone().into_bytes());
        OssRequest { method: Method::PUT, target, query: ParameterPairs::default(), headers }
    }

    /// Returns the response of the upload in the form that the fields ask for.
    pub(super) fn respond(&self, mut response: OssResponse) -> OssResponse {
        if let Some(target) = self.field("success_action_redirect") {
            response.status = StatusCode::SEE_OTHER;
            return response.with("location", target);
        }
        response.status = match self.field("success_action_status") {
            Some("200") => StatusCode::OK,
            Some("201") => StatusCode::CREATED,
            Some(_) | None => StatusCode::NO_CONTENT,
        };
        response
    }
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|field| field.0.eq_ignore_ascii_case(name)).map(|field| field.1.as_str())
}

/// Returns the text between `start` and the next quotation mark.
fn quoted<'a>(head: &'a str, start: &str) -> Option<&'a str> {
    head.split_once(start)?.1.split_once('"').map(|(text, _)| text)
}

fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn malformed() -> OssError {
    OssError::new(
        StatusCode::BAD_REQUEST,
        "MalformedPOSTRequest",
        "The body of your POST request is not well-formed multipart/form-data.",
    )
}
