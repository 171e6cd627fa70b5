//! The filter of a list of buckets, which OSS itself cannot narrow.

use std::net::IpAddr;
use std::sync::Arc;

use crate::caller::{BucketListing, Caller};
use crate::oss::{BucketList, InvalidBucketList, Operation};
use crate::policy::{RequestFacts, RequestOrigin, RequestShape};
use crate::time::Timestamp;

/// Keeps the buckets of a list in which the caller of the request holds a grant.
pub(super) struct BucketFilter {
    caller: Arc<Caller>,
    address: Option<IpAddr>,
    secure: bool,
    now: Timestamp,
    user_agent: Option<String>,
    /// The region of the route, for buckets without one.
    region: String,
}

impl BucketFilter {
    /// Returns the filter if the request asks for all buckets, and the caller gets a part of them.
    pub(super) fn for_request(
        operation: Operation,
        caller: &Arc<Caller>,
        shape: &RequestShape<'_>,
    ) -> Option<Box<Self>> {
        if operation != Operation::ListBuckets || caller.bucket_listing != BucketListing::Filter {
            return None;
        }
        let RequestFacts { origin, region, user_agent, .. } = &shape.facts;
        let RequestOrigin { address, secure, now, .. } = *origin;
        Some(Box::new(Self {
            caller: Arc::clone(caller),
            address,
            secure,
            now,
            user_agent: user_agent.map(str::to_owned),
            region: (*region).to_owned(),
        }))
    }

    /// Returns the document with the buckets that the caller may know.
    pub(super) fn apply(&self, document: &[u8]) -> Result<String, InvalidBucketList> {
        let Self { caller, address, secure, now, user_agent, region } = self;
        let mut list = BucketList::parse(document)?;
        // guard: unknown-buckets-are-removed
        list.retain(|bucket| {
            let origin =
                RequestOrigin { caller: &caller.name, address: *address, secure: *secure, now: *now };
            let facts = RequestFacts {
                origin,
                region: bucket.region.unwrap_or(region),
                user_agent: user_agent.as_deref(),
                prefix: None,
                delimiter: None,
                bucket_acl: None,
                object_acl: None,
                tags: Vec::new(),
            };
            caller.rights.grants_in(bucket.name, &facts)
        });
        Ok(list.to_xml())
    }
}
