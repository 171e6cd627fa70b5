//! Every way in which a request is not served, and the one document that tells it.

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use super::answer::Body;
use crate::address::Misdirected;
use crate::credentials::Unavailable;
use crate::oss::ErrorDocument;
use crate::policy::Denial;
use crate::sign::Unsendable;
use crate::telemetry::Access;
use crate::transport::SendError;

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is for nothing that is served here.
    #[error(transparent)]
    Misdirected(#[from] Misdirected),
    /// It has more header lines than anybody needs.
    #[error("the request has more than {0} header lines")]
    TooManyHeaders(usize),
    /// Its body is larger than it may be: so many bytes, of so many.
    #[error(
        "the body has {0} bytes, and at most {1} are taken; send the object in parts (multipart upload), or raise limits.body"
    )]
    TooLarge(u64, u64),
    /// There are too many others.
    #[error("{0} requests are in flight, and no more are taken")]
    Full(usize),
    /// Its body is coded in a way that cannot be passed on.
    #[error("the only transfer coding that is served is chunked, in one Transfer-Encoding line")]
    Coding,
    /// It expects what we cannot do.
    #[error("the only expectation that is served is 100-continue, in one Expect line")]
    Expectation,
    /// Policy does not allow it.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// There is nothing to sign with.
    #[error("{0}; the log of the proxy tells why")]
    Credentials(#[from] Unavailable),
    /// The key that would sign cannot be written into a header.
    #[error(transparent)]
    Key(#[from] Unsendable),
    /// The request has no region to be signed for.
    #[error("no region is configured for this upstream, and V4 signs for one")]
    NoRegion,
    /// Its host or target cannot be written.
    #[error("the host or the target cannot be sent")]
    Unsendable,
    /// There was no answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The upstream left HTTP.
    #[error("the upstream answered with a status that this proxy did not ask for")]
    SwitchedProtocols,
}

/// How a refusal is told: status, our stable code, and the code of OSS that is nearest to it.
struct Told(StatusCode, &'static str, &'static str);

impl Refusal {
    /// The answer. HEAD gets its head alone.
    pub(super) fn response(&self, method: &Method, mut access: Access) -> Response<Body> {
        let Told(status, code, oss_code) = self.told();
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
        let document = if *method == Method::HEAD { String::new() } else { document.to_xml() };
        let mut response = Response::new(Body::own(document, access));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(PROXY_ERROR, HeaderValue::from_static(code));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(REQUEST_ID, id);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// Our stable code for it.
    pub(super) fn code(&self) -> &'static str {
        self.told().1
    }

    /// The same for who did not ask over HTTP: status, code and sentence.
    pub(super) fn told_plainly(&self) -> (StatusCode, &'static str, String) {
        let Told(status, code, _) = self.told();
        (status, code, self.message())
    }

    /// What the client is told. How and where a dial failed is for the log alone.
    fn message(&self) -> String {
        match self {
            Self::Send(SendError::Unreachable { .. }) => {
                "the upstream cannot be reached; the log of the proxy tells why".to_owned()
            }
            Self::Send(SendError::Loop { .. }) => {
                "the upstream's name leads back to this proxy; set `connect` of the upstream to its real address, or correct the name service".to_owned()
            }
            Self::Send(SendError::Reset(_)) => "the connection to the upstream ended before its answer".to_owned(),
            Self::Send(SendError::Invalid(_)) => "the answer of the upstream cannot be read".to_owned(),
            Self::Send(SendError::Client(_)) => "the body of the request ended early or is malformed".to_owned(),
            Self::Send(
                SendError::ClientStalled(_) | SendError::TooLarge(_) | SendError::Stalled(_) | SendError::Busy(_),
            ) => self.to_string(),
            Self::Misdirected(_)
            | Self::TooManyHeaders(_)
            | Self::TooLarge(..)
            | Self::Full(_)
            | Self::Coding
            | Self::Expectation
            | Self::Denied(_)
            | Self::Credentials(_)
            | Self::Key(_)
            | Self::NoRegion
            | Self::Unsendable
            | Self::SwitchedProtocols => self.to_string(),
        }
    }

    fn told(&self) -> Told {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
        const GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;
        const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        match self {
            Self::Misdirected(why) => match why {
                Misdirected::Malformed(_) | Misdirected::Query(_) => {
                    Told(BAD, "bad-request", "InvalidArgument")
                }
                Misdirected::Method(_) | Misdirected::Tunnel => {
                    Told(StatusCode::METHOD_NOT_ALLOWED, "method", "MethodNotAllowed")
                }
                Misdirected::UnknownHost(_) => {
                    Told(StatusCode::MISDIRECTED_REQUEST, "unknown-host", "MisdirectedRequest")
                }
                Misdirected::Bucket(_) | Misdirected::NoBucket => {
                    Told(BAD, "invalid-bucket", "InvalidBucketName")
                }
                Misdirected::Key(crate::oss::InvalidKey::Escape(_)) => {
                    Told(BAD, "bad-request", "InvalidArgument")
                }
                Misdirected::Key(_) | Misdirected::NoKey(_) => Told(BAD, "invalid-key", "InvalidObjectName"),
                Misdirected::Pinned(_) => Told(FORBIDDEN, "pinned", "AccessDenied"),
            },
            Self::TooManyHeaders(_) | Self::Coding | Self::Unsendable => {
                Told(BAD, "bad-request", "InvalidArgument")
            }
            Self::TooLarge(..) => Told(BAD, "too-large", "EntityTooLarge"),
            Self::Full(_) => Told(UNAVAILABLE, "over-capacity", "SlowDown"),
            Self::Expectation => Told(StatusCode::EXPECTATION_FAILED, "expectation", "ExpectationFailed"),
            Self::Denied(denial) => match denial {
                Denial::ReadOnly(_) => Told(FORBIDDEN, "denied", "AccessDenied"),
                Denial::Browser => Told(FORBIDDEN, "browser", "AccessDenied"),
                Denial::PostForm => Told(FORBIDDEN, "post-form", "AccessDenied"),
                Denial::Preflight => Told(FORBIDDEN, "preflight", "AccessDenied"),
            },
            Self::Credentials(_) | Self::Key(_) | Self::NoRegion => {
                Told(UNAVAILABLE, "credentials-unavailable", "ServiceUnavailable")
            }
            Self::Send(why) => match why {
                SendError::Unreachable { .. } => Told(GATEWAY, "upstream-unreachable", "BadGateway"),
                SendError::Loop { .. } => Told(GATEWAY, "upstream-loop", "BadGateway"),
                SendError::Reset(_) => Told(GATEWAY, "upstream-reset", "BadGateway"),
                SendError::Invalid(_) => Told(GATEWAY, "upstream-invalid", "BadGateway"),
                SendError::Client(_) => Told(BAD, "bad-request", "IncompleteBody"),
                SendError::ClientStalled(_) => Told(BAD, "bad-request", "RequestTimeout"),
                SendError::TooLarge(_) => Told(BAD, "too-large", "EntityTooLarge"),
                SendError::Stalled(_) => {
                    Told(StatusCode::GATEWAY_TIMEOUT, "upstream-stall", "GatewayTimeout")
                }
                SendError::Busy(_) => Told(UNAVAILABLE, "over-capacity", "SlowDown"),
            },
            Self::SwitchedProtocols => Told(GATEWAY, "upstream-invalid", "BadGateway"),
        }
    }
}

/// Our stable code, for programs.
const PROXY_ERROR: HeaderName = HeaderName::from_static("x-proxy-error");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-oss-request-id");
