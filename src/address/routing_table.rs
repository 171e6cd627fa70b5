//! The routing table: the default upstream and those of routes. The first matching route is used.

use std::fmt;

use super::endpoint::Endpoint;
use super::host::{Host, Port};
use super::pattern::NamePattern;
use crate::oss::{Bucket, Region};

/// The part of a request that names the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketAddressing {
    /// `BUCKET.endpoint`, the usual form.
    Virtual,
    /// `/BUCKET/KEY`: for addresses, localhost and PrivateLink.
    Path,
    /// The endpoint is a name of the bucket itself.
    Cname,
}

/// The address of an upstream and the form of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAddress {
    /// The signing region; V1 does not need one.
    pub region: Option<Region>,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The addressing of buckets.
    pub addressing: BucketAddressing,
    /// The only bucket of all requests. If it is set, the whole path is the key.
    pub pin: Option<Bucket>,
    /// The host and port to connect to for every host of this upstream. Host, TLS server name and
    /// signature do not change.
    pub connect: Option<(Host, u16)>,
}

/// The requests that a route matches. A missing pattern matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    /// The pattern of the requested host.
    pub(crate) host: Option<NamePattern>,
    /// The pattern of the bucket.
    pub(crate) bucket: Option<NamePattern>,
    /// The pattern of the name of the caller.
    pub(crate) caller: Option<NamePattern>,
}

/// The index of an upstream in a [`RoutingTable`]: 0 is the default, followed by those of the
/// routes in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub usize);

/// All upstreams, with the routes to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingTable {
    default: UpstreamAddress,
    routes: Vec<(RouteMatch, UpstreamAddress)>,
    /// True if a route depends on the caller.
    depends_on_caller: bool,
}

impl RoutingTable {
    /// Creates a table from the default upstream and the routes, in order.
    #[must_use]
    pub fn new(default: UpstreamAddress, routes: Vec<(RouteMatch, UpstreamAddress)>) -> Self {
        let depends_on_caller = routes.iter().any(|(wanted, _)| wanted.caller.is_some());
        Self { default, routes, depends_on_caller }
    }

    /// Returns the upstream with this id.
    #[must_use]
    pub fn get(&self, id: UpstreamId) -> &UpstreamAddress {
        match id.0.checked_sub(1).and_then(|index| self.routes.get(index)) {
            Some((_, upstream)) => upstream,
            None => &self.default,
        }
    }

    /// Returns the requests that the route with this id matches. Returns `None` for the default,
    /// which serves the requests that no route matches.
    #[must_use]
    pub(crate) fn wanted(&self, id: UpstreamId) -> Option<&RouteMatch> {
        let (wanted, _) = self.routes.get(id.0.checked_sub(1)?)?;
        Some(wanted)
    }

    /// Returns the first host pattern of a route that matches this host.
    pub(super) fn host_pattern(&self, host: &Host) -> Option<&NamePattern> {
        self.routes.iter().filter_map(|(wanted, _)| wanted.host.as_ref()).find(|p| p.matches(host.as_str()))
    }

    /// Returns whether a route names this host exactly, without `*`.
    pub(super) fn has_exact_host(&self, host: &Host) -> bool {
        let hosts = self.routes.iter().filter_map(|(wanted, _)| wanted.host.as_ref());
        hosts.filter(|pattern| pattern.is_exact()).any(|pattern| pattern.matches(host.as_str()))
    }

    /// Returns the configured endpoints in the order of [`UpstreamId`].
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        std::iter::once(&self.default)
            .chain(self.routes.iter().map(|(_, upstream)| upstream))
            .map(|upstream| &upstream.endpoint)
    }

    /// Returns the upstream whose configured endpoint is this address.
    pub(super) fn endpoint_at(&self, host: &Host, port: Port) -> Option<UpstreamId> {
        self.endpoints()
            .position(|endpoint| endpoint.host == *host && endpoint.has_port(port))
            .map(UpstreamId)
    }

    /// Returns whether a route depends on the caller.
    pub(super) fn depends_on_caller(&self) -> bool {
        self.depends_on_caller
    }

    /// Returns the first route that matches the host, the bucket and the name of the caller. Without
    /// a bucket or a caller, routes with a pattern for it are skipped.
    pub(crate) fn select(
        &self,
        host: &Host,
        bucket: Option<&Bucket>,
        caller: Option<&str>,
    ) -> Option<UpstreamId> {
        let fits = |pattern: Option<&NamePattern>, name: Option<&str>| {
            pattern.is_none_or(|pattern| name.is_some_and(|name| pattern.matches(name)))
        };
        let matches = |wanted: &RouteMatch| {
            fits(wanted.host.as_ref(), Some(host.as_str()))
                && fits(wanted.bucket.as_ref(), bucket.map(Bucket::as_str))
                && fits(wanted.caller.as_ref(), caller)
        };
        self.routes.iter().position(|(wanted, _)| matches(wanted)).map(|index| UpstreamId(index + 1))
    }

    /// Returns the upstreams that requests of a caller may reach.
    pub(crate) fn reachable_by(&self, caller: &str) -> Vec<UpstreamId> {
        let mut reachable = Vec::new();
        for (index, (wanted, _)) in self.routes.iter().enumerate() {
            if wanted.caller.as_ref().is_none_or(|pattern| pattern.matches(caller)) {
                reachable.push(UpstreamId(index + 1));
                // The first route that matches is used, so no other is after one for everything.
                if wanted.host.is_none() && wanted.bucket.is_none() {
                    return reachable;
                }
            }
        }
        reachable.push(UpstreamId(0));
        reachable
    }

    /// Returns the upstream whose configured endpoint is the host, with the label before the
    /// endpoint.
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

/// The name of the upstream in output for operators.
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
        let patterns = [("host", &self.host), ("bucket", &self.bucket), ("caller", &self.caller)];
        let mut separator = "";
        for (name, pattern) in patterns {
            if let Some(pattern) = pattern {
                write!(f, "{separator}{name} {pattern}")?;
                separator = ", ";
            }
        }
        if separator.is_empty() { f.write_str("everything") } else { Ok(()) }
    }
}

/// Returns `Some(None)` if `host` is `domain`, and `Some(Some(label))` if it is `label.domain`.
pub(super) fn label_before<'a>(host: &'a str, domain: &str) -> Option<Option<&'a str>> {
    let front = host.strip_suffix(domain)?;
    if front.is_empty() { Some(None) } else { front.strip_suffix('.').map(Some) }
}
