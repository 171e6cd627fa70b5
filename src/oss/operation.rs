//! Which of OSS's operations a request asks for: the word that policy decides by and the access log shows.

use http::{HeaderMap, Method, header};

use super::query::Query;

/// An operation of OSS, as far as this proxy tells them apart. Bucket and object settings that differ only in their
/// parameter (`?acl`, `?cors`, …) share one word for each way of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the OSS API reference")]
pub enum Operation {
    ListBuckets,
    DescribeRegions,
    ListObjects,
    ListObjectsV2,
    ListMultipartUploads,
    ListParts,
    GetBucketSettings,
    PutBucket,
    PutBucketSettings,
    DeleteBucket,
    DeleteBucketSettings,
    DeleteMultipleObjects,
    PostBucketSettings,
    GetObject,
    HeadObject,
    GetObjectSettings,
    PutObject,
    PutObjectSettings,
    CopyObject,
    AppendObject,
    DeleteObject,
    DeleteObjectSettings,
    InitiateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    PostObjectSettings,
    /// A browser's form upload: its credentials are in the body.
    PostObject,
    /// A browser's question before a request to another origin; it carries no credentials.
    Preflight,
}

/// What an operation does to what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It reads or lists.
    Read,
    /// It creates, changes or removes something, or may do so.
    Write,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Service,
    Bucket,
    Object,
}

impl Operation {
    /// All of them, in their order.
    pub const ALL: [Self; 30] = [
        Self::ListBuckets,
        Self::DescribeRegions,
        Self::ListObjects,
        Self::ListObjectsV2,
        Self::ListMultipartUploads,
        Self::ListParts,
        Self::GetBucketSettings,
        Self::PutBucket,
        Self::PutBucketSettings,
        Self::DeleteBucket,
        Self::DeleteBucketSettings,
        Self::DeleteMultipleObjects,
        Self::PostBucketSettings,
        Self::GetObject,
        Self::HeadObject,
        Self::GetObjectSettings,
        Self::PutObject,
        Self::PutObjectSettings,
        Self::CopyObject,
        Self::AppendObject,
        Self::DeleteObject,
        Self::DeleteObjectSettings,
        Self::InitiateMultipartUpload,
        Self::UploadPart,
        Self::UploadPartCopy,
        Self::CompleteMultipartUpload,
        Self::AbortMultipartUpload,
        Self::PostObjectSettings,
        Self::PostObject,
        Self::Preflight,
    ];

    /// The operation of a request, or `None` for methods that OSS does not have. `bucketless` requests name neither bucket
    /// nor key; `keyless` ones name no key.
    #[must_use]
    pub fn of(
        method: &Method,
        bucketless: bool,
        keyless: bool,
        query: &Query,
        headers: &HeaderMap,
    ) -> Option<Self> {
        let level = match (bucketless, keyless) {
            (true, _) => Level::Service,
            (false, true) => Level::Bucket,
            (false, false) => Level::Object,
        };
        Some(match *method {
            Method::OPTIONS => Self::Preflight,
            Method::GET | Method::HEAD => Self::of_get(method, level, query),
            Method::PUT => Self::of_put(level, query, headers.contains_key("x-oss-copy-source")),
            Method::POST => Self::of_post(level, query, is_form(headers)),
            Method::DELETE => Self::of_delete(level, query),
            _ => return None,
        })
    }

    /// Whether OSS may be at work on a whole object, for minutes, before it answers: copies, the end of a multipart upload,
    /// and settings that are set by POST (`restore`, `select`).
    #[must_use]
    pub fn works_on_whole_objects(self) -> bool {
        matches!(
            self,
            Self::CopyObject
                | Self::UploadPartCopy
                | Self::CompleteMultipartUpload
                | Self::PostObjectSettings
        )
    }

    /// The word for it in the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ListBuckets => "ListBuckets",
            Self::DescribeRegions => "DescribeRegions",
            Self::ListObjects => "ListObjects",
            Self::ListObjectsV2 => "ListObjectsV2",
            Self::ListMultipartUploads => "ListMultipartUploads",
            Self::ListParts => "ListParts",
            Self::GetBucketSettings => "GetBucketSettings",
            Self::PutBucket => "PutBucket",
            Self::PutBucketSettings => "PutBucketSettings",
            Self::DeleteBucket => "DeleteBucket",
            Self::DeleteBucketSettings => "DeleteBucketSettings",
            Self::DeleteMultipleObjects => "DeleteMultipleObjects",
            Self::PostBucketSettings => "PostBucketSettings",
            Self::GetObject => "GetObject",
            Self::HeadObject => "HeadObject",
            Self::GetObjectSettings => "GetObjectSettings",
            Self::PutObject => "PutObject",
            Self::PutObjectSettings => "PutObjectSettings",
            Self::CopyObject => "CopyObject",
            Self::AppendObject => "AppendObject",
            Self::DeleteObject => "DeleteObject",
            Self::DeleteObjectSettings => "DeleteObjectSettings",
            Self::InitiateMultipartUpload => "InitiateMultipartUpload",
            Self::UploadPart => "UploadPart",
            Self::UploadPartCopy => "UploadPartCopy",
            Self::CompleteMultipartUpload => "CompleteMultipartUpload",
            Self::AbortMultipartUpload => "AbortMultipartUpload",
            Self::PostObjectSettings => "PostObjectSettings",
            Self::PostObject => "PostObject",
            Self::Preflight => "Preflight",
        }
    }

    /// Whether the operation reads or may write.
    #[must_use]
    pub fn access(self) -> Access {
        match self {
            Self::ListBuckets
            | Self::DescribeRegions
            | Self::ListObjects
            | Self::ListObjectsV2
            | Self::ListMultipartUploads
            | Self::ListParts
            | Self::GetBucketSettings
            | Self::GetObject
            | Self::HeadObject
            | Self::GetObjectSettings => Access::Read,
            Self::PutBucket
            | Self::PutBucketSettings
            | Self::DeleteBucket
            | Self::DeleteBucketSettings
            | Self::DeleteMultipleObjects
            | Self::PostBucketSettings
            | Self::PutObject
            | Self::PutObjectSettings
            | Self::CopyObject
            | Self::AppendObject
            | Self::DeleteObject
            | Self::DeleteObjectSettings
            | Self::InitiateMultipartUpload
            | Self::UploadPart
            | Self::UploadPartCopy
            | Self::CompleteMultipartUpload
            | Self::AbortMultipartUpload
            | Self::PostObjectSettings
            | Self::PostObject
            | Self::Preflight => Access::Write,
        }
    }

    /// Whether the operation makes no sense without an object key. Requests that OSS also understands for a bucket are not
    /// among them: OSS judges those.
    #[must_use]
    pub fn needs_key(self, query: &Query) -> bool {
        let object_only = matches!(
            self,
            Self::AppendObject
                | Self::InitiateMultipartUpload
                | Self::UploadPart
                | Self::UploadPartCopy
                | Self::CompleteMultipartUpload
                | Self::AbortMultipartUpload
                | Self::ListParts
                | Self::CopyObject
        );
        let settings =
            matches!(self, Self::GetBucketSettings | Self::PutBucketSettings | Self::PostBucketSettings);
        let of_objects = || ["objectMeta", "symlink", "restore"].iter().any(|name| query.has(name));
        object_only || (settings && of_objects())
    }

    fn of_get(method: &Method, level: Level, query: &Query) -> Self {
        match level {
            Level::Service if query.has("regions") => Self::DescribeRegions,
            Level::Service => Self::ListBuckets,
            _ if query.has("uploadId") => Self::ListParts,
            Level::Bucket if query.has("uploads") => Self::ListMultipartUploads,
            Level::Bucket if is_listing_v2(query) => Self::ListObjectsV2,
            Level::Bucket if has_setting(query) => Self::GetBucketSettings,
            Level::Bucket => Self::ListObjects,
            Level::Object if has_setting(query) => Self::GetObjectSettings,
            Level::Object if *method == Method::HEAD => Self::HeadObject,
            Level::Object => Self::GetObject,
        }
    }

    fn of_put(level: Level, query: &Query, copies: bool) -> Self {
        match level {
            _ if query.has("partNumber") && copies => Self::UploadPartCopy,
            _ if query.has("partNumber") => Self::UploadPart,
            Level::Object if has_setting(query) => Self::PutObjectSettings,
            _ if copies => Self::CopyObject,
            Level::Object => Self::PutObject,
            Level::Service | Level::Bucket if has_setting(query) => Self::PutBucketSettings,
            Level::Service | Level::Bucket => Self::PutBucket,
        }
    }

    fn of_post(level: Level, query: &Query, form: bool) -> Self {
        match level {
            _ if query.has("append") => Self::AppendObject,
            _ if query.has("uploads") => Self::InitiateMultipartUpload,
            _ if query.has("uploadId") => Self::CompleteMultipartUpload,
            Level::Object => Self::PostObjectSettings,
            Level::Service | Level::Bucket if query.has("delete") => Self::DeleteMultipleObjects,
            Level::Service | Level::Bucket if form => Self::PostObject,
            Level::Service | Level::Bucket => Self::PostBucketSettings,
        }
    }

    fn of_delete(level: Level, query: &Query) -> Self {
        match level {
            _ if query.has("uploadId") => Self::AbortMultipartUpload,
            Level::Object if has_setting(query) => Self::DeleteObjectSettings,
            Level::Object => Self::DeleteObject,
            Level::Service | Level::Bucket if has_setting(query) => Self::DeleteBucketSettings,
            Level::Service | Level::Bucket => Self::DeleteBucket,
        }
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    const FORM: &[u8] = b"multipart/form-data";
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..FORM.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(FORM))
}

fn is_listing_v2(query: &Query) -> bool {
    query.get("list-type").is_some_and(|param| param.value.as_deref() == Some(b"2"))
}

/// Whether the query names a part of the bucket or object (`?acl`, `?tagging`, …) and not only options of the plain
/// operation. An unknown bare parameter counts as such a name; an unknown one with a value does not.
fn has_setting(query: &Query) -> bool {
    const OPTIONS: [&[u8]; 8] = [
        b"prefix",
        b"marker",
        b"delimiter",
        b"max-keys",
        b"encoding-type",
        b"list-type",
        b"start-after",
        b"fetch-owner",
    ];
    query.params().iter().any(|param| {
        let bare = param.value.as_ref().is_none_or(Vec::is_empty);
        bare && !OPTIONS.contains(&param.name.as_slice())
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::{Access, Operation};
    use crate::oss::Query;

    fn of(method: &str, target: &str, header: Option<(&'static str, &'static str)>) -> Option<Operation> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = Query::parse(query).expect("a query");
        let headers: HeaderMap = header
            .into_iter()
            .map(|(n, v)| (n.parse().expect("a name"), HeaderValue::from_static(v)))
            .collect();
        Operation::of(&method, path == "service", !path.contains('/'), &query, &headers)
    }

    #[test]
    fn requests_are_named_as_the_api_reference_names_them() {
        use Operation as O;
        let rows = [
            ("GET", "service", O::ListBuckets),
            ("GET", "service?regions", O::DescribeRegions),
            ("GET", "b", O::ListObjects),
            ("GET", "b?prefix=&delimiter=%2F", O::ListObjects),
            ("GET", "b?list-type=2&prefix", O::ListObjectsV2),
            ("GET", "b?acl", O::GetBucketSettings),
            ("GET", "b?uploads", O::ListMultipartUploads),
            ("GET", "b/k", O::GetObject),
            ("GET", "b/k?response-content-type=text%2Fplain", O::GetObject),
            ("HEAD", "b/k", O::HeadObject),
            ("HEAD", "b/k?objectMeta", O::GetObjectSettings),
            ("GET", "b/k?uploadId=1", O::ListParts),
            ("PUT", "b", O::PutBucket),
            ("PUT", "b?lifecycle", O::PutBucketSettings),
            ("PUT", "b/k", O::PutObject),
            ("PUT", "b/k?acl", O::PutObjectSettings),
            ("PUT", "b/k?partNumber=1&uploadId=x", O::UploadPart),
            ("POST", "b?delete", O::DeleteMultipleObjects),
            ("POST", "b/k?uploads", O::InitiateMultipartUpload),
            ("POST", "b/k?uploadId=x", O::CompleteMultipartUpload),
            ("POST", "b/k?append&position=0", O::AppendObject),
            ("DELETE", "b/k", O::DeleteObject),
            ("DELETE", "b/k?uploadId=x", O::AbortMultipartUpload),
            ("DELETE", "b", O::DeleteBucket),
            ("OPTIONS", "b/k", O::Preflight),
        ];
        for (method, target, expected) in rows {
            assert_eq!(of(method, target, None), Some(expected), "{method} {target}");
        }
    }

    #[test]
    fn headers_tell_copies_and_forms() {
        let copy = Some(("x-oss-copy-source", "/b/k"));
        assert_eq!(of("PUT", "b/k", copy), Some(Operation::CopyObject));
        assert_eq!(of("PUT", "b/k?partNumber=1&uploadId=x", copy), Some(Operation::UploadPartCopy));
        let form = Some(("content-type", "Multipart/Form-Data; boundary=x"));
        assert_eq!(of("POST", "b", form), Some(Operation::PostObject));
    }

    #[test]
    fn methods_that_oss_does_not_have_are_no_operation() {
        for method in ["TRACE", "CONNECT", "PATCH", "get", "PROPFIND"] {
            assert_eq!(of(method, "b/k", None), None, "{method}");
        }
    }

    #[test]
    fn only_get_and_head_read() {
        for (method, access) in [("GET", Access::Read), ("HEAD", Access::Read), ("PUT", Access::Write)] {
            for target in ["service", "b", "b/k", "b?acl", "b/k?acl", "b/k?uploadId=1"] {
                assert_eq!(
                    of(method, target, None).map(Operation::access),
                    Some(access),
                    "{method} {target}"
                );
            }
        }
    }
}
