//! The response from OSS, prepared for the client. Error responses are small, and may repeat the
//! security token of the request.

use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::ext::ReasonPhrase;
use tracing::debug;

use super::bucket_filter::BucketFilter;
use super::caller_limiter::CallerPermit;
use super::error::ProxyError;
use super::headers::{BodyFraming, NOTE, settle_answer};
use super::plain_error::TokenSearch;
use super::response_body::ResponseBody;
use crate::oss::{ErrorDocument, ErrorElements};
use crate::telemetry::{AccessLogEvent, ProcessCounters};
use crate::transport::{PooledConnection, SendError};

/// The response head of OSS, with the body not yet read.
pub(super) struct UpstreamResponse {
    pub(super) response: Response<Incoming>,
    connection: Option<PooledConnection>,
    bodiless: bool,
    /// The document that replaces the body, if there is one.
    replaced: Option<Bytes>,
    /// The permit of the caller, if it has limits.
    permit: Option<Rc<CallerPermit>>,
}

/// The body of a response, as far as it was read.
struct ReadBody {
    bytes: Bytes,
    is_whole: bool,
}

/// A reason for which OSS rejects a signed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyRejection {
    /// The clock differs too much from that of OSS: its `ServerTime`, if the document has one.
    Clock(Option<String>),
    /// The access key or the token is unknown or expired: the error code.
    Key(&'static str),
    /// The signature is wrong. If the key has never been accepted, its secret may be wrong.
    Signature,
}

impl UpstreamResponse {
    /// Wraps a response from the upstream and prepares its head for the client.
    pub(super) fn new(
        mut response: Response<Incoming>,
        connection: PooledConnection,
        head_only: bool,
        counters: &ProcessCounters,
    ) -> Result<Self, ProxyError> {
        // guard: protocol-switch
        if response.status().is_informational() {
            return Err(ProxyError::SwitchedProtocols);
        }
        *response.version_mut() = Version::HTTP_11;
        // Drop all extensions (upgrades) except the reason phrase.
        let words = response.extensions_mut().remove::<ReasonPhrase>();
        response.extensions_mut().clear();
        if let Some(words) = words {
            response.extensions_mut().insert(words);
        }
        let bodiless =
            head_only || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let extent = BodyFraming::from_headers(response.headers());
        // The client would not know the coding of the body, or would mistake a truncated one for
        // complete.
        if extent == (BodyFraming::ByEncoding { chunked: false }) {
            return Err(ProxyError::ResponseCoding);
        }
        settle_answer(response.headers_mut(), extent);
        match response.body().size_hint().exact() {
            _ if bodiless => {}
            // hyper has read the length from this header.
            Some(_) if extent == (BodyFraming::ByLength { plainly: true }) => {}
            Some(length) => {
                response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            None => {
                // guard: length-of-encoded-body
                response.headers_mut().remove(CONTENT_LENGTH);
            }
        }
        if extent == BodyFraming::Nowhere && !bodiless && !response.body().is_end_stream() {
            counters.unframed();
            debug!(
                "the upstream response has neither length nor chunks; truncation cannot be detected on plain TCP"
            );
        }
        Ok(Self { response, connection: Some(connection), bodiless, replaced: None, permit: None })
    }

    /// Sets the permit of the caller, which is held until the response has ended.
    pub(super) fn with_permit(self, permit: Option<Rc<CallerPermit>>) -> Self {
        Self { permit, ..self }
    }

    /// Builds the response for the client.
    pub(super) fn respond(self, stall: Duration, mut access: AccessLogEvent) -> Response<ResponseBody> {
        let Self { response, connection, replaced, permit, .. } = self;
        let (head, inner) = response.into_parts();
        access.answered(head.status.as_u16());
        if access.is_logged() {
            access.oss_request_id = text(&head.headers, "x-oss-request-id");
            access.oss_ec = text(&head.headers, "x-oss-ec");
        }
        if let Some(document) = replaced {
            return Response::from_parts(head, ResponseBody::own(document, access));
        }
        let body = ResponseBody::download(inner, connection, stall, access);
        Response::from_parts(head, body.with_permit(permit))
    }

    /// Returns whether the response is a success without an error header.
    pub(super) fn is_good(&self) -> bool {
        let status = self.response.status();
        // 203 means that a callback failed, or that a proxy has altered the response.
        status.is_success()
            && status != StatusCode::NON_AUTHORITATIVE_INFORMATION
            && !self.response.headers().keys().any(|name| *name == ERROR)
    }

    /// Redacts the token in an error response; a success is returned unchanged. The proxy's own
    /// document replaces one that is not understood, is encoded, or exceeds [`INSPECTED_BODY_MAX`].
    pub(super) async fn redact_token(
        mut self,
        token: &TokenSearch,
        stall: Duration,
    ) -> Result<Self, ProxyError> {
        // guard: errors-are-searched
        if self.is_good() {
            return Ok(self);
        }
        self.clean_head(token);
        if self.bodiless {
            return Ok(self);
        }
        let encoded = self.response.headers().contains_key(CONTENT_ENCODING);
        let body = match self.replaced.take() {
            Some(bytes) => ReadBody { bytes, is_whole: true },
            None if encoded => ReadBody { bytes: Bytes::new(), is_whole: false },
            None => self.read(stall, INSPECTED_BODY_MAX).await?,
        };
        let clean = if body.is_whole { token.clean_document(&body.bytes) } else { None };
        let document = match clean {
            Some(clean) => Bytes::from(clean),
            // Under a success status, the proxy's document could be mistaken for the object.
            None if self.response.status().is_success() => return Err(ProxyError::UnknownSuccess),
            None => self.replace_document(&body.bytes, Some(token)),
        };
        let headers = self.response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(document.len()));
        self.replaced = Some(document);
        self.release_connection(body.is_whole);
        Ok(self)
    }

    /// Redacts the token in the reason phrase and the headers of an error response.
    fn clean_head(&mut self, token: &TokenSearch) {
        let has_token = |text: &[u8]| token.clean_text(text).is_some() || token.may_be_in(text);
        let extensions = self.response.extensions_mut();
        if extensions.get::<ReasonPhrase>().is_some_and(|reason| has_token(reason.as_bytes())) {
            extensions.remove::<ReasonPhrase>();
        }
        for (name, value) in self.response.headers_mut() {
            if *name == ERROR {
                continue;
            }
            if let Some(clean) = token.clean_text(value.as_bytes()) {
                *value = HeaderValue::from_bytes(&clean).unwrap_or(REMOVED);
            }
            if token.may_be_in(value.as_bytes()) {
                *value = REMOVED;
            }
        }
        let Some(header) = self.response.headers().get(ERROR).cloned() else { return };
        let document = STANDARD.decode(header.as_bytes()).ok();
        let clean = document.as_deref().and_then(|document| token.clean_document(document));
        if clean.is_none() || clean != document {
            let shown = clean.map_or_else(
                || self.replacement_document(document.as_deref().unwrap_or_default(), Some(token)),
                Bytes::from,
            );
            let value = HeaderValue::try_from(STANDARD.encode(shown)).unwrap_or(REMOVED);
            self.response.headers_mut().insert(ERROR, value);
        }
    }

    /// Returns how OSS rejected the access key, if it did. Reads the body and keeps it for the
    /// client.
    pub(super) async fn key_refused(&mut self, stall: Duration) -> Result<Option<KeyRejection>, ProxyError> {
        let headers = self.response.headers();
        if self.response.status() != StatusCode::FORBIDDEN || headers.contains_key(CONTENT_ENCODING) {
            return Ok(None);
        }
        let document = if self.bodiless {
            let document = headers.get(ERROR).and_then(|value| STANDARD.decode(value).ok());
            document.map(Bytes::from).unwrap_or_default()
        } else {
            if self.response.body().size_hint().lower() > INSPECTED_BODY_MAX as u64 {
                return Ok(None);
            }
            let body = self.read(stall, INSPECTED_BODY_MAX).await?;
            self.release_connection(body.is_whole);
            let content = if body.is_whole { body.bytes } else { self.replace_document(&body.bytes, None) };
            self.response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
            self.replaced = Some(content.clone());
            content
        };
        let elements = ErrorElements::parse(&String::from_utf8_lossy(&document));
        let header = text(self.response.headers(), "x-oss-ec");
        let number = header.as_deref().or_else(|| elements.get("EC"));
        Ok(match elements.get("Code") {
            Some("InvalidAccessKeyId") => Some(KeyRejection::Key("InvalidAccessKeyId")),
            Some("InvalidSecurityToken") => Some(KeyRejection::Key("InvalidSecurityToken")),
            Some("SecurityTokenExpired") => Some(KeyRejection::Key("SecurityTokenExpired")),
            _ if number == Some(TOKEN_EXPIRED) => Some(KeyRejection::Key("SecurityTokenExpired")),
            Some("SignatureDoesNotMatch") => Some(KeyRejection::Signature),
            Some("RequestTimeTooSkewed") => {
                Some(KeyRejection::Clock(elements.get("ServerTime").map(str::to_owned)))
            }
            _ => None,
        })
    }

    /// Replaces a list of buckets by one of the buckets that the caller may know. Errors of OSS are
    /// returned unchanged.
    pub(super) async fn filter_buckets(
        mut self,
        filter: &BucketFilter,
        stall: Duration,
    ) -> Result<Self, ProxyError> {
        if !self.response.status().is_success() {
            return Ok(self);
        }
        if self.response.headers().contains_key(CONTENT_ENCODING) {
            return Err(ProxyError::UnreadBucketList);
        }
        let body = match self.replaced.take() {
            Some(bytes) => ReadBody { bytes, is_whole: true },
            None => self.read(stall, BUCKET_LIST_MAX).await?,
        };
        // guard: long-list-is-not-passed
        if !body.is_whole {
            return Err(ProxyError::UnreadBucketList);
        }
        let list = filter.apply(&body.bytes)?;
        let headers = self.response.headers_mut();
        for name in [ETAG, CONTENT_MD5, CONTENT_CRC64] {
            headers.remove(name);
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(list.len()));
        self.replaced = Some(list.into());
        self.release_connection(true);
        Ok(self)
    }

    /// Sets the header with the reason why the client may retry.
    pub(super) fn note(&mut self, why: &'static str) {
        self.response.headers_mut().insert(NOTE, HeaderValue::from_static(why));
    }

    /// Releases the connection. One with an unread body cannot be reused.
    fn release_connection(&mut self, is_read: bool) {
        let connection = self.connection.take();
        if let Some(connection) = connection.filter(|_| is_read) {
            connection.finish();
        }
    }

    /// Reads the body, or its beginning if it is too long. A body that ends early is an error.
    async fn read(&mut self, stall: Duration, limit: usize) -> Result<ReadBody, ProxyError> {
        let mut read = BytesMut::new();
        loop {
            let frame = tokio::time::timeout(stall, self.response.body_mut().frame()).await;
            let Some(frame) = frame.map_err(|_| SendError::Stalled(stall))? else {
                return Ok(ReadBody { bytes: read.freeze(), is_whole: true });
            };
            if let Ok(data) = frame.map_err(SendError::Reset)?.into_data() {
                read.extend_from_slice(&data);
            }
            if read.len() > limit {
                return Ok(ReadBody { bytes: read.freeze(), is_whole: false });
            }
        }
    }

    /// Returns a document that replaces the error, and adjusts the headers that describe the body.
    fn replace_document(&mut self, beginning: &[u8], token: Option<&TokenSearch>) -> Bytes {
        let headers = self.response.headers_mut();
        for name in [CONTENT_ENCODING, ETAG, CONTENT_MD5] {
            headers.remove(name);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        self.replacement_document(beginning, token)
    }

    /// Builds the proxy's document from the head and the `beginning` of an error document.
    fn replacement_document(&self, beginning: &[u8], token: Option<&TokenSearch>) -> Bytes {
        let status = self.response.status();
        let headers = self.response.headers();
        let document = |beginning: &str| {
            let elements = ErrorElements::parse(beginning);
            let of = |name: &str| elements.get(name).filter(|text| is_word(text)).map(str::to_owned);
            let words = status.canonical_reason().unwrap_or("Error").replace(' ', "");
            let request_id =
                text(headers, "x-oss-request-id").or_else(|| of("RequestId")).unwrap_or_default();
            let number = text(headers, "x-oss-ec").or_else(|| of("EC"));
            let document = ErrorDocument {
                code: &of("Code").unwrap_or(words),
                message: "error text omitted: its format cannot be searched for secrets",
                request_id: &request_id,
                host_id: "oss-signing-proxy",
                extra: &number.as_deref().map(|number| ("EC", number)).into_iter().collect::<Vec<_>>(),
            };
            document.to_xml()
        };
        let redacted = document(&String::from_utf8_lossy(beginning));
        let is_clean = |token: &TokenSearch| token.clean_document(redacted.as_bytes()).is_some();
        if token.is_none_or(is_clean) { redacted.into() } else { document("").into() }
    }
}

/// Returns whether a text is a code, a number or an id, and so no part of a secret that was split.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The error document in base64. OSS sends it in addition to the body or in place of it.
const ERROR: HeaderName = HeaderName::from_static("x-oss-err");
/// The checksum of the body.
const CONTENT_CRC64: HeaderName = HeaderName::from_static("x-oss-hash-crc64ecma");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
/// The `EC` number of OSS for an expired security token.
const TOKEN_EXPIRED: &str = "0002-00000007";
const REMOVED: HeaderValue = HeaderValue::from_static("[removed]");
/// The maximum size of an error document that is inspected; those of OSS have a few KiB.
const INSPECTED_BODY_MAX: usize = 64 * 1024;
/// The maximum size of a list of buckets that is filtered: 1,000 buckets of at most 2 KiB.
const BUCKET_LIST_MAX: usize = 2 * 1024 * 1024;
