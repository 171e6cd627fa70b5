//! The operations: selection by request, and the parts they share.

mod bucket;
mod bucket_config;
mod condition;
mod copy;
mod list;
mod multi_delete;
mod multipart;
mod object;
mod object_metadata;
mod range;
mod restore;
mod symlink;
mod tagging;
mod uploads;
mod xml;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode, header};

use super::encoding::ParameterPairs;
use super::error::OssError;
use super::request::{OssRequest, RequestTarget};
use super::response::OssResponse;
use super::settings::ServiceIdentity;
use super::store::{BucketContents, ObjectStore, SummedBody};
use crate::oss::{Bucket, Operation, Query};
use crate::time::Timestamp;

/// The operation selected for a request, and its requirements.
#[derive(Clone, Copy, Debug)]
pub(super) struct OperationPlan {
    run: RunOperation,
    need: OperationNeed,
    open_to: PublicAccess,
}

/// The callers permitted by a public ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PublicAccess {
    /// Any caller that the ACL permits.
    All,
    /// The owner only, whatever the ACL.
    Owner,
}

/// The inputs of an operation, and the state it can change.
#[derive(Debug)]
pub(super) struct OperationContext<'a> {
    pub(super) request: &'a OssRequest,
    pub(super) identity: &'a ServiceIdentity,
    pub(super) store: &'a mut ObjectStore,
    pub(super) now: Timestamp,
    pub(super) payload: SummedBody,
}

type RunOperation = fn(OperationContext<'_>) -> Result<OssResponse, OssError>;

/// The access that an operation needs to its bucket and its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OperationNeed {
    Read,
    Change,
    /// Changes the bucket and requires a body.
    Body,
    /// Changes the bucket; the body is optional.
    MayHaveBody,
    /// Changes the bucket and requires a body with a checksum.
    SummedBody,
    /// Creates the bucket; the body is optional.
    NoBucket,
}

/// Selects the operation by method, target and sub-resource.
pub(super) fn plan(request: &OssRequest) -> Result<OperationPlan, OssError> {
    let plan = match request.target {
        RequestTarget::Service => service(request),
        RequestTarget::Bucket(_) => on_bucket(request),
        RequestTarget::Object(..) => on_object(request),
    };
    let plan = plan.map_err(|failure| match asked_for(request) {
        Some(operation) if failure.is_not_implemented() => failure.with("Operation", operation.name()),
        Some(_) | None => failure,
    })?;
    let framed = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let has_length = framed.iter().any(|name| request.headers.contains_key(name));
    if matches!(plan.need, OperationNeed::Body | OperationNeed::SummedBody) && !has_length {
        return Err(OssError::new(
            StatusCode::LENGTH_REQUIRED,
            "MissingContentLength",
            "You must provide the Content-Length HTTP header.",
        ));
    }
    Ok(plan)
}

/// Checks the body against the `Content-MD5` of the request.
pub(super) fn check_payload(
    request: &OssRequest,
    payload: &SummedBody,
    plan: &OperationPlan,
) -> Result<(), OssError> {
    let Some(given) = request.header("content-md5") else {
        if plan.need == OperationNeed::SummedBody {
            return Err(OssError::new(
                StatusCode::BAD_REQUEST,
                "MissingArgument",
                "Missing Some Required Arguments.",
            )
            .with("ArgumentName", "Content-MD5"));
        }
        return Ok(());
    };
    if !plan.reads_body() || STANDARD.decode(given.trim()).is_ok_and(|md5| md5 == payload.md5) {
        return Ok(());
    }
    Err(OssError::new(
        StatusCode::BAD_REQUEST,
        "InvalidDigest",
        "The Content-MD5 you specified is not valid or is not that of the body.",
    )
    .with("Content-MD5", given))
}

impl OperationPlan {
    pub(super) fn reads_body(&self) -> bool {
        !matches!(self.need, OperationNeed::Read | OperationNeed::Change)
    }

    pub(super) fn makes_bucket(&self) -> bool {
        self.need == OperationNeed::NoBucket
    }

    /// Returns whether an ACL permits this operation for anonymous callers.
    pub(super) fn is_public(&self, acl: &str) -> bool {
        match acl {
            _ if self.open_to == PublicAccess::Owner => false,
            "public-read" => self.need == OperationNeed::Read,
            "public-read-write" => true,
            _ => false,
        }
    }

    pub(super) fn run(&self, context: OperationContext<'_>) -> Result<OssResponse, OssError> {
        (self.run)(context)
    }

    fn new(run: RunOperation, need: OperationNeed) -> Self {
        Self { run, need, open_to: PublicAccess::All }
    }

    fn read(run: RunOperation) -> Self {
        Self::new(run, OperationNeed::Read)
    }

    fn change(run: RunOperation) -> Self {
        Self::new(run, OperationNeed::Change)
    }

    fn body(run: RunOperation) -> Self {
        Self::new(run, OperationNeed::Body)
    }

    fn for_owner(self) -> Self {
        Self { open_to: PublicAccess::Owner, ..self }
    }
}

impl<'a> OperationContext<'a> {
    fn query(&self) -> &'a ParameterPairs {
        &self.request.query
    }

    /// Returns the bucket that the request addresses.
    fn bucket(&self) -> Result<&'a Bucket, OssError> {
        self.request.target.bucket().ok_or_else(OssError::method)
    }

    /// Returns the bucket, its contents and the key. The key is empty for an operation on the
    /// bucket itself.
    fn locate(&mut self) -> Result<(&'a Bucket, &mut BucketContents, &'a [u8]), OssError> {
        let request = self.request;
        let bucket = self.bucket()?;
        let key = match &request.target {
            RequestTarget::Object(_, key) => key.as_slice(),
            RequestTarget::Service | RequestTarget::Bucket(_) => &[],
        };
        Ok((bucket, self.store.bucket(bucket)?, key))
    }
}

fn service(request: &OssRequest) -> Result<OperationPlan, OssError> {
    match asked_for(request) {
        Some(Operation::DescribeRegions) if request.method == Method::GET => {
            Ok(OperationPlan::read(bucket::regions))
        }
        Some(Operation::ListBuckets) if request.method == Method::GET => {
            Ok(OperationPlan::read(bucket::list_all))
        }
        Some(Operation::ListBuckets | Operation::DescribeRegions) | None => Err(OssError::method()),
        Some(operation) if operation.is_of_service() => Err(OssError::not_implemented()),
        Some(_) => Err(OssError::method()),
    }
}

/// Returns the OSS operation that the request names, if known.
fn asked_for(request: &OssRequest) -> Option<Operation> {
    let mut query = Query::default();
    for pair in &request.query.0 {
        query.push(&String::from_utf8_lossy(&pair.name), &*pair.value);
    }
    let (bucketless, keyless) = match &request.target {
        RequestTarget::Service => (true, true),
        RequestTarget::Bucket(_) => (false, true),
        RequestTarget::Object(..) => (false, false),
    };
    Operation::classify(&request.method, bucketless, keyless, &query, &request.headers)
}

fn on_bucket(request: &OssRequest) -> Result<OperationPlan, OssError> {
    let query = &request.query;
    if NOT_SERVED_ON_BUCKETS.iter().any(|name| query.has(name)) {
        return Err(OssError::not_implemented());
    }
    if let Some(plan) = bucket_config::plan(request) {
        return plan.map(OperationPlan::for_owner);
    }
    match request.method {
        Method::GET if query.has("stat") => Ok(OperationPlan::read(bucket::stat).for_owner()),
        Method::GET if query.has("location") => Ok(OperationPlan::read(bucket::location).for_owner()),
        Method::GET if query.has("bucketInfo") => Ok(OperationPlan::read(bucket::info).for_owner()),
        Method::GET if query.has("acl") => Ok(OperationPlan::read(bucket::get_acl).for_owner()),
        Method::GET if query.has("uploads") => Ok(OperationPlan::read(uploads::list_uploads)),
        Method::GET if query.get("list-type") == Some("2") => Ok(OperationPlan::read(list::second)),
        Method::GET => Ok(OperationPlan::read(list::first)),
        Method::HEAD => Ok(OperationPlan::read(bucket::head)),
        Method::PUT if query.has("acl") => Ok(OperationPlan::change(bucket::put_acl).for_owner()),
        Method::PUT => Ok(OperationPlan::new(bucket::create, OperationNeed::NoBucket).for_owner()),
        Method::DELETE => Ok(OperationPlan::change(bucket::delete).for_owner()),
        Method::POST if query.has("delete") => {
            Ok(OperationPlan::new(multi_delete::run, OperationNeed::SummedBody))
        }
        Method::POST | Method::OPTIONS => Err(OssError::not_implemented()),
        _ => Err(OssError::method()),
    }
}

fn on_object(request: &OssRequest) -> Result<OperationPlan, OssError> {
    let query = &request.query;
    if NOT_SERVED_ON_OBJECTS.iter().any(|name| query.has(name)) {
        return Err(OssError::not_implemented());
    }
    let copies = request.headers.contains_key("x-oss-copy-source");
    let of_upload = query.has("uploadId");
    match request.method {
        Method::GET if of_upload => Ok(OperationPlan::read(uploads::list_parts)),
        Method::GET if query.has("acl") => Ok(OperationPlan::read(object::get_acl).for_owner()),
        Method::GET if query.has("symlink") => Ok(OperationPlan::read(symlink::get_symlink)),
        Method::GET if query.has("tagging") => Ok(OperationPlan::read(tagging::get_tags)),
        Method::PUT if query.has("symlink") => Ok(OperationPlan::change(symlink::put_symlink)),
        Method::PUT if query.has("tagging") => Ok(OperationPlan::body(tagging::put_tags)),
        Method::DELETE if query.has("tagging") => Ok(OperationPlan::change(tagging::delete_tags)),
        Method::GET if query.has("objectMeta") => Ok(OperationPlan::read(object::meta)),
        Method::GET => Ok(OperationPlan::read(object::get)),
        Method::HEAD if query.has("objectMeta") => Ok(OperationPlan::read(object::meta)),
        Method::HEAD => Ok(OperationPlan::read(object::get)),
        Method::PUT if of_upload && copies => Ok(OperationPlan::change(copy::part)),
        Method::PUT if of_upload => Ok(OperationPlan::body(multipart::upload_part)),
        Method::PUT if query.has("acl") => Ok(OperationPlan::change(object::put_acl).for_owner()),
        Method::PUT if copies => Ok(OperationPlan::change(copy::object)),
        Method::PUT => Ok(OperationPlan::body(object::put)),
        Method::DELETE if of_upload => Ok(OperationPlan::change(multipart::abort)),
        Method::DELETE => Ok(OperationPlan::change(object::delete)),
        Method::POST if query.has("uploads") => Ok(OperationPlan::change(multipart::initiate)),
        Method::POST if of_upload && request.header("x-oss-complete-all").is_some() => {
            Ok(OperationPlan::change(multipart::complete))
        }
        Method::POST if of_upload => Ok(OperationPlan::body(multipart::complete)),
        Method::POST if query.has("restore") => {
            Ok(OperationPlan::new(restore::restore, OperationNeed::MayHaveBody))
        }
        Method::POST if query.has("append") => Ok(OperationPlan::body(object::append)),
        Method::POST | Method::OPTIONS => Err(OssError::not_implemented()),
        _ => Err(OssError::method()),
    }
}

/// Sub-resources of buckets that the emulator does not implement. It rejects them, because silently
/// executing a different operation would be worse.
const NOT_SERVED_ON_BUCKETS: [&str; 28] = [
    "accessPoint",
    "accessPointPolicy",
    "append",
    "bucketArchiveDirectRead",
    "cname",
    "comp",
    "dataPipeline",
    "httpsConfig",
    "inventory",
    "live",
    "metaQuery",
    "objectWorm",
    "overwriteConfig",
    "policyStatus",
    "processConfiguration",
    "publicAccessBlock",
    "qosInfo",
    "qosRequester",
    "redundancyTransition",
    "replicationLocation",
    "replicationProgress",
    "requesterQosInfo",
    "resourceGroup",
    "style",
    "userDefinedLogFieldsConfig",
    "versions",
    "vod",
    "wormId",
];

/// Sub-resources of objects that the emulator does not implement.
const NOT_SERVED_ON_OBJECTS: [&str; 14] = [
    "asyncFetch",
    "callback",
    "cleanRestoredObject",
    "img",
    "legalHold",
    "live",
    "retention",
    "seal",
    "sequential",
    "versionId",
    "vod",
    "withHashContext",
    "x-oss-async-process",
    "x-oss-process",
];
