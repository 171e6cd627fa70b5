//! The closed lists of `x-oss-` headers of the operations.

use http::{HeaderMap, HeaderName, Method};

use super::not_understood::NotUnderstood;
use crate::oss::{AccessKind, Operation, Operation as O};

/// Checks that each `x-oss-` header is in the list of the operation and occurs once. Returns the
/// headers that have no meaning and are removed: copy sources of reads.
pub(super) fn check(
    operation: Operation,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Vec<HeaderName>, NotUnderstood> {
    let mut removed = Vec::new();
    for name in headers.keys() {
        let text = name.as_str();
        if !text.starts_with("x-oss-") && !text.starts_with("x-amz-") {
            continue;
        }
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(NotUnderstood::RepeatedHeader(text.to_owned()));
        }
        let listed = allowed(operation).iter().any(|list| list.contains(&text))
            || text == "x-oss-user-agent"
            || operation.is_selected_by_header(text)
            || (text.starts_with("x-oss-meta-") && takes_metadata(operation));
        if listed {
            continue;
        }
        let reads = matches!(*method, Method::GET | Method::HEAD);
        // guard: listed-headers-alone
        if reads && text.starts_with("x-oss-copy-source") {
            removed.push(name.clone());
        } else {
            return Err(NotUnderstood::UnknownHeader(text.to_owned(), operation));
        }
    }
    Ok(removed)
}

fn takes_metadata(operation: Operation) -> bool {
    matches!(
        operation,
        O::PutObject | O::AppendObject | O::InitiateMultipartUpload | O::CopyObject | O::PutSymlink
    )
}

fn allowed(operation: Operation) -> &'static [&'static [&'static str]] {
    let listed = ALLOWED.iter().find(|(operations, _)| operations.contains(&operation));
    let any_requester_pays = operation.needs_key() || operation.access() == AccessKind::Read;
    listed.map_or(if any_requester_pays { &[PAYER] } else { &[] }, |(_, lists)| lists)
}

const UPLOAD: &[&str] = &[
    "x-oss-object-acl",
    "x-oss-storage-class",
    "x-oss-tagging",
    "x-oss-forbid-overwrite",
    "x-oss-server-side-encryption",
    "x-oss-server-side-data-encryption",
    "x-oss-server-side-encryption-key-id",
    "x-oss-traffic-limit",
];

const COPY: &[&str] = &[
    "x-oss-copy-source",
    "x-oss-copy-source-range",
    "x-oss-copy-source-if-match",
    "x-oss-copy-source-if-none-match",
    "x-oss-copy-source-if-modified-since",
    "x-oss-copy-source-if-unmodified-since",
    "x-oss-metadata-directive",
    "x-oss-tagging-directive",
];

const CALLBACK: &[&str] = &["x-oss-callback", "x-oss-callback-var"];

const PAYER: &[&str] = &["x-oss-request-payer"];

/// Operations with their headers, those with the most requests first.
const ALLOWED: &[(&[O], &[&[&str]])] = &[
    (&[O::PutObject, O::AppendObject, O::InitiateMultipartUpload], &[UPLOAD, CALLBACK, PAYER]),
    (&[O::CopyObject], &[UPLOAD, COPY, PAYER]),
    (&[O::UploadPart], &[&["x-oss-traffic-limit"], PAYER]),
    (&[O::UploadPartCopy], &[COPY, PAYER]),
    (
        &[O::CompleteMultipartUpload],
        &[
            &["x-oss-complete-all", "x-oss-forbid-overwrite", "x-oss-object-acl", "x-oss-tagging"],
            CALLBACK,
            PAYER,
        ],
    ),
    (
        &[O::PutSymlink],
        &[&["x-oss-object-acl", "x-oss-storage-class", "x-oss-forbid-overwrite", "x-oss-tagging"], PAYER],
    ),
    (&[O::GetObject], &[&["x-oss-range-behavior", "x-oss-traffic-limit"], PAYER]),
    (&[O::PutObjectAcl], &[&["x-oss-object-acl"], PAYER]),
    (&[O::PutBucketAcl], &[&["x-oss-acl"]]),
    (&[O::PutBucket], &[&["x-oss-acl", "x-oss-resource-group-id"]]),
    (&[O::ListBuckets], &[&["x-oss-resource-group-id"]]),
    (&[O::PutBucketLifecycle], &[&["x-oss-allow-same-action-overlap"]]),
    (&[O::DeleteObject, O::PutObjectRetention], &[&["x-oss-bypass-governance-retention"], PAYER]),
    (&[O::DeleteDirectory], &[&["x-oss-delete-recursive"], PAYER]),
    (&[O::DeleteMultipleObjects], &[PAYER]),
];
