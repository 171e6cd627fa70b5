//! The response to a HEAD of a bucket that is not forwarded. Tools send one first, also with rights to
//! only a part of the bucket.

use http::{HeaderName, HeaderValue, Response};

use super::error::OSS_REQUEST_ID;
use super::response_body::ResponseBody;
use crate::address::LocatedObject;
use crate::oss::{Operation, Region};
use crate::policy::{CallerRights, RequestShape};
use crate::telemetry::AccessLogEvent;

/// A HEAD of a bucket in which the caller holds a grant, but not the one that OSS asks for.
pub(super) struct BucketProbe {
    /// The region of the route, if it has one.
    region: Option<Region>,
}

impl BucketProbe {
    /// Returns the probe if the request only asks for a bucket in which the rights grant anything.
    pub(super) fn for_request(
        object: &LocatedObject,
        region: Option<&Region>,
        rights: &CallerRights,
        shape: &RequestShape<'_>,
    ) -> Option<Self> {
        let bucket = object.bucket.as_ref().filter(|_| object.operation == Operation::HeadBucket)?;
        let is_known = rights.grants_in(bucket.as_str(), &shape.facts);
        is_known.then(|| Self { region: region.cloned() })
    }

    /// Builds the response. It says nothing about the bucket, not even that it exists.
    pub(super) fn respond(self, mut access: AccessLogEvent) -> Response<ResponseBody> {
        access.answered(200);
        let id = HeaderValue::from_bytes(&access.id.digits());
        let mut response = Response::new(ResponseBody::own("", access));
        let headers = response.headers_mut();
        headers.extend(id.ok().map(|id| (OSS_REQUEST_ID, id)));
        let region = self.region.and_then(|region| HeaderValue::from_str(region.as_str()).ok());
        headers.extend(region.map(|region| (BUCKET_REGION, region)));
        response
    }
}

const BUCKET_REGION: HeaderName = HeaderName::from_static("x-oss-bucket-region");
