//! The requests that `doctor` sends to an upstream: one unsigned, to check its clock and identity,
//! and one signed. For a bucket the signed request is a HEAD. If OSS rejects it, a GET fetches the
//! error document, which a response to HEAD cannot have.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use http::header::{AGE, DATE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::address::{LocatedObject, ResolvedEndpoint, RoutingTable, UpstreamId};
use crate::app::system_env::SystemEnv;
use crate::credentials::Credentials;
use crate::oss::{Bucket, ErrorElements, Key, Operation, Query};
use crate::proxy::{AddressedRequest, SigningKeyError, destination, signing_key};
use crate::sign::{SignatureVersion, SigningTime};
use crate::time::{Clock as _, Timestamp};
use crate::transport::{
    RequestBody, ResponseTimeout, SendError, TrustStoreId, UpstreamDestination, UpstreamExchange,
    UpstreamTransport,
};

/// An upstream to probe, and the requests to send.
pub(super) struct ProbeRequest<'a> {
    /// The HEAD, if there is a bucket.
    head: Option<AddressedRequest>,
    /// The GET, whose response has a document.
    get: AddressedRequest,
    pub(super) endpoint: ResolvedEndpoint,
    signature: SignatureVersion,
    destination: Rc<UpstreamDestination>,
    transport: &'a UpstreamTransport,
}

/// A response. Its text comes from OSS; only parts that cannot contain data of this proxy are
/// shown.
#[derive(Debug)]
pub(super) struct ProbeResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    document: ErrorElements,
    /// The number of seconds that the server's clock is ahead of the local one.
    pub(super) ahead_s: Option<i64>,
}

/// The response to a signed request.
#[derive(Debug)]
pub(super) struct SignedProbe {
    /// The operation, in the terms of OSS.
    pub(super) what: String,
    pub(super) response: ProbeResponse,
    /// The response to the preceding HEAD, which was rejected.
    pub(super) refused: Option<ProbeResponse>,
}

/// A failure to get a response to a signed request.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    /// No response arrived.
    #[error(transparent)]
    Send(#[from] SendError),
    /// No signing key can be derived from the credentials.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
}

impl<'a> ProbeRequest<'a> {
    /// Prepares requests about `bucket`, or about all buckets.
    pub(super) fn new(
        bucket: Option<&Bucket>,
        upstream: UpstreamId,
        routing_table: &RoutingTable,
        signature: SignatureVersion,
        transport: &'a UpstreamTransport,
    ) -> Self {
        let request = |method: Method, query: Query| {
            let operation = Operation::classify(&method, bucket.is_none(), true, &query, &HeaderMap::new());
            let object = LocatedObject {
                operation: operation.unwrap_or(Operation::ListBuckets),
                bucket: bucket.cloned(),
                key: Key::default(),
                query,
                upstream,
                host: None,
                oss_endpoint: None,
                is_set_up_name: false,
            };
            AddressedRequest { method, object }
        };
        let head = bucket.map(|_| request(Method::HEAD, Query::default()));
        let mut query = Query::default();
        if bucket.is_some() {
            query.push("bucketInfo", "");
        } else {
            query.push("max-keys", "1");
        }
        let get = request(Method::GET, query);
        let endpoint = ResolvedEndpoint::resolve(&get.object, routing_table);
        let destination = Rc::new(destination(&endpoint, TrustStoreId(0)));
        Self { head, get, endpoint, signature, destination, transport }
    }

    /// Sends the unsigned request.
    pub(super) async fn unsigned(&self) -> Result<ProbeResponse, SendError> {
        self.send(&self.get, HeaderMap::new()).await
    }

    /// Sends the signed request. The signing time is `ahead_s` seconds ahead of the local clock.
    pub(super) async fn signed(
        &self,
        with: &Arc<Credentials>,
        ahead_s: i64,
    ) -> Result<SignedProbe, ProbeError> {
        let (Some(head), Some(bucket)) = (&self.head, &self.get.object.bucket) else {
            let response = self.sign(&self.get, with, ahead_s).await?;
            return Ok(SignedProbe { what: "ListBuckets".to_owned(), response, refused: None });
        };
        let response = self.sign(head, with, ahead_s).await?;
        if response.status.is_success() {
            return Ok(SignedProbe { what: format!("HEAD of {bucket}"), response, refused: None });
        }
        let refused = Some(response);
        let response = self.sign(&self.get, with, ahead_s).await?;
        Ok(SignedProbe { what: format!("GetBucketInfo of {bucket}"), response, refused })
    }

    async fn sign(
        &self,
        request: &AddressedRequest,
        with: &Arc<Credentials>,
        ahead_s: i64,
    ) -> Result<ProbeResponse, ProbeError> {
        let now = SystemEnv.now().unix_s().saturating_add(ahead_s);
        let signing_time = SigningTime::new(Timestamp::from_unix_s(now));
        let key = signing_key(with, self.signature, &self.endpoint, &signing_time)?;
        let mut headers = HeaderMap::new();
        key.sign(&request.signable(&headers), &signing_time).apply(&mut headers);
        Ok(self.send(request, headers).await?)
    }

    async fn send(
        &self,
        addressed: &AddressedRequest,
        headers: HeaderMap,
    ) -> Result<ProbeResponse, SendError> {
        let mut request = Request::new(RequestBody::none());
        request.method_mut().clone_from(&addressed.method);
        // A resolved endpoint produces only valid targets and hosts.
        *request.uri_mut() = self.endpoint.target(&addressed.object).parse().unwrap_or_default();
        *request.headers_mut() = headers;
        let host = HeaderValue::from_str(&self.endpoint.host).unwrap_or(HeaderValue::from_static(""));
        request.headers_mut().insert(HOST, host);
        let begun = SystemEnv.now();
        let UpstreamExchange { mut response, connection, .. } =
            self.transport.send(&self.destination, request, ResponseTimeout::Usual).await?;
        let ended = SystemEnv.now();
        let document = ProbeDocument::read(&mut response, self.transport.stall()).await?;
        if document.is_whole {
            connection.finish();
        }
        let (head, _) = response.into_parts();
        let ahead_s = ahead(&head.headers, begun, ended);
        Ok(ProbeResponse {
            status: head.status,
            headers: head.headers,
            document: ErrorElements::parse(&document.text),
            ahead_s,
        })
    }
}

impl ProbeResponse {
    /// Returns the text of this element, if it is a word of letters, digits and the punctuation of
    /// names.
    pub(super) fn element(&self, name: &str) -> Option<&str> {
        word(self.document.get(name)?)
    }

    /// Returns the value of the header, if it is such a word.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        word(self.headers.get(name)?.to_str().ok()?)
    }

    /// Returns the message of the document, whatever its content. It may be searched, but must not
    /// be shown.
    pub(super) fn message(&self) -> &str {
        self.document.get("Message").unwrap_or_default()
    }

    /// Returns the region in the scope of the string to sign that OSS expected.
    pub(super) fn scope_region(&self) -> Option<&str> {
        let rest = self.document.get("StringToSign")?.strip_prefix("OSS4-HMAC-SHA256\n")?;
        let (_, scope) = rest.split_once('\n')?;
        word(scope.lines().next()?.split('/').nth(1)?)
    }

    /// Returns status, code, number and request id, for a user.
    pub(super) fn summary(&self) -> String {
        let mut text = self.status.as_u16().to_string();
        for word in [self.element("Code"), self.number()].into_iter().flatten() {
            text.push(' ');
            text.push_str(word);
        }
        if let Some(id) = self.header(&REQUEST_ID) {
            text.push_str(", request ");
            text.push_str(id);
        }
        text
    }

    /// Returns OSS's number for the error.
    pub(super) fn number(&self) -> Option<&str> {
        self.header(&NUMBER).or_else(|| self.element("EC"))
    }
}

/// The document in a response, as far as it was read.
struct ProbeDocument {
    text: String,
    is_whole: bool,
}

impl ProbeDocument {
    /// Reads the body until it ends, or until it is longer than an error.
    async fn read(response: &mut Response<Incoming>, stall: Duration) -> Result<Self, SendError> {
        let mut read = BytesMut::new();
        loop {
            let frame = tokio::time::timeout(stall, response.body_mut().frame()).await;
            let Some(frame) = frame.map_err(|_| SendError::Stalled(stall))? else { break };
            if let Ok(data) = frame.map_err(SendError::Reset)?.into_data() {
                read.extend_from_slice(&data);
            }
            if read.len() > INSPECTED_BODY_MAX {
                return Ok(Self { text: String::from_utf8_lossy(&read).into_owned(), is_whole: false });
            }
        }
        let text = match response.headers().get(ERROR) {
            Some(error) if read.is_empty() => {
                String::from_utf8_lossy(&STANDARD.decode(error).unwrap_or_default()).into_owned()
            }
            Some(_) | None => String::from_utf8_lossy(&read).into_owned(),
        };
        Ok(Self { text, is_whole: true })
    }
}

/// Returns how many seconds the server's clock is ahead of the local one, however many. A cached
/// response does not show it.
fn ahead(headers: &HeaderMap, begun: Timestamp, ended: Timestamp) -> Option<i64> {
    if headers.contains_key(AGE) {
        return None;
    }
    let theirs = Timestamp::parse_http_date(headers.get(DATE)?.to_str().ok()?)?;
    Some(theirs.unix_s() - i64::midpoint(begun.unix_s(), ended.unix_s()))
}

fn word(text: &str) -> Option<&str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!text.is_empty() && text.len() <= WORD_MAX && text.bytes().all(fits)).then_some(text)
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-oss-request-id");
const NUMBER: HeaderName = HeaderName::from_static("x-oss-ec");
const ERROR: HeaderName = HeaderName::from_static("x-oss-err");
/// The longest body that is searched for an error. Those of OSS have a few KiB.
const INSPECTED_BODY_MAX: usize = 64 * 1024;
/// The longest word of OSS; tokens are longer.
const WORD_MAX: usize = 128;
