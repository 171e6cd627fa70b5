//! Where a located request goes: endpoint, Host, request line, and the region it is signed for.

use super::endpoint::{Endpoint, UrlScheme};
use super::locate::LocatedObject;
use super::oss_endpoint::{DOMAIN, OssEndpoint};
use super::routing_table::{BucketAddressing, RoutingTable, UpstreamAddress};
use crate::oss::Region;

/// How requests of one bucket reach OSS: what is the same for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedEndpoint {
    /// Plain or TLS.
    pub scheme: UrlScheme,
    /// The name or address that is asked, without port; the server name of TLS.
    pub name: String,
    /// The value of Host.
    pub host: String,
    /// What is dialled: host and port.
    pub dial: (String, u16),
    /// Whether `dial` is a name of OSS's own, which must not lead back to this machine.
    pub dials_oss_name: bool,
    /// The region to sign for.
    pub region: Option<Region>,
    addressing: BucketAddressing,
}

impl ResolvedEndpoint {
    /// The way of `located`, which depends on its upstream, bucket and place alone.
    #[must_use]
    pub fn of(located: &LocatedObject, directory: &RoutingTable) -> Self {
        let upstream = directory.get(located.upstream);
        Self::by(located, upstream, located.place.as_ref().filter(|place| !is_configured(place, upstream)))
    }

    /// The way of a client that asks OSS itself: by the name that it gave, also where requests through here take another name
    /// of the same region.
    #[must_use]
    pub fn as_given(located: &LocatedObject, directory: &RoutingTable) -> Self {
        let upstream = directory.get(located.upstream);
        let is_other = |place: &&OssEndpoint| upstream.endpoint.place().is_some_and(|own| own != **place);
        let given = located.place.as_ref().filter(|place| is_other(place) || !is_configured(place, upstream));
        Self::by(located, upstream, given)
    }

    fn by(located: &LocatedObject, upstream: &UpstreamAddress, elsewhere: Option<&OssEndpoint>) -> Self {
        let named;
        let (endpoint, addressing, region) = match elsewhere {
            Some(place) => {
                named = Endpoint::of(place, upstream.endpoint.scheme);
                (&named, BucketAddressing::Virtual, place.region().or(upstream.region.as_ref()))
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

    /// Path and query of the request line.
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

/// Whether requests for `place` go to the configured endpoint: it is that endpoint, whatever region is configured beside it,
/// or it contains the upstream's own region.
fn is_configured(place: &OssEndpoint, upstream: &UpstreamAddress) -> bool {
    let is_region = place.region().is_some_and(|region| upstream.region.as_ref() == Some(region));
    is_region || upstream.endpoint.place().as_ref() == Some(place)
}

/// Whether an endpoint is named under OSS's own domain, also with a region of an unusual form.
fn is_oss_name(endpoint: &Endpoint) -> bool {
    endpoint.host.as_str().ends_with(DOMAIN) && endpoint.service_name().is_none()
}

fn host_header(name: &str, endpoint: &Endpoint) -> String {
    // An IPv6 address stands in brackets.
    let name = if name.contains(':') { endpoint.host.bracketed() } else { name.to_owned() };
    if endpoint.port == endpoint.scheme.default_port() { name } else { format!("{name}:{}", endpoint.port) }
}
