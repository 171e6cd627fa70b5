//! Responses of operations, and the headers common to all responses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::error::OssError;
use crate::oss::ErrorDocument;
use crate::time::Timestamp;

/// The response of an operation.
#[derive(Debug)]
pub(super) struct OssResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Set for HEAD too, where only its length is sent.
    pub(super) body: Bytes,
}

/// The details of a request that its response repeats.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseContext<'a> {
    pub(super) method: &'a Method,
    pub(super) host: &'a str,
    pub(super) request_id: &'a str,
}

impl OssResponse {
    pub(super) fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// 200 without a body.
    pub(super) fn ok() -> Self {
        Self::new(StatusCode::OK)
    }

    /// 200 with an XML document.
    pub(super) fn xml(document: Vec<u8>) -> Self {
        let mut response = Self::ok().with("content-type", "application/xml");
        response.body = document.into();
        response
    }

    /// Sets a header. A value that is not valid in a header is dropped.
    pub(super) fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        if let Ok(value) = HeaderValue::from_bytes(value.as_ref()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Builds an error response. For HEAD the document is sent in a header.
    pub(super) fn refusal(failure: OssError, about: ResponseContext<'_>) -> Self {
        let parts = failure.into_parts();
        let mut extra: Vec<(&str, &str)> =
            parts.extra.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let help = format!("https://api.aliyun.com/troubleshoot?q={}", parts.ec);
        if !parts.ec.is_empty() {
            extra.extend([("EC", parts.ec), ("RecommendDoc", help.as_str())]);
        }
        let document = ErrorDocument {
            code: &parts.code,
            message: &parts.message,
            request_id: about.request_id,
            host_id: about.host,
            extra: &extra,
        }
        .to_xml();
        let mut response = Self::new(parts.status).with("content-type", "application/xml");
        if !parts.ec.is_empty() {
            response = response.with("x-oss-ec", parts.ec);
        }
        for (name, value) in &parts.headers {
            response = response.with(name, value);
        }
        if about.method == Method::HEAD {
            return response.with("x-oss-err", STANDARD.encode(document));
        }
        response.body = document.into();
        response
    }

    /// Adds the headers common to all responses.
    pub(super) fn finish(self, about: ResponseContext<'_>, now: Timestamp) -> Self {
        let length = self.body.len().to_string();
        let has_length = self.status != StatusCode::NO_CONTENT && self.status != StatusCode::NOT_MODIFIED;
        let mut response = self
            .with("server", "AliyunOSS")
            .with("date", now.http_date())
            .with("x-oss-request-id", about.request_id)
            .with("x-oss-server-time", "1");
        if has_length && !response.headers.contains_key(header::CONTENT_LENGTH) {
            response = response.with("content-length", length);
        }
        if about.method == Method::HEAD {
            response.body = Bytes::new();
        }
        response
    }
}
