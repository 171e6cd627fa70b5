//! Errors returned by the proxy itself, and their mapping to OSS error documents.

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use super::headers::PROXY_ERROR;
use super::response_body::ResponseBody;
use super::signing::SigningKeyError;
use crate::address::{LocateError, RoutingTable, UpstreamId};
use crate::credentials::NoCredentials;
use crate::oss::ErrorDocument;
use crate::policy::DenyReason;
use crate::telemetry::AccessLogEvent;
use crate::transport::{DialError, SendError};

/// An error for which the proxy returns its own response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The request cannot be mapped to an upstream, bucket or key.
    #[error(transparent)]
    Misdirected(#[from] LocateError),
    /// The head has more header lines than this limit.
    #[error("the request has more than {0} header lines; send fewer")]
    TooManyHeaders(usize),
    /// The head is too large: its size and the limit, in bytes.
    #[error(
        "the request head has {0} bytes, more than the limit of {1}; send smaller headers, or raise limits.header_bytes"
    )]
    HeadTooLarge(usize, usize),
    /// The body is too large: its size and the limit, in bytes.
    #[error(
        "the request body has {0} bytes, more than the limit of {1}; use a multipart upload, or raise limits.body"
    )]
    TooLarge(u64, u64),
    /// The limit on requests in flight is reached.
    #[error("too many requests in flight: the limit is {0}")]
    Full(usize),
    /// The transfer coding of the request is unsupported.
    #[error("unsupported transfer coding; only chunked is supported, in a single Transfer-Encoding line")]
    Coding,
    /// The body uses the `aws-chunked` framing of S3.
    #[error(
        "the request body uses the aws-chunked framing of S3, which OSS would store inside the object; use an OSS client, or send plain bodies: for AWS SDKs set AWS_REQUEST_CHECKSUM_CALCULATION=when_required and disable chunked encoding, for minio-go set DisableContentSha256"
    )]
    AwsChunked,
    /// The value of `Expect` is unsupported.
    #[error("unsupported expectation; only 100-continue is supported, in a single Expect line")]
    Expectation,
    /// The access policy denies the request.
    #[error(transparent)]
    Denied(#[from] DenyReason),
    /// No valid credentials are available.
    #[error("{0}; see the proxy log")]
    Credentials(#[from] NoCredentials),
    /// No signing key can be derived from the credentials.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
    /// The host or the target of the upstream request is invalid.
    #[error("the host or the target of the upstream request is invalid")]
    Unsendable,
    /// The upstream request failed before a response was received.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The request to the upstream with this public name failed before a response was received.
    #[error("{0}: {1}")]
    SendTo(String, #[source] SendError),
    /// The upstream returned an informational status, such as 101, that the proxy did not request.
    #[error("the upstream returned an informational status that the proxy did not request")]
    SwitchedProtocols,
    /// The upstream's response has an unsupported transfer coding.
    #[error("the upstream response has an unsupported transfer coding; only chunked is supported")]
    ResponseCoding,
    /// The upstream returned an error with a success status, and its document is not understood.
    #[error("the upstream returned an error with a success status that is not an OSS error document")]
    UnknownSuccess,
}

/// The parts of an error response: status, the proxy's stable code, and the closest OSS code.
struct ErrorResponseParts(StatusCode, &'static str, &'static str);

impl ProxyError {
    /// Returns the error for a request to which upstream `id` has not responded.
    pub(super) fn unanswered(directory: &RoutingTable, id: UpstreamId, why: SendError) -> Self {
        Self::SendTo(public_name(directory, id), why)
    }

    /// Builds the error response. For HEAD the document is left out.
    pub(super) fn response(&self, method: &Method, mut access: AccessLogEvent) -> Response<ResponseBody> {
        let ErrorResponseParts(status, code, oss_code) = self.to_parts();
        access.refused = Some(code);
        access.answered(status.as_u16());
        let id = access.id.to_string();
        let message = self.message();
        let document = ErrorDocument {
            code: oss_code,
            message: &message,
            request_id: &id,
            host_id: "oss-signing-proxy",
            extra: &[],
        };
        let body = if *method == Method::HEAD { String::new() } else { document.to_xml() };
        let mut response = Response::new(ResponseBody::own(body, access));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(PROXY_ERROR, HeaderValue::from_static(code));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(OSS_REQUEST_ID, id);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// Returns the stable error code.
    pub(super) fn code(&self) -> &'static str {
        self.to_parts().1
    }

    /// Returns the status of the response.
    pub(super) fn status(&self) -> StatusCode {
        self.to_parts().0
    }

    /// Returns the message for the client. Details of a failed dial are only logged.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Send(why) => send_message("the upstream", why),
            Self::SendTo(upstream, why) => send_message(upstream, why),
            Self::Misdirected(_)
            | Self::TooManyHeaders(_)
            | Self::HeadTooLarge(..)
            | Self::TooLarge(..)
            | Self::Full(_)
            | Self::Coding
            | Self::AwsChunked
            | Self::Expectation
            | Self::Denied(_)
            | Self::Credentials(_)
            | Self::SigningKey(_)
            | Self::Unsendable
            | Self::SwitchedProtocols
            | Self::ResponseCoding
            | Self::UnknownSuccess => self.to_string(),
        }
    }

    fn to_parts(&self) -> ErrorResponseParts {
        use ErrorResponseParts as Parts;
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
        const GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;
        const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        match self {
            Self::Misdirected(why) => match why {
                LocateError::Malformed(_)
                | LocateError::Host(..)
                | LocateError::HostWithPath(_)
                | LocateError::TwoHosts(..)
                | LocateError::Query(_) => Parts(BAD, "bad-request", "InvalidArgument"),
                LocateError::Method(_) | LocateError::Tunnel => {
                    Parts(StatusCode::METHOD_NOT_ALLOWED, "method", "MethodNotAllowed")
                }
                LocateError::UnknownHost(_)
                | LocateError::NotForwarded(_)
                | LocateError::OtherService(..) => {
                    Parts(StatusCode::MISDIRECTED_REQUEST, "unknown-host", "MisdirectedRequest")
                }
                LocateError::Bucket(_) | LocateError::NoBucket | LocateError::NoBucketList(_) => {
                    Parts(BAD, "invalid-bucket", "InvalidBucketName")
                }
                LocateError::Key(crate::oss::InvalidKey::Escape(_)) => {
                    Parts(BAD, "bad-request", "InvalidArgument")
                }
                LocateError::Key(_) | LocateError::NoKey(_) => Parts(BAD, "invalid-key", "InvalidObjectName"),
                LocateError::Pinned(_) => Parts(FORBIDDEN, "pinned", "AccessDenied"),
            },
            Self::TooManyHeaders(_) | Self::HeadTooLarge(..) => {
                Parts(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "header-limit", "InvalidArgument")
            }
            Self::Coding | Self::Unsendable => Parts(BAD, "bad-request", "InvalidArgument"),
            Self::AwsChunked => Parts(BAD, "s3-body", "InvalidArgument"),
            Self::TooLarge(..) => Parts(BAD, "too-large", "EntityTooLarge"),
            Self::Full(_) => Parts(UNAVAILABLE, "over-capacity", "SlowDown"),
            Self::Expectation => Parts(StatusCode::EXPECTATION_FAILED, "expectation", "ExpectationFailed"),
            Self::Denied(denial) => match denial {
                DenyReason::ReadOnly(_) => Parts(FORBIDDEN, "denied", "AccessDenied"),
                DenyReason::Browser | DenyReason::OpaqueOrigin | DenyReason::CrossSite => {
                    Parts(FORBIDDEN, "browser", "AccessDenied")
                }
                DenyReason::PostForm => Parts(FORBIDDEN, "post-form", "AccessDenied"),
                DenyReason::Preflight => Parts(FORBIDDEN, "preflight", "AccessDenied"),
                DenyReason::Pinned(_) => Parts(FORBIDDEN, "pinned", "AccessDenied"),
            },
            Self::Credentials(_) | Self::SigningKey(_) => {
                Parts(UNAVAILABLE, "credentials-unavailable", "ServiceUnavailable")
            }
            Self::Send(why) | Self::SendTo(_, why) => match why {
                SendError::Dial(DialError::Unreachable { .. }) => {
                    Parts(GATEWAY, "upstream-unreachable", "BadGateway")
                }
                SendError::Dial(DialError::Loop { .. }) => Parts(GATEWAY, "upstream-loop", "BadGateway"),
                SendError::Reset(_) => Parts(GATEWAY, "upstream-reset", "BadGateway"),
                SendError::Invalid(_) => Parts(GATEWAY, "upstream-invalid", "BadGateway"),
                SendError::Client(_) => Parts(BAD, "bad-request", "IncompleteBody"),
                SendError::ClientStalled(_) => Parts(BAD, "bad-request", "RequestTimeout"),
                SendError::TooLarge(_) => Parts(BAD, "too-large", "EntityTooLarge"),
                SendError::Stalled(_) => {
                    Parts(StatusCode::GATEWAY_TIMEOUT, "upstream-stall", "GatewayTimeout")
                }
                SendError::Busy { .. } | SendError::Silent { .. } => {
                    Parts(UNAVAILABLE, "over-capacity", "SlowDown")
                }
            },
            Self::SwitchedProtocols | Self::ResponseCoding | Self::UnknownSuccess => {
                Parts(GATEWAY, "upstream-invalid", "BadGateway")
            }
        }
    }
}

/// Returns the name of an upstream for clients: its route, and its OSS endpoint if it has one.
/// Other names and addresses are only logged.
fn public_name(directory: &RoutingTable, id: UpstreamId) -> String {
    let place = directory.get(id).endpoint.place().map(|place| place.name());
    match (place, directory.wanted(id)) {
        (Some(name), Some(_)) => format!("the upstream {name} of {id}"),
        (Some(name), None) => format!("the upstream {name}"),
        (None, Some(_)) => format!("the upstream of {id}"),
        (None, None) => "the default upstream".to_owned(),
    }
}

/// Returns the message for a request without a response. Details of a failed dial are only logged.
fn send_message(upstream: &str, why: &SendError) -> String {
    match why {
        SendError::Dial(DialError::Unreachable { .. }) => {
            format!("cannot connect to {upstream}; see the proxy log")
        }
        SendError::Dial(DialError::Loop { .. }) => format!(
            "the name of {upstream} resolves to this proxy; set its `connect` to its real address, or correct the DNS record"
        ),
        SendError::Reset(_) => format!("the connection to {upstream} closed before the response"),
        SendError::Invalid(_) => format!("the response from {upstream} is invalid"),
        SendError::Client(_) => "the request body is incomplete or malformed".to_owned(),
        SendError::Stalled(limit) => format!("{upstream} timed out: no progress for {limit:?}"),
        SendError::Busy { waited, .. } => {
            format!("all connections to {upstream} are in use, and none became available within {waited:?}")
        }
        SendError::Silent { waiting, lasting, .. } => {
            format!(
                "{upstream} has not responded to any of {waiting} requests for {lasting:.1?}; retry later"
            )
        }
        SendError::ClientStalled(_) | SendError::TooLarge(_) => why.to_string(),
    }
}

const OSS_REQUEST_ID: HeaderName = HeaderName::from_static("x-oss-request-id");
