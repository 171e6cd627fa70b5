//! The interpretation of a host name by the names of the listener, of the routes and of OSS.

use std::net::SocketAddr;

use super::endpoint::UrlScheme;
use super::host::Host;
use super::locate_error::LocateError;
use super::oss_endpoint::{OssEndpoint, OssName};
use super::pattern::NamePattern;
use super::routing_table::{RoutingTable, UpstreamId, label_before};
use super::service::ServiceName;

/// The names and addresses of the listener that accepted a request.
#[derive(Clone, Copy, Debug)]
pub struct ListenerNames<'a> {
    /// The domains of the listener, in lower case.
    pub domains: &'a [String],
    /// The scheme that clients of the listener use.
    pub scheme: UrlScheme,
    /// True if no DNS name can point to the listener, such as a Unix socket. An unknown name then
    /// counts as an address.
    pub unnamed: bool,
    /// The address that the client connected to, if it has one. An absolute target may name no
    /// other address.
    pub address: Option<SocketAddr>,
}

/// The interpretation of a host that is served.
pub(super) struct ServedHost<'a> {
    /// The bucket label before the name.
    pub(super) label: Option<&'a str>,
    pub(super) oss_endpoint: Option<OssEndpoint>,
    /// The upstream whose endpoint is the host.
    pub(super) upstream: Option<UpstreamId>,
    pub(super) is_set_up_name: bool,
}

impl<'a> ServedHost<'a> {
    /// Interprets a host in the documented order: route hosts, domains of the listener, endpoint
    /// names, IP addresses. An exact host of a route is not read as a bucket of a domain. A host
    /// that matches a pattern still is.
    pub(super) fn interpret(
        host: &'a Host,
        listener: ListenerNames<'_>,
        table: &RoutingTable,
    ) -> Result<Self, LocateError> {
        if let Some(name) = ServiceName::parse(host.as_str()).filter(|name| !name.service.is_object_api()) {
            return Err(LocateError::OtherService(host.as_str().to_owned(), name.service));
        }
        let by_route = table.host_pattern(host);
        let is_set_up_name = by_route.is_some() && !host.is_own();
        let unnamed = Self { label: None, oss_endpoint: None, upstream: None, is_set_up_name };
        let domains = if by_route.is_some_and(NamePattern::is_exact) { &[] } else { listener.domains };
        let domain = domains
            .iter()
            .filter_map(|domain| label_before(host.as_str(), domain).map(|label| (domain.len(), label)))
            .max_by_key(|(length, _)| *length);
        if let Some((_, label)) = domain {
            return Ok(Self { label, is_set_up_name: true, ..unnamed });
        }
        if let Some((upstream, label)) = table.endpoint_named(host)
            && table.get(upstream).endpoint.oss_endpoint().is_none()
        {
            return Ok(Self { label, upstream: Some(upstream), is_set_up_name: true, ..unnamed });
        }
        if let Some(name) = OssName::parse(host.as_str()) {
            // An OSS name is not configured by the operator: any web page can know it.
            return Ok(Self {
                label: name.bucket,
                oss_endpoint: Some(name.oss_endpoint),
                is_set_up_name: false,
                ..unnamed
            });
        }
        // guard: unknown-host
        if host.is_own() || by_route.is_some() || listener.unnamed {
            return Ok(unnamed);
        }
        Err(LocateError::UnknownHost(host.as_str().to_owned()))
    }
}
