//! Locates the object of a request: derives operation, bucket, key and upstream from method,
//! target, Host and headers.

use std::net::SocketAddr;

use http::{HeaderMap, Method, Uri};

use super::asked_host::AskedHost;
use super::endpoint::UrlScheme;
use super::host::Host;
use super::oss_endpoint::{OssEndpoint, OssName};
use super::pattern::NamePattern;
use super::routing_table::{RoutingTable, UpstreamId, label_before};
use super::service::{ServiceFamily, ServiceName};
use crate::oss::{Bucket, InvalidBucket, InvalidEscape, InvalidKey, Key, Operation, Query, decode};

/// A request whose operation, bucket and key have been determined.
#[derive(Debug)]
pub struct LocatedObject {
    /// The operation.
    pub operation: Operation,
    /// The bucket; `None` for requests to the service.
    pub bucket: Option<Bucket>,
    /// The key; empty for requests to the bucket or the service.
    pub key: Key,
    /// The query parameters.
    pub query: Query,
    /// The upstream that the request is routed to.
    pub upstream: UpstreamId,
    /// The OSS endpoint that the host named, if it named one.
    pub place: Option<OssEndpoint>,
    /// True if the operator configured the host: as a domain of the listener, as a host of a route,
    /// or as an endpoint outside OSS.
    pub is_set_up_name: bool,
}

/// The names and addresses of the listener that accepted a request.
#[derive(Clone, Copy, Debug)]
pub struct ListenerNames<'a> {
    /// The domains of the listener, in lower case.
    pub domains: &'a [String],
    /// The scheme that clients of the listener use.
    pub scheme: UrlScheme,
    /// True if DNS cannot lead a client to the listener, such as a Unix socket. An unknown name
    /// then counts as an address.
    pub unnamed: bool,
    /// The address that the client connected to, if it has one. An absolute target may name no
    /// other address.
    pub address: Option<SocketAddr>,
}

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
    /// OSS does not use the method.
    #[error("unsupported method {0}; OSS supports GET, HEAD, PUT, POST and DELETE")]
    Method(Method),
    /// CONNECT would hide the request from the signer.
    #[error(
        "CONNECT is not supported: requests in a tunnel cannot be signed; use an http:// endpoint in the client, the proxy itself uses TLS to OSS"
    )]
    Tunnel,
    /// The host is unknown.
    #[error(
        "unknown host {0:?}; use an address, localhost or an OSS endpoint name, or add the host to `domains` of the listener or `match.host` of a route"
    )]
    UnknownHost(String),
    /// The host belongs to another service of Alibaba Cloud.
    #[error(
        "unsupported host {0:?}: it belongs to {1}, and only object API requests are signed; bypass the proxy for it, such as with no_proxy"
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
        "missing bucket: a list of buckets has no parameter {0:?}; write the path as /BUCKET, followed by the parameters"
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

/// The interpretation of a host that is served.
pub(super) struct ServedHost<'a> {
    /// The bucket label before the name.
    label: Option<&'a str>,
    place: Option<OssEndpoint>,
    /// The upstream whose endpoint is the host.
    pub(super) upstream: Option<UpstreamId>,
    is_set_up_name: bool,
}

impl LocatedObject {
    /// Locates the object of a request.
    ///
    /// # Errors
    /// [`LocateError`] describes the reason that the request cannot be served.
    pub fn find(
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        (entrance, directory): (ListenerNames<'_>, &RoutingTable),
    ) -> Result<Self, LocateError> {
        if *method == Method::CONNECT {
            return Err(LocateError::Tunnel);
        }
        check_target(method, uri, entrance.scheme)?;
        let asked = AskedHost::read(uri, headers)?;
        let (host, served) = (&asked.host, asked.served(entrance, directory)?);
        let query = Query::parse(uri.query().unwrap_or_default())?;
        let (bucket, key) = object(uri.path(), host, &served, directory)?;
        let upstream = directory.select(host, bucket.as_ref()).or(served.upstream).unwrap_or(UpstreamId(0));
        if let (Some(bucket), Some(pin)) = (&bucket, &directory.get(upstream).pin)
            && bucket != pin
        {
            return Err(LocateError::Pinned(bucket.clone()));
        }
        let operation = Operation::of(method, bucket.is_none(), key.is_empty(), &query, headers)
            .ok_or_else(|| LocateError::Method(method.clone()))?;
        if bucket.is_none() {
            if !operation.is_of_service() {
                return Err(LocateError::NoBucket);
            }
            if let Some(unfit) = operation.unfit_parameter(&query) {
                return Err(LocateError::NoBucketList(String::from_utf8_lossy(&unfit.name).into_owned()));
            }
        }
        if key.is_empty() && operation.needs_key() {
            return Err(LocateError::NoKey(operation));
        }
        let ServedHost { place, is_set_up_name, .. } = served;
        Ok(Self { operation, bucket, key, query, upstream, place, is_set_up_name })
    }
}

impl<'a> ServedHost<'a> {
    /// Interprets a host in the documented order: route hosts, domains of the listener, endpoint
    /// names, IP addresses. An exact host of a route is not read as a bucket of a domain. A host
    /// that matches a pattern still is.
    pub(super) fn of(
        host: &'a Host,
        entrance: ListenerNames<'_>,
        directory: &RoutingTable,
    ) -> Result<Self, LocateError> {
        if let Some(name) = ServiceName::parse(host.as_str()).filter(|name| !name.service.is_object_api()) {
            return Err(LocateError::OtherService(host.as_str().to_owned(), name.service));
        }
        let by_route = directory.host_pattern(host);
        let is_set_up_name = by_route.is_some() && !host.is_own();
        let unnamed = Self { label: None, place: None, upstream: None, is_set_up_name };
        let domains = if by_route.is_some_and(NamePattern::is_exact) { &[] } else { entrance.domains };
        let domain = domains
            .iter()
            .filter_map(|domain| label_before(host.as_str(), domain).map(|label| (domain.len(), label)))
            .max_by_key(|(length, _)| *length);
        if let Some((_, label)) = domain {
            return Ok(Self { label, is_set_up_name: true, ..unnamed });
        }
        if let Some((upstream, label)) = directory.endpoint_named(host)
            && directory.get(upstream).endpoint.place().is_none()
        {
            return Ok(Self { label, upstream: Some(upstream), is_set_up_name: true, ..unnamed });
        }
        if let Some(name) = OssName::parse(host.as_str()) {
            // An OSS name is not configured by the operator: any web page can know it.
            return Ok(Self {
                label: name.bucket,
                place: Some(name.place),
                is_set_up_name: false,
                ..unnamed
            });
        }
        // guard: unknown-host
        if host.is_own() || by_route.is_some() || entrance.unnamed {
            return Ok(unnamed);
        }
        Err(LocateError::UnknownHost(host.as_str().to_owned()))
    }
}

/// Rejects targets that are not a path, with or without a host before it.
fn check_target(method: &Method, uri: &Uri, scheme: UrlScheme) -> Result<(), LocateError> {
    if uri.path() == "*" && *method != Method::OPTIONS {
        return Err(LocateError::Malformed("the request target * is valid only for OPTIONS"));
    }
    if uri.path_and_query().is_none() {
        return Err(LocateError::Malformed("the request target is not a path"));
    }
    match uri.scheme_str() {
        None => Ok(()),
        Some(given) if given == scheme.as_str() => Ok(()),
        Some(_) => {
            Err(LocateError::Malformed("the scheme of the request target is not that of this listener"))
        }
    }
}

/// Returns bucket and key, from the label in the host, the pinned bucket, or the first segment of
/// the path.
fn object(
    path: &str,
    host: &Host,
    served: &ServedHost<'_>,
    directory: &RoutingTable,
) -> Result<(Option<Bucket>, Key), LocateError> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if let Some(label) = served.label {
        return Ok((Some(Bucket::parse(label)?), Key::from_path(path)?));
    }
    let unnamed = directory.select(host, None).or(served.upstream).unwrap_or(UpstreamId(0));
    if let Some(pin) = &directory.get(unnamed).pin {
        return Ok((Some(pin.clone()), Key::from_path(path)?));
    }
    if path.is_empty() || path == "*" {
        return Ok((None, Key::default()));
    }
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let bucket = if bucket.contains('%') {
        let decoded = decode(bucket.as_bytes()).map_err(InvalidKey::from)?;
        Bucket::parse(&String::from_utf8_lossy(&decoded))?
    } else {
        Bucket::parse(bucket)?
    };
    Ok((Some(bucket), Key::from_path(key)?))
}

#[cfg(test)]
#[path = "locate_tests.rs"]
mod tests;
