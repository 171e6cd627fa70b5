//! The closed lists of parameters of the operations.

use std::str;

use super::not_understood::NotUnderstood;
use crate::oss::{Operation, Operation as O, Query};

/// Checks that each parameter selects the operation or is in its list, occurs once, and is UTF-8.
pub(super) fn check(operation: Operation, query: &Query) -> Result<(), NotUnderstood> {
    let params = query.params();
    if params.is_empty() {
        return Ok(());
    }
    let optional = optional(operation);
    for (index, param) in params.iter().enumerate() {
        let name = || String::from_utf8_lossy(&param.name).into_owned();
        if str::from_utf8(param.value.as_deref().unwrap_or_default()).is_err() {
            return Err(NotUnderstood::ParameterEncoding(name()));
        }
        // guard: parameters-occur-once
        if params[..index].iter().any(|earlier| earlier.name == param.name) {
            return Err(NotUnderstood::RepeatedParameter(name()));
        }
        let known = operation.is_selected_by_parameter(&param.name)
            || optional.iter().any(|list| list.iter().any(|one| one.as_bytes() == param.name));
        // guard: listed-parameters-alone
        if !known {
            return Err(NotUnderstood::UnknownParameter(name(), operation));
        }
    }
    Ok(())
}

/// Returns the optional parameters of an operation.
fn optional(operation: Operation) -> &'static [&'static [&'static str]] {
    OPTIONAL.iter().find(|(operations, _)| operations.contains(&operation)).map_or(&[], |(_, lists)| lists)
}

const LISTING: &[&str] = &["prefix", "marker", "delimiter", "max-keys", "encoding-type"];

const CALLBACK: &[&str] = &["callback", "callback-var"];

const RESPONSE: &[&str] = &[
    "response-content-type",
    "response-content-language",
    "response-expires",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
];

/// Operations with their optional parameters, those with the most requests first.
const OPTIONAL: &[(&[O], &[&[&str]])] = &[
    (
        &[O::ListBuckets],
        &[&["prefix", "marker", "max-keys", "tag-key", "tag-value", "tagging", "regionList"]],
    ),
    (&[O::ListObjects], &[LISTING]),
    (&[O::ListObjectsV2], &[LISTING, &["start-after", "continuation-token", "fetch-owner"]]),
    (&[O::ListObjectVersions], &[LISTING, &["key-marker", "version-id-marker"]]),
    (&[O::ListMultipartUploads], &[LISTING, &["key-marker", "upload-id-marker", "max-uploads"]]),
    (&[O::GetObject], &[RESPONSE, &["versionId", "x-oss-process", "x-oss-traffic-limit"]]),
    (
        &[
            O::HeadObject,
            O::GetObjectMeta,
            O::DeleteObject,
            O::RestoreObject,
            O::CleanRestoredObject,
            O::PutObjectAcl,
            O::GetObjectAcl,
            O::PutObjectTagging,
            O::GetObjectTagging,
            O::DeleteObjectTagging,
            O::GetSymlink,
            O::PutObjectRetention,
            O::GetObjectRetention,
            O::PutObjectLegalHold,
            O::GetObjectLegalHold,
        ],
        &[&["versionId"]],
    ),
    (&[O::PutObject], &[CALLBACK]),
    (&[O::CompleteMultipartUpload], &[CALLBACK, &["encoding-type"]]),
    (&[O::InitiateMultipartUpload], &[&["encoding-type", "sequential"]]),
    (&[O::ListParts], &[&["encoding-type", "max-parts", "part-number-marker"]]),
    (&[O::DeleteMultipleObjects], &[&["encoding-type"]]),
    (&[O::GetBucketReplicationProgress], &[&["rule-id"]]),
    (&[O::OpenMetaQuery, O::DoMetaQuery], &[&["mode"]]),
    (&[O::PutStyle], &[&["category"]]),
    (&[O::ListBucketInventory], &[&["continuation-token"]]),
    (
        &[O::ListAccessPoints, O::ListAccessPointsForObjectProcess, O::ListUserDataRedundancyTransition],
        &[&["continuation-token", "max-keys"]],
    ),
];
