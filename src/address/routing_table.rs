//! What the configuration says of upstreams: the default one, and those of routes, first match wins.

use std::fmt;

use super::endpoint::Endpoint;
use super::host::Host;
use super::pattern::NamePattern;
use crate::oss::{Bucket, Region};

/// How the bucket is named to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketAddressing {
    /// `BUCKET.endpoint`, the ordinary way.
    Virtual,
    /// `/BUCKET/KEY`: for addresses, localhost and PrivateLink.
    Path,
    /// The endpoint is a name of the bucket itself.
    Cname,
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAddress {
    /// The region that requests are signed for; V1 does without.
    pub region: Option<Region>,
    /// Where it is.
    pub endpoint: Endpoint,
    /// How buckets are named to it.
    pub addressing: BucketAddressing,
    /// The only bucket that requests are for, and then the whole path is the key.
    pub pin: Option<Bucket>,
    /// Dialled in place of every host of this upstream; Host, server name and signature stay.
    pub connect: Option<(Host, u16)>,
}

/// Which requests a route is for; what is absent matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    /// The host that the request names.
    pub host: Option<NamePattern>,
    /// The bucket.
    pub bucket: Option<NamePattern>,
}

/// One of the upstreams of a [`RoutingTable`]; 0 is the default, the others are those of the routes in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub usize);

/// All upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingTable {
    default: UpstreamAddress,
    routes: Vec<(RouteMatch, UpstreamAddress)>,
}

impl RoutingTable {
    /// The default upstream and the routes, in order.
    #[must_use]
    pub fn new(default: UpstreamAddress, routes: Vec<(RouteMatch, UpstreamAddress)>) -> Self {
        Self { default, routes }
    }

    /// The upstream of this id.
    #[must_use]
    pub fn get(&self, id: UpstreamId) -> &UpstreamAddress {
        match id.0.checked_sub(1).and_then(|index| self.routes.get(index)) {
            Some((_, upstream)) => upstream,
            None => &self.default,
        }
    }

    /// What the route of this id is for; `None` for the default, which takes what no route does.
    #[must_use]
    pub fn wanted(&self, id: UpstreamId) -> Option<&RouteMatch> {
        let (wanted, _) = self.routes.get(id.0.checked_sub(1)?)?;
        Some(wanted)
    }

    /// The pattern of the first route that is made for this host.
    pub(super) fn host_pattern(&self, host: &Host) -> Option<&NamePattern> {
        self.routes.iter().filter_map(|(wanted, _)| wanted.host.as_ref()).find(|p| p.matches(host.as_str()))
    }

    /// Whether a route spells out this host.
    pub(super) fn has_exact_host(&self, host: &Host) -> bool {
        let hosts = self.routes.iter().filter_map(|(wanted, _)| wanted.host.as_ref());
        hosts.filter(|pattern| pattern.is_exact()).any(|pattern| pattern.matches(host.as_str()))
    }

    /// The configured endpoints, by [`UpstreamId`].
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        std::iter::once(&self.default)
            .chain(self.routes.iter().map(|(_, upstream)| upstream))
            .map(|upstream| &upstream.endpoint)
    }

    /// The first route for the host and the bucket; routes for certain buckets are passed over while none is known.
    pub(super) fn select(&self, host: &Host, bucket: Option<&Bucket>) -> Option<UpstreamId> {
        let fits = |wanted: &RouteMatch| {
            let host_fits = wanted.host.as_ref().is_none_or(|p| p.matches(host.as_str()));
            let bucket_fits = match (&wanted.bucket, bucket) {
                (None, _) => true,
                (Some(pattern), Some(bucket)) => pattern.matches(bucket.as_str()),
                (Some(_), None) => false,
            };
            host_fits && bucket_fits
        };
        self.routes.iter().position(|(wanted, _)| fits(wanted)).map(|index| UpstreamId(index + 1))
    }

    /// The upstream whose configured endpoint the host is, with the label before it.
    pub(super) fn endpoint_named<'a>(&self, host: &'a Host) -> Option<(UpstreamId, Option<&'a str>)> {
        let upstreams =
            std::iter::once(&self.default).chain(self.routes.iter().map(|(_, upstream)| upstream));
        upstreams.enumerate().find_map(|(index, upstream)| {
            let endpoint = &upstream.endpoint.host;
            if endpoint.is_own() {
                return None;
            }
            label_before(host.as_str(), endpoint.as_str()).map(|label| (UpstreamId(index), label))
        })
    }
}

/// As it is called in what people read.
impl fmt::Display for UpstreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.pad("upstream"),
            number => f.pad(&format!("route {number}")),
        }
    }
}

impl fmt::Display for RouteMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, &self.bucket) {
            (Some(host), Some(bucket)) => write!(f, "host {host}, bucket {bucket}"),
            (Some(host), None) => write!(f, "host {host}"),
            (None, Some(bucket)) => write!(f, "bucket {bucket}"),
            (None, None) => f.write_str("everything"),
        }
    }
}

/// `Some(None)` if `host` is `domain`, `Some(Some(label))` if it is `label.domain`.
pub(super) fn label_before<'a>(host: &'a str, domain: &str) -> Option<Option<&'a str>> {
    let front = host.strip_suffix(domain)?;
    if front.is_empty() { Some(None) } else { front.strip_suffix('.').map(Some) }
}
