//! Locates the object of a request: determines operation, bucket, key and upstream from method,
//! target, Host and headers.

use http::{HeaderMap, Method, Uri};

use super::asked_host::AskedHost;
use super::endpoint::UrlScheme;
use super::host::Host;
use super::locate_error::LocateError;
use super::oss_endpoint::OssEndpoint;
use super::routing_table::{RoutingTable, UpstreamId};
use super::served_host::{ListenerNames, ServedHost};
use crate::oss::{Bucket, InvalidKey, Key, Operation, Query, decode};

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
    /// The host, if a route depends on the caller, who is identified later.
    pub(crate) host: Option<Host>,
    /// The OSS endpoint that the host named, if it named one.
    pub(crate) oss_endpoint: Option<OssEndpoint>,
    /// True if the operator configured the host: as a domain of the listener, as a host of a route,
    /// or as an endpoint outside OSS.
    pub(crate) is_set_up_name: bool,
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
        (listener, table): (ListenerNames<'_>, &RoutingTable),
    ) -> Result<Self, LocateError> {
        if *method == Method::CONNECT {
            return Err(LocateError::Tunnel);
        }
        check_target(method, uri, listener.scheme)?;
        let asked = AskedHost::read(uri, headers)?;
        let host = &asked.host;
        let served = asked.served(listener, table)?;
        let query = Query::parse(uri.query().unwrap_or_default())?;
        let (bucket, key) = object(uri.path(), host, &served, table)?;
        let upstream = table.select(host, bucket.as_ref(), None).or(served.upstream).unwrap_or(UpstreamId(0));
        check_pin(bucket.as_ref(), table, upstream)?;
        let operation = Operation::classify(method, bucket.is_none(), key.is_empty(), &query, headers)
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
        let ServedHost { oss_endpoint, is_set_up_name, .. } = served;
        let host = table.depends_on_caller().then(|| host.clone());
        Ok(Self { operation, bucket, key, query, upstream, host, oss_endpoint, is_set_up_name })
    }

    /// Selects the upstream again, with the name of the caller.
    ///
    /// # Errors
    /// [`LocateError::Pinned`] if the new upstream serves only another bucket.
    pub(crate) fn route_for_caller(&mut self, caller: &str, table: &RoutingTable) -> Result<(), LocateError> {
        let Some(host) = &self.host else { return Ok(()) };
        if let Some(upstream) = table.select(host, self.bucket.as_ref(), Some(caller)) {
            check_pin(self.bucket.as_ref(), table, upstream)?;
            self.upstream = upstream;
        }
        Ok(())
    }
}

/// Rejects a bucket other than the only one of the upstream.
fn check_pin(bucket: Option<&Bucket>, table: &RoutingTable, upstream: UpstreamId) -> Result<(), LocateError> {
    match (bucket, &table.get(upstream).pin) {
        (Some(bucket), Some(pin)) if bucket != pin => Err(LocateError::Pinned(bucket.clone())),
        _ => Ok(()),
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
            Err(LocateError::Malformed("the scheme of the request target does not match this listener"))
        }
    }
}

/// Returns bucket and key, from the label in the host, the pinned bucket, or the first segment of
/// the path.
fn object(
    path: &str,
    host: &Host,
    served: &ServedHost<'_>,
    table: &RoutingTable,
) -> Result<(Option<Bucket>, Key), LocateError> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if let Some(label) = served.label {
        return Ok((Some(Bucket::parse(label)?), Key::from_path(path)?));
    }
    let unnamed = table.select(host, None, None).or(served.upstream).unwrap_or(UpstreamId(0));
    if let Some(pin) = &table.get(unnamed).pin {
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
