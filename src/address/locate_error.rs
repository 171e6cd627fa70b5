//! Errors of locating the object of a request.

use http::Method;

use super::service::ServiceFamily;
use crate::oss::{Bucket, InvalidBucket, InvalidEscape, InvalidKey, Operation};

/// The reason that a request cannot be located.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// The target or the host is invalid.
    #[error("{0}")]
    Malformed(&'static str),
    /// The host is invalid.
    #[error("invalid host {0:?}: {1}")]
    Host(String, &'static str),
    /// The host is followed by a path.
    #[error(
        "invalid host {0:?}: must be NAME or NAME:PORT, without a path; write the bucket in the request path, as /BUCKET/KEY"
    )]
    HostWithPath(String),
    /// The target and the Host header name different hosts.
    #[error("the request target has the host {0:?}, but the Host header has {1:?}; both must be the same")]
    TwoHosts(String, String),
    /// A client uses this proxy as its HTTP proxy, and requests a host that is not part of OSS.
    #[error(
        "cannot forward to the host {0:?}: it is not an OSS endpoint, this listener or a configured host; add it to no_proxy of the client"
    )]
    NotForwarded(String),
    /// The percent-encoding of the query is invalid.
    #[error("invalid query: {0}; write a percent sign as %25")]
    Query(#[from] InvalidEscape),
    /// OSS does not support the method.
    #[error("unsupported method {0}; OSS supports GET, HEAD, PUT, POST and DELETE")]
    Method(Method),
    /// The method is CONNECT: the proxy cannot sign what passes through a tunnel.
    #[error(
        "CONNECT is not supported: requests in a tunnel cannot be signed; use an http:// endpoint in the client (the proxy itself uses TLS to OSS)"
    )]
    Tunnel,
    /// The host is unknown.
    #[error(
        "unknown host {0:?}; use an address, localhost or an OSS endpoint name, or add the host to `domains` of the listener or `match.host` of a route"
    )]
    UnknownHost(String),
    /// The host belongs to another service of Alibaba Cloud.
    #[error(
        "unsupported host {0:?}: it belongs to {1}, and only object API requests are signed; bypass the proxy for it, for example with no_proxy"
    )]
    OtherService(String, ServiceFamily),
    /// The bucket name is invalid.
    #[error(transparent)]
    Bucket(#[from] InvalidBucket),
    /// The request needs a bucket and names none.
    #[error("missing bucket; write the path as /BUCKET/KEY")]
    NoBucket,
    /// The request lists objects, or another part of a bucket, and names no bucket.
    #[error(
        "missing bucket: listing buckets does not support the parameter {0:?}; write the path as /BUCKET, followed by the parameters"
    )]
    NoBucketList(String),
    /// The key is too long or invalid.
    #[error("invalid path: {0}")]
    Key(#[from] InvalidKey),
    /// The operation needs an object, and the request names none.
    #[error("missing object key: {0:?} requires one")]
    NoKey(Operation),
    /// The host names a bucket other than the only one that is served.
    #[error("the bucket {0} is not served here; only the configured bucket is")]
    Pinned(Bucket),
}
