//! Selects the operation of a request.

use http::Method;

use super::super::error::OssError;
use super::super::request::{OssRequest, RequestTarget};
use super::plan::{OperationNeed, OperationPlan};
use super::{
    bucket, bucket_config, copy, list, multi_delete, multipart, object, restore, symlink, tagging, uploads,
};
use crate::oss::{Operation, Query};

/// Selects the operation by method, target and sub-resource.
pub(in crate::emulator) fn select(request: &OssRequest) -> Result<OperationPlan, OssError> {
    let asked = asked_for(request);
    let plan = match request.target {
        _ if asked.is_some_and(is_missing) => Err(OssError::not_implemented()),
        RequestTarget::Service => on_service(request),
        RequestTarget::Bucket(_) => on_bucket(request),
        RequestTarget::Object(..) => on_object(request),
    };
    let plan = plan.map_err(|failure| match asked {
        Some(operation) if failure.is_not_implemented() => failure.with("Operation", operation.name()),
        Some(_) | None => failure,
    })?;
    plan.check_length(request)?;
    Ok(plan)
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

/// Returns whether the emulator does not implement an operation of OSS. Requests whose parameters
/// select none are judged by their parameters.
fn is_missing(operation: Operation) -> bool {
    !IMPLEMENTED.contains(&operation) && !operation.actions().is_empty()
}

fn on_service(request: &OssRequest) -> Result<OperationPlan, OssError> {
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
        Method::POST if asked_for(request) == Some(Operation::PostObject) => {
            Ok(OperationPlan::new(object::put, OperationNeed::Form))
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

/// The operations that the emulator implements.
const IMPLEMENTED: [Operation; 68] = [
    Operation::PostObject,
    Operation::ListBuckets,
    Operation::DescribeRegions,
    Operation::PutBucket,
    Operation::DeleteBucket,
    Operation::HeadBucket,
    Operation::ListObjects,
    Operation::ListObjectsV2,
    Operation::GetBucketInfo,
    Operation::GetBucketLocation,
    Operation::GetBucketStat,
    Operation::ListMultipartUploads,
    Operation::DeleteMultipleObjects,
    Operation::PutBucketAcl,
    Operation::GetBucketAcl,
    Operation::GetBucketVersioning,
    Operation::PutBucketRequestPayment,
    Operation::GetBucketRequestPayment,
    Operation::PutBucketAccessMonitor,
    Operation::GetBucketAccessMonitor,
    Operation::PutBucketCors,
    Operation::GetBucketCors,
    Operation::DeleteBucketCors,
    Operation::PutBucketEncryption,
    Operation::GetBucketEncryption,
    Operation::DeleteBucketEncryption,
    Operation::PutBucketLifecycle,
    Operation::GetBucketLifecycle,
    Operation::DeleteBucketLifecycle,
    Operation::PutBucketLogging,
    Operation::GetBucketLogging,
    Operation::DeleteBucketLogging,
    Operation::PutBucketPolicy,
    Operation::GetBucketPolicy,
    Operation::DeleteBucketPolicy,
    Operation::PutBucketReferer,
    Operation::GetBucketReferer,
    Operation::GetBucketReplication,
    Operation::PutBucketTags,
    Operation::GetBucketTags,
    Operation::DeleteBucketTags,
    Operation::PutBucketTransferAcceleration,
    Operation::GetBucketTransferAcceleration,
    Operation::PutBucketWebsite,
    Operation::GetBucketWebsite,
    Operation::DeleteBucketWebsite,
    Operation::GetBucketWorm,
    Operation::PutObject,
    Operation::GetObject,
    Operation::HeadObject,
    Operation::GetObjectMeta,
    Operation::CopyObject,
    Operation::AppendObject,
    Operation::DeleteObject,
    Operation::RestoreObject,
    Operation::PutObjectAcl,
    Operation::GetObjectAcl,
    Operation::PutObjectTagging,
    Operation::GetObjectTagging,
    Operation::DeleteObjectTagging,
    Operation::PutSymlink,
    Operation::GetSymlink,
    Operation::InitiateMultipartUpload,
    Operation::UploadPart,
    Operation::UploadPartCopy,
    Operation::CompleteMultipartUpload,
    Operation::AbortMultipartUpload,
    Operation::ListParts,
];

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
