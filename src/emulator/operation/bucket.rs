//! Operations on buckets: list, create, describe, delete.

use http::StatusCode;

use super::super::error::OssError;
use super::super::response::OssResponse;
use super::super::store::{BucketContents, PRIVATE};
use super::context::OperationContext;
use super::xml::XmlDocument;
use super::{list, object, object_metadata};

/// Handles ListBuckets.
pub(super) fn list_all(context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let query = context.query();
    let prefix = query.get("prefix").unwrap_or("");
    let marker = query.get("marker").unwrap_or("");
    let most = list::max_keys(query.get("max-keys"))?;
    let mut found = context
        .store
        .buckets
        .iter()
        .filter(|(bucket, _)| bucket.as_str().starts_with(prefix) && bucket.as_str() > marker);
    let page: Vec<_> = found.by_ref().take(most).collect();
    let more = found.next().is_some();
    let mut document = XmlDocument::new("ListAllMyBucketsResult");
    document.owner();
    if more || !prefix.is_empty() || !marker.is_empty() {
        document.text("Prefix", prefix);
        document.text("Marker", marker);
        document.text("MaxKeys", most.to_string());
        document.text("IsTruncated", more.to_string());
        if let Some((last, _)) = page.last().filter(|_| more) {
            document.text("NextMarker", last.as_str());
        }
    }
    document.open("Buckets");
    for (bucket, contents) in page {
        document.open("Bucket");
        write_bucket_info(&mut document, &context, bucket.as_str(), contents);
        document.close("Bucket");
    }
    document.close("Buckets");
    Ok(OssResponse::xml(document.finish()))
}

/// Handles HeadBucket: checks that the bucket exists.
pub(super) fn head(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    context.locate().map(|_| OssResponse::ok())
}

/// Handles PutBucket. Creating an existing bucket again succeeds.
pub(super) fn create(context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let bucket = context.bucket()?;
    let acl = context.request.header("x-oss-acl").map(object_metadata::bucket_acl).transpose()?;
    let now = context.now;
    let contents = context.store.buckets.entry(bucket.clone()).or_insert_with(|| BucketContents::new(now));
    if let Some(acl) = acl {
        contents.acl = acl;
    }
    Ok(OssResponse::ok().with("location", format!("/{bucket}")))
}

/// Handles DeleteBucket.
pub(super) fn delete(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let (bucket, contents, _) = context.locate()?;
    if !contents.objects.is_empty() || !contents.uploads.is_empty() {
        return Err(OssError::new(
            StatusCode::CONFLICT,
            "BucketNotEmpty",
            "The bucket has objects. Please delete them first.",
        )
        .with("BucketName", bucket.as_str()));
    }
    context.store.buckets.remove(bucket);
    Ok(OssResponse::new(StatusCode::NO_CONTENT))
}

/// Handles GetBucketLocation.
pub(super) fn location(context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let mut document = XmlDocument::new("LocationConstraint");
    document.text_only(&format!("oss-{}", context.identity.region));
    Ok(OssResponse::xml(document.finish()))
}

/// Handles GetBucketInfo.
pub(super) fn info(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let (bucket, _, _) = context.locate()?;
    let contents = &context.store.buckets[bucket];
    let mut document = XmlDocument::new("BucketInfo");
    document.open("Bucket");
    write_bucket_info(&mut document, &context, bucket.as_str(), contents);
    document.owner();
    document.open("AccessControlList");
    document.text("Grant", contents.acl);
    document.close("AccessControlList");
    document.text("DataRedundancyType", "LRS");
    document.text("AccessMonitor", "Disabled");
    document.text("BlockPublicAccess", "false");
    document.text("CrossRegionReplication", "Disabled");
    document.text("TransferAcceleration", "Disabled");
    document.open("ServerSideEncryptionRule");
    document.text("SSEAlgorithm", "None");
    document.close("ServerSideEncryptionRule");
    document.close("Bucket");
    Ok(OssResponse::xml(document.finish()))
}

/// Handles GetBucketStat.
pub(super) fn stat(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let now = context.now.unix_s();
    let (_, contents, _) = context.locate()?;
    let bytes: usize = contents.objects.values().map(|object| object.data.len()).sum();
    let parts = contents.uploads.values().map(|upload| upload.parts.len()).sum();
    let mut document = XmlDocument::new("BucketStat");
    for (name, number) in [
        ("Storage", bytes),
        ("ObjectCount", contents.objects.len()),
        ("MultipartUploadCount", contents.uploads.len()),
        ("MultipartPartCount", parts),
        ("LiveChannelCount", 0),
        ("StandardStorage", bytes),
        ("StandardObjectCount", contents.objects.len()),
    ] {
        document.text(name, number.to_string());
    }
    document.text("LastModifiedTime", now.to_string());
    Ok(OssResponse::xml(document.finish()))
}

/// Handles DescribeRegions. The emulator has a single region.
pub(super) fn regions(context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let region = context.identity.region.as_str();
    if context
        .query()
        .get("regions")
        .is_some_and(|asked| !asked.is_empty() && asked != format!("oss-{region}"))
    {
        return Err(OssError::new(StatusCode::NOT_FOUND, "NoSuchRegion", "The region does not exist."));
    }
    let mut document = XmlDocument::new("RegionInfoList");
    document.open("RegionInfo");
    document.text("Region", format!("oss-{region}"));
    document.text("InternetEndpoint", format!("oss-{region}.aliyuncs.com"));
    document.text("InternalEndpoint", format!("oss-{region}-internal.aliyuncs.com"));
    document.text("AccelerateEndpoint", "oss-accelerate.aliyuncs.com");
    document.close("RegionInfo");
    Ok(OssResponse::xml(document.finish()))
}

/// Handles GetBucketAcl.
pub(super) fn get_acl(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let (_, contents, _) = context.locate()?;
    Ok(object::acl_document(contents.acl))
}

/// Handles PutBucketAcl.
pub(super) fn put_acl(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let acl = object_metadata::bucket_acl(context.request.header("x-oss-acl").unwrap_or(PRIVATE))?;
    let (_, contents, _) = context.locate()?;
    contents.acl = acl;
    Ok(OssResponse::ok())
}

/// Writes the elements common to ListBuckets and GetBucketInfo.
fn write_bucket_info(
    document: &mut XmlDocument,
    context: &OperationContext<'_>,
    name: &str,
    contents: &BucketContents,
) {
    let region = context.identity.region.as_str();
    document.text("Name", name);
    document.text("Location", format!("oss-{region}"));
    document.text("Region", region);
    document.text("CreationDate", contents.created.iso_extended());
    document.text("StorageClass", "Standard");
    document.text("ExtranetEndpoint", format!("oss-{region}.aliyuncs.com"));
    document.text("IntranetEndpoint", format!("oss-{region}-internal.aliyuncs.com"));
}
