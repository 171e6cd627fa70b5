//! Errors returned by the proxy itself, and their mapping to OSS error documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use super::caller_limiter::CallerLimitError;
use super::form_upload::FormError;
use super::headers::PROXY_ERROR;
use super::judged_body::JudgedBodyError;
use super::key_error::KeyRequestError;
use super::permission_denial::PermissionDenial;
use super::response_body::ResponseBody;
use super::signing::SigningKeyError;
use crate::address::{LocateError, RoutingTable, UpstreamId};
use crate::caller::{HandOutError, IdentityError, JwtError, MalformedKind};
use crate::credentials::NoCredentials;
use crate::oss::{ErrorDocument, InvalidBucketList};
use crate::policy::{DenyReason, NotUnderstood};
use crate::telemetry::{AccessLogEvent, AuditUnavailable, RejectionCode};
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
    /// The client is not identified.
    #[error(transparent)]
    Unidentified(#[from] IdentityError),
    /// The access policy denies the request.
    #[error(transparent)]
    Denied(#[from] DenyReason),
    /// The rights of the caller do not grant all that the request requires.
    #[error(transparent)]
    NotGranted(#[from] PermissionDenial),
    /// The request cannot be judged.
    #[error(transparent)]
    NotUnderstood(#[from] NotUnderstood),
    /// The body that is judged cannot be read, or is not the one that the client described.
    #[error(transparent)]
    Body(#[from] JudgedBodyError),
    /// The form upload cannot be verified.
    #[error(transparent)]
    Form(#[from] FormError),
    /// The request exceeds a limit of its caller.
    #[error(transparent)]
    CallerLimit(#[from] CallerLimitError),
    /// The request for access keys is rejected.
    #[error(transparent)]
    Keys(#[from] KeyRequestError),
    /// The audit log cannot be written, and requests depend on it.
    #[error(transparent)]
    Audit(#[from] AuditUnavailable),
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
    /// The upstream returned a list of buckets that is too long or encoded, so it cannot be filtered.
    #[error("the upstream returned a list of buckets that is too long or encoded, so it cannot be filtered")]
    UnreadBucketList,
    /// The upstream returned another document than a list of buckets, so it cannot be filtered.
    #[error("the upstream returned a list of buckets that cannot be filtered: {0}")]
    InvalidBucketList(#[from] InvalidBucketList),
    /// The upstream returned an error with a success status, and its document is not understood.
    #[error("the upstream returned an error with a success status that is not an OSS error document")]
    UnknownSuccess,
}

/// The parts of an error response: status, the proxy's stable code, and the closest OSS code.
struct ErrorResponseParts(StatusCode, RejectionCode, &'static str);

impl ProxyError {
    /// Returns the error for a request to which upstream `id` has not responded.
    pub(super) fn unanswered(routing_table: &RoutingTable, id: UpstreamId, why: SendError) -> Self {
        Self::SendTo(public_name(routing_table, id), why)
    }

    /// Builds the error response. For HEAD the document is sent in a header.
    pub(super) fn response(&self, method: &Method, mut access: AccessLogEvent) -> Response<ResponseBody> {
        let ErrorResponseParts(status, code, oss_code) = self.to_parts();
        access.refused = Some(code.as_str());
        access.answered(status.as_u16());
        let id = access.id.to_string();
        let elapsed_ms = u64::try_from(access.elapsed().as_millis()).unwrap_or(u64::MAX);
        let message = self.message();
        let mut elements = vec![("ProxyError", code.as_str().to_owned())];
        let mut ec = None;
        if let Self::Unidentified(why) = self {
            elements.extend(why.elements());
            ec = why.ec();
            elements.extend(ec.map(|ec| ("EC", ec.to_owned())));
        }
        if let Self::NotGranted(denial) = self {
            elements.extend(denial.elements());
        }
        let extra: Vec<_> = elements.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let document = ErrorDocument {
            code: oss_code,
            message: &message,
            request_id: &id,
            host_id: "oss-signing-proxy",
            extra: &extra,
        };
        let document = document.to_xml();
        let (body, head_document) =
            if *method == Method::HEAD { (String::new(), Some(document)) } else { (document, None) };
        let mut response = Response::new(ResponseBody::own(body, access));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(PROXY_ERROR, HeaderValue::from_static(code.as_str()));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(OSS_REQUEST_ID, id);
        }
        headers.insert(OSS_SERVER_TIME, HeaderValue::from(elapsed_ms));
        headers.extend(ec.map(|ec| (OSS_ERROR_NUMBER, HeaderValue::from_static(ec))));
        // OSS sends the document of a HEAD request in a header, where SDKs read it.
        if let Some(document) = head_document
            && let Ok(document) = HeaderValue::try_from(STANDARD.encode(document))
        {
            headers.insert(OSS_ERROR, document);
        }
        // It may differ from the local time. Some SDKs correct their clock by this header, others by
        // the document.
        if let Self::Unidentified(why) = self
            && let Some(date) = why.server_time()
            && let Ok(date) = HeaderValue::try_from(date.http_date())
        {
            headers.insert(DATE, date);
        }
        if status == StatusCode::UNAUTHORIZED {
            let is_invalid = matches!(self, Self::Unidentified(IdentityError::Jwt(_)));
            // Chromium reads one challenge of a line, and ignores a line with another one behind it.
            headers.append(WWW_AUTHENTICATE, BASIC_CHALLENGE);
            headers.append(WWW_AUTHENTICATE, if is_invalid { INVALID_TOKEN } else { BEARER_CHALLENGE });
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// Returns the stable error code.
    pub(super) fn code(&self) -> RejectionCode {
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
            | Self::Unidentified(_)
            | Self::Denied(_)
            | Self::NotGranted(_)
            | Self::NotUnderstood(_)
            | Self::Body(_)
            | Self::Form(_)
            | Self::CallerLimit(_)
            | Self::Keys(_)
            | Self::Audit(_)
            | Self::Credentials(_)
            | Self::SigningKey(_)
            | Self::Unsendable
            | Self::SwitchedProtocols
            | Self::ResponseCoding
            | Self::UnreadBucketList
            | Self::InvalidBucketList(_)
            | Self::UnknownSuccess => self.to_string(),
        }
    }

    fn to_parts(&self) -> ErrorResponseParts {
        use ErrorResponseParts as Parts;
        use RejectionCode as Code;
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
                | LocateError::Query(_) => Parts(BAD, Code::BadRequest, "InvalidArgument"),
                LocateError::Method(_) | LocateError::Tunnel => {
                    Parts(StatusCode::METHOD_NOT_ALLOWED, Code::Method, "MethodNotAllowed")
                }
                LocateError::UnknownHost(_)
                | LocateError::NotForwarded(_)
                | LocateError::OtherService(..) => {
                    Parts(StatusCode::MISDIRECTED_REQUEST, Code::UnknownHost, "MisdirectedRequest")
                }
                LocateError::Bucket(_) | LocateError::NoBucket | LocateError::NoBucketList(_) => {
                    Parts(BAD, Code::InvalidBucket, "InvalidBucketName")
                }
                LocateError::Key(crate::oss::InvalidKey::Escape(_)) => {
                    Parts(BAD, Code::BadRequest, "InvalidArgument")
                }
                LocateError::Key(_) | LocateError::NoKey(_) => {
                    Parts(BAD, Code::InvalidKey, "InvalidObjectName")
                }
                LocateError::Pinned(_) => Parts(FORBIDDEN, Code::Pinned, "AccessDenied"),
            },
            Self::TooManyHeaders(_) | Self::HeadTooLarge(..) => {
                Parts(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Code::HeaderLimit, "InvalidArgument")
            }
            Self::Coding | Self::Unsendable => Parts(BAD, Code::BadRequest, "InvalidArgument"),
            Self::AwsChunked => Parts(BAD, Code::S3Body, "InvalidArgument"),
            Self::TooLarge(..) => Parts(BAD, Code::TooLarge, "EntityTooLarge"),
            Self::Full(_) => Parts(UNAVAILABLE, Code::OverCapacity, "SlowDown"),
            Self::Expectation => {
                Parts(StatusCode::EXPECTATION_FAILED, Code::Expectation, "ExpectationFailed")
            }
            Self::Unidentified(why) => Parts::without_identity(why),
            Self::Denied(why) => Parts::of_denial(why),
            Self::NotGranted(_) => Parts(FORBIDDEN, Code::Denied, "AccessDenied"),
            Self::NotUnderstood(_) => Parts(BAD, Code::NotUnderstood, "InvalidArgument"),
            Self::Body(why) => Parts::of_judged_body(*why),
            Self::Form(why) => Parts::of_form(why),
            Self::CallerLimit(_) => Parts(UNAVAILABLE, Code::CallerLimit, "SlowDown"),
            Self::Keys(why) => Parts::without_keys(why),
            Self::Audit(_) => Parts(UNAVAILABLE, Code::AuditUnavailable, "ServiceUnavailable"),
            Self::Credentials(_) | Self::SigningKey(_) => {
                Parts(UNAVAILABLE, Code::CredentialsUnavailable, "ServiceUnavailable")
            }
            Self::Send(why) | Self::SendTo(_, why) => Parts::without_response(why),
            Self::SwitchedProtocols
            | Self::ResponseCoding
            | Self::UnreadBucketList
            | Self::InvalidBucketList(_)
            | Self::UnknownSuccess => Parts(GATEWAY, Code::UpstreamInvalid, "BadGateway"),
        }
    }
}

impl ErrorResponseParts {
    /// Returns the parts for a client that is not identified.
    fn without_identity(why: &IdentityError) -> Self {
        use RejectionCode as Code;
        const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
        match why {
            IdentityError::Missing
            | IdentityError::UnknownPeer
            | IdentityError::CertificateUsage
            | IdentityError::WithdrawnCertificate => Self(FORBIDDEN, Code::NoIdentity, "AccessDenied"),
            IdentityError::NoToken | IdentityError::NoTokenAlone | IdentityError::UnknownToken => {
                Self(StatusCode::UNAUTHORIZED, Code::NoIdentity, "AccessDenied")
            }
            IdentityError::Jwt(why) => Self::of_jwt(why),
            IdentityError::UnknownKey { .. } | IdentityError::UnexpectedToken { .. } => {
                Self(FORBIDDEN, Code::NoIdentity, "InvalidAccessKeyId")
            }
            IdentityError::TokenExpired { .. } => Self(FORBIDDEN, Code::Expired, "SecurityTokenExpired"),
            IdentityError::TokenTooOld => Self(FORBIDDEN, Code::Expired, "InvalidSecurityToken"),
            IdentityError::Mismatch(_) | IdentityError::UnsignedParameter(_) => {
                Self(FORBIDDEN, Code::BadSignature, "SignatureDoesNotMatch")
            }
            IdentityError::UrlParameter(_) => Self(FORBIDDEN, Code::BadSignature, "AccessDenied"),
            IdentityError::LongLived { .. } => Self(FORBIDDEN, Code::Denied, "AccessDenied"),
            IdentityError::OtherDay { .. } => {
                Self(StatusCode::BAD_REQUEST, Code::ClockSkew, "InvalidArgument")
            }
            IdentityError::Skewed { .. } => Self(FORBIDDEN, Code::ClockSkew, "RequestTimeTooSkewed"),
            IdentityError::Expired { .. } | IdentityError::ExpiredCertificate { .. } => {
                Self(FORBIDDEN, Code::Expired, "AccessDenied")
            }
            IdentityError::NotYetValid { .. } => Self(FORBIDDEN, Code::ClockSkew, "AccessDenied"),
            IdentityError::Malformed(malformed) => match malformed.kind() {
                MalformedKind::Argument => {
                    Self(StatusCode::BAD_REQUEST, Code::MalformedSignature, "InvalidArgument")
                }
                MalformedKind::Denied => Self(FORBIDDEN, Code::MalformedSignature, "AccessDenied"),
            },
        }
    }

    /// Returns the parts for a request that the policy of the listener denies.
    fn of_denial(why: &DenyReason) -> Self {
        let code = match why {
            DenyReason::ReadOnly(_) | DenyReason::NoRights | DenyReason::ReadOnlyCaller(_) => {
                RejectionCode::Denied
            }
            DenyReason::Browser | DenyReason::OpaqueOrigin | DenyReason::CrossSite => RejectionCode::Browser,
            DenyReason::PostForm => RejectionCode::PostForm,
            DenyReason::Preflight => RejectionCode::Preflight,
            DenyReason::Pinned(_) => RejectionCode::Pinned,
        };
        Self(StatusCode::FORBIDDEN, code, "AccessDenied")
    }

    /// Returns the parts for a body that cannot be judged.
    fn of_judged_body(why: JudgedBodyError) -> Self {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        match why {
            JudgedBodyError::TooLong(_) => Self(BAD, RejectionCode::TooLarge, "EntityTooLarge"),
            JudgedBodyError::Digest => Self(BAD, RejectionCode::BadRequest, "InvalidDigest"),
            JudgedBodyError::Broken => Self(BAD, RejectionCode::BadRequest, "RequestTimeout"),
        }
    }

    /// Returns the parts for a form upload that cannot be verified.
    fn of_form(why: &FormError) -> Self {
        match why {
            FormError::Condition(_) => Self(StatusCode::FORBIDDEN, RejectionCode::PostForm, "AccessDenied"),
            FormError::Malformed(_)
            | FormError::Incomplete
            | FormError::Key
            | FormError::Filename
            | FormError::Field(_)
            | FormError::Head(_) => {
                Self(StatusCode::BAD_REQUEST, RejectionCode::BadRequest, "MalformedPOSTRequest")
            }
        }
    }

    /// Returns the parts for a client that gets no access key.
    fn without_keys(why: &KeyRequestError) -> Self {
        use RejectionCode as Code;
        match why {
            KeyRequestError::ForeignHost => {
                Self(StatusCode::MISDIRECTED_REQUEST, Code::UnknownHost, "MisdirectedRequest")
            }
            KeyRequestError::ForeignPage => Self(StatusCode::FORBIDDEN, Code::Browser, "AccessDenied"),
            KeyRequestError::Path => Self(StatusCode::NOT_FOUND, Code::UnknownPath, "NoSuchKey"),
            KeyRequestError::Method => Self(StatusCode::METHOD_NOT_ALLOWED, Code::Method, "MethodNotAllowed"),
            KeyRequestError::NotMade(HandOutError::Ended | HandOutError::NotYet(_)) => {
                Self(StatusCode::FORBIDDEN, Code::Expired, "AccessDenied")
            }
            KeyRequestError::Withdrawn
            | KeyRequestError::NotHandedOut
            | KeyRequestError::NotMade(HandOutError::Sealing(_)) => {
                Self(StatusCode::SERVICE_UNAVAILABLE, Code::CredentialsUnavailable, "ServiceUnavailable")
            }
        }
    }

    /// Returns the parts for a client whose JSON Web Token is rejected.
    fn of_jwt(why: &JwtError) -> Self {
        let code = match why {
            JwtError::Malformed(_) | JwtError::Missing(_) => RejectionCode::MalformedSignature,
            JwtError::Algorithm | JwtError::Signature => RejectionCode::BadSignature,
            JwtError::Expired { .. } => RejectionCode::Expired,
            JwtError::NotYetValid { .. } => RejectionCode::ClockSkew,
            JwtError::Issuer
            | JwtError::Audience
            | JwtError::Subject
            | JwtError::Ambiguous
            | JwtError::UnknownKey { .. }
            | JwtError::NoKeys { .. } => RejectionCode::NoIdentity,
        };
        Self(StatusCode::UNAUTHORIZED, code, "AccessDenied")
    }

    /// Returns the parts for a request without a response from the upstream.
    fn without_response(why: &SendError) -> Self {
        use RejectionCode as Code;
        match why {
            SendError::Dial(DialError::Unreachable { .. }) => {
                Self(StatusCode::BAD_GATEWAY, Code::UpstreamUnreachable, "BadGateway")
            }
            SendError::Dial(DialError::Loop { .. }) => {
                Self(StatusCode::BAD_GATEWAY, Code::UpstreamLoop, "BadGateway")
            }
            SendError::Reset(_) => Self(StatusCode::BAD_GATEWAY, Code::UpstreamReset, "BadGateway"),
            SendError::Invalid(_) => Self(StatusCode::BAD_GATEWAY, Code::UpstreamInvalid, "BadGateway"),
            SendError::Client(_) => Self(StatusCode::BAD_REQUEST, Code::BadRequest, "IncompleteBody"),
            SendError::ClientStalled(_) => Self(StatusCode::BAD_REQUEST, Code::BadRequest, "RequestTimeout"),
            SendError::TooLarge(_) => Self(StatusCode::BAD_REQUEST, Code::TooLarge, "EntityTooLarge"),
            SendError::Stalled(_) => Self(StatusCode::GATEWAY_TIMEOUT, Code::UpstreamStall, "GatewayTimeout"),
            SendError::Busy { .. } | SendError::Silent { .. } => {
                Self(StatusCode::SERVICE_UNAVAILABLE, Code::OverCapacity, "SlowDown")
            }
        }
    }
}

/// Returns the name of an upstream for clients: its route, and its OSS endpoint if it has one.
/// Other names and addresses are only logged.
fn public_name(routing_table: &RoutingTable, id: UpstreamId) -> String {
    let oss_endpoint = routing_table.get(id).endpoint.oss_endpoint().map(|oss_endpoint| oss_endpoint.name());
    match (oss_endpoint, routing_table.wanted(id)) {
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

/// The challenge that browsers and curl can answer with a password.
const BASIC_CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"oss-signing-proxy\", charset=\"UTF-8\"");
/// The challenge for clients without a token.
const BEARER_CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer");
/// The challenge for clients with an invalid JSON Web Token (RFC 6750, 3.1).
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");
pub(super) const OSS_REQUEST_ID: HeaderName = HeaderName::from_static("x-oss-request-id");
/// The time that the server took, in milliseconds.
const OSS_SERVER_TIME: HeaderName = HeaderName::from_static("x-oss-server-time");
const OSS_ERROR: HeaderName = HeaderName::from_static("x-oss-err");
const OSS_ERROR_NUMBER: HeaderName = HeaderName::from_static("x-oss-ec");
