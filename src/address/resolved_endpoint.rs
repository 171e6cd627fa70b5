//! The destination of a located request: endpoint, Host, request line and signing region.

use super::endpoint::{Endpoint, UrlScheme};
use super::locate::LocatedObject;
use super::oss_endpoint::{DOMAIN, OssEndpoint};
use super::routing_table::{BucketAddressing, RoutingTable, UpstreamAddress};
use crate::oss::Region;

/// The part of the destination that all requests of a bucket share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedEndpoint {
    /// HTTP or HTTPS.
    pub(crate) scheme: UrlScheme,
    /// The name or address of the server, without port; the TLS server name.
    pub(crate) name: String,
    /// The value of the Host header.
    pub host: String,
    /// The host and port to connect to.
    pub(crate) dial: (String, u16),
    /// True if `dial` is an OSS name, which must not resolve to this machine.
    pub(crate) dials_oss_name: bool,
    /// The signing region.
    pub(crate) region: Option<Region>,
    addressing: BucketAddressing,
}

impl ResolvedEndpoint {
    /// Resolves the endpoint of `located`. It depends only on the upstream, the bucket and the OSS
    /// endpoint in the host.
    #[must_use]
    pub fn resolve(located: &LocatedObject, routing_table: &RoutingTable) -> Self {
        let upstream = routing_table.get(located.upstream);
        Self::by(
            located,
            upstream,
            located.oss_endpoint.as_ref().filter(|oss_endpoint| !is_configured(oss_endpoint, upstream)),
        )
    }

    /// Resolves the endpoint for a client that contacts OSS directly. The name in the request is
    /// kept, even where the proxy uses another name of the same region.
    #[must_use]
    pub(crate) fn as_given(located: &LocatedObject, routing_table: &RoutingTable) -> Self {
        let upstream = routing_table.get(located.upstream);
        let is_other = |oss_endpoint: &&OssEndpoint| {
            upstream.endpoint.oss_endpoint().is_some_and(|own| own != **oss_endpoint)
        };
        let given = located
            .oss_endpoint
            .as_ref()
            .filter(|oss_endpoint| is_other(oss_endpoint) || !is_configured(oss_endpoint, upstream));
        Self::by(located, upstream, given)
    }

    fn by(located: &LocatedObject, upstream: &UpstreamAddress, elsewhere: Option<&OssEndpoint>) -> Self {
        let named;
        let (endpoint, addressing, region) = match elsewhere {
            Some(oss_endpoint) => {
                named = Endpoint::from_place(oss_endpoint, upstream.endpoint.scheme);
                (&named, BucketAddressing::Virtual, oss_endpoint.region().or(upstream.region.as_ref()))
            }
            None => (&upstream.endpoint, upstream.addressing, upstream.region.as_ref()),
        };
        let name = match (&located.bucket, addressing) {
            (Some(bucket), BucketAddressing::Virtual) => {
                [&*bucket.host_label(), ".", endpoint.host.as_str()].concat()
            }
            (Some(_), BucketAddressing::Path | BucketAddressing::Cname) | (None, _) => {
                endpoint.host.as_str().to_owned()
            }
        };
        let dial = match &upstream.connect {
            Some((host, port)) => (host.as_str().to_owned(), *port),
            None => (name.clone(), endpoint.port),
        };
        Self {
            scheme: endpoint.scheme,
            host: host_header(&name, endpoint),
            dials_oss_name: upstream.connect.is_none() && is_oss_name(endpoint),
            dial,
            region: region.cloned(),
            name,
            addressing,
        }
    }

    /// Returns the path and query of the request line.
    #[must_use]
    pub fn target(&self, located: &LocatedObject) -> String {
        let mut target = String::with_capacity(located.key.wire().len() + 64);
        target.push('/');
        if let (Some(bucket), BucketAddressing::Path) = (&located.bucket, self.addressing) {
            target.push_str(bucket.as_str());
            target.push('/');
        }
        target.push_str(located.key.wire());
        located.query.write(&mut target);
        target
    }
}

/// Returns whether requests for `oss_endpoint` use the configured endpoint. They do if
/// `oss_endpoint` is that endpoint, whatever its configured region, or if `oss_endpoint` is in the
/// region of the upstream.
fn is_configured(oss_endpoint: &OssEndpoint, upstream: &UpstreamAddress) -> bool {
    let is_region = oss_endpoint.region().is_some_and(|region| upstream.region.as_ref() == Some(region));
    is_region || upstream.endpoint.oss_endpoint().as_ref() == Some(oss_endpoint)
}

/// Returns whether an endpoint is in the OSS domain, including one with an unusual region.
fn is_oss_name(endpoint: &Endpoint) -> bool {
    endpoint.host.as_str().ends_with(DOMAIN) && endpoint.service_name().is_none()
}

fn host_header(name: &str, endpoint: &Endpoint) -> String {
    // An IPv6 address needs brackets.
    let name = if name.contains(':') { endpoint.host.bracketed() } else { name.to_owned() };
    if endpoint.port == endpoint.scheme.default_port() { name } else { format!("{name}:{}", endpoint.port) }
}
