//! A cache of resolved endpoints, one for each bucket: most requests are for a few buckets.

use std::rc::Rc;

use http::HeaderValue;

use super::error::ProxyError;
use super::limited_cache::LimitedCache;
use crate::address::{LocatedObject, OssEndpoint, ResolvedEndpoint, RoutingTable, UpstreamId, UrlScheme};
use crate::oss::Bucket;
use crate::transport::{DialName, LoopbackPolicy, TrustStoreId, UpstreamDestination, UpstreamTls};

/// A cache of resolved endpoints.
#[derive(Default)]
pub(super) struct EndpointCache(LimitedCache<EndpointCacheKey, CachedEndpoint, ENTRIES_MAX>);

/// A resolved endpoint, with the `Host` header and the destination derived from it.
pub(super) struct CachedEndpoint {
    pub(super) endpoint: ResolvedEndpoint,
    pub(super) host: HeaderValue,
    pub(super) destination: Rc<UpstreamDestination>,
}

struct EndpointCacheKey {
    upstream: UpstreamId,
    bucket: Option<Bucket>,
    oss_endpoint: Option<OssEndpoint>,
}

impl EndpointCache {
    /// Returns the endpoint of `located`, whose upstream uses the trust store `trust`. Resolves it
    /// on a miss.
    pub(super) fn get(
        &self,
        located: &LocatedObject,
        routing_table: &RoutingTable,
        trust: TrustStoreId,
    ) -> Result<Rc<CachedEndpoint>, ProxyError> {
        if let Some(cached_endpoint) = self.0.get(|key| key.is_for(located)) {
            return Ok(cached_endpoint);
        }
        let cached_endpoint = CachedEndpoint::new(ResolvedEndpoint::resolve(located, routing_table), trust)?;
        let key = EndpointCacheKey {
            upstream: located.upstream,
            bucket: located.bucket.clone(),
            oss_endpoint: located.oss_endpoint.clone(),
        };
        Ok(self.0.insert(key, cached_endpoint))
    }
}

impl EndpointCacheKey {
    fn is_for(&self, located: &LocatedObject) -> bool {
        self.upstream == located.upstream
            && self.bucket == located.bucket
            && self.oss_endpoint == located.oss_endpoint
    }
}

impl CachedEndpoint {
    fn new(endpoint: ResolvedEndpoint, trust: TrustStoreId) -> Result<Self, ProxyError> {
        let destination = destination(&endpoint, trust);
        let host = HeaderValue::from_str(&endpoint.host).map_err(|_| ProxyError::Unsendable)?;
        Ok(Self { endpoint, host, destination: Rc::new(destination) })
    }
}

/// Returns the destination for a resolved endpoint whose upstream uses the trust store `trust`.
#[must_use]
pub(crate) fn destination(endpoint: &ResolvedEndpoint, trust: TrustStoreId) -> UpstreamDestination {
    UpstreamDestination {
        dial: DialName::new(&endpoint.dial.0, endpoint.dial.1),
        tls: match endpoint.scheme {
            UrlScheme::Https => Some(UpstreamTls { name: endpoint.name.clone(), trust }),
            UrlScheme::Http => None,
        },
        guard: if endpoint.dials_oss_name { LoopbackPolicy::OssName } else { LoopbackPolicy::Configured },
    }
}

/// The capacity of the cache. It is bounded because clients choose the bucket names.
const ENTRIES_MAX: usize = 64;
