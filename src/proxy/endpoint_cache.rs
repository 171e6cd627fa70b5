//! A cache of resolved endpoints, one for each bucket: most requests are for a few buckets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use http::HeaderValue;

use super::error::ProxyError;
use crate::address::{LocatedObject, OssEndpoint, ResolvedEndpoint, RoutingTable, UpstreamId, UrlScheme};
use crate::oss::Bucket;
use crate::sign::{SignatureVersion, SigningScheme, SigningTime};
use crate::transport::{LoopbackPolicy, TrustStoreId, UpstreamDestination};

/// A cache of resolved endpoints. It holds at most [`ENTRIES_MAX`] entries and evicts the oldest
/// insertion.
#[derive(Default)]
pub(super) struct EndpointCache(RefCell<VecDeque<EndpointCacheEntry>>);

/// A resolved endpoint, with the `Host` header and the destination derived from it.
pub(super) struct CachedEndpoint {
    pub(super) way: ResolvedEndpoint,
    pub(super) host: HeaderValue,
    pub(super) destination: Rc<UpstreamDestination>,
}

struct EndpointCacheEntry {
    upstream: UpstreamId,
    bucket: Option<Bucket>,
    place: Option<OssEndpoint>,
    paved: Rc<CachedEndpoint>,
}

impl EndpointCache {
    /// Returns the endpoint of `located`, whose upstream uses the trust store `trust`. Resolves it
    /// on a miss.
    pub(super) fn get(
        &self,
        located: &LocatedObject,
        directory: &RoutingTable,
        trust: TrustStoreId,
    ) -> Result<Rc<CachedEndpoint>, ProxyError> {
        let mut entries = self.0.borrow_mut();
        if let Some(entry) = entries.iter().find(|entry| entry.is_for(located)) {
            return Ok(Rc::clone(&entry.paved));
        }
        let paved = Rc::new(CachedEndpoint::new(ResolvedEndpoint::of(located, directory), trust)?);
        entries.truncate(ENTRIES_MAX - 1);
        entries.push_front(EndpointCacheEntry {
            upstream: located.upstream,
            bucket: located.bucket.clone(),
            place: located.place.clone(),
            paved: Rc::clone(&paved),
        });
        Ok(paved)
    }
}

impl EndpointCacheEntry {
    fn is_for(&self, located: &LocatedObject) -> bool {
        self.upstream == located.upstream && self.bucket == located.bucket && self.place == located.place
    }
}

impl CachedEndpoint {
    fn new(way: ResolvedEndpoint, trust: TrustStoreId) -> Result<Self, ProxyError> {
        let destination = destination(&way, trust);
        let host = HeaderValue::from_str(&way.host).map_err(|_| ProxyError::Unsendable)?;
        Ok(Self { way, host, destination: Rc::new(destination) })
    }

    /// Returns the scheme of a signature made at `now`.
    pub(super) fn scheme(
        &self,
        version: SignatureVersion,
        now: &SigningTime,
    ) -> Result<SigningScheme<'_>, ProxyError> {
        SigningScheme::select(version, self.way.region.as_ref(), now.day()).ok_or(ProxyError::NoRegion)
    }
}

/// Returns the destination for a resolved endpoint whose upstream uses the trust store `trust`.
#[must_use]
pub fn destination(way: &ResolvedEndpoint, trust: TrustStoreId) -> UpstreamDestination {
    UpstreamDestination {
        dial: way.dial.clone(),
        tls: match way.scheme {
            UrlScheme::Https => Some((way.name.clone(), trust)),
            UrlScheme::Http => None,
        },
        guard: if way.dials_oss_name { LoopbackPolicy::OssName } else { LoopbackPolicy::Configured },
    }
}

/// The capacity of the cache. It is bounded because clients choose the bucket names.
const ENTRIES_MAX: usize = 64;
