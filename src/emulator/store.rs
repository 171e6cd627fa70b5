//! The stored state: buckets, objects, unfinished multipart uploads. Held in memory, ordered by the
//! bytes of the key.

use base16ct::upper;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use md5::{Digest as _, Md5};

use super::error::OssError;
use crate::oss::Bucket;
use crate::time::Timestamp;

/// All buckets.
#[derive(Debug, Default)]
pub(super) struct ObjectStore {
    pub(super) buckets: BTreeMap<Bucket, BucketContents>,
}

/// The contents and settings of a bucket.
#[derive(Debug)]
pub(super) struct BucketContents {
    pub(super) created: Timestamp,
    pub(super) acl: &'static str,
    /// Setting documents as uploaded, by parameter name. They are stored and returned, but have no
    /// effect.
    pub(super) settings: BTreeMap<&'static str, Bytes>,
    pub(super) objects: BTreeMap<Vec<u8>, StoredObject>,
    pub(super) uploads: BTreeMap<String, MultipartUpload>,
}

/// A stored object.
#[derive(Clone, Debug)]
pub(super) struct StoredObject {
    pub(super) data: Bytes,
    /// The entity tag, including its quotes.
    pub(super) etag: String,
    /// Missing for an object assembled from parts.
    pub(super) md5: Option<[u8; 16]>,
    pub(super) crc: u64,
    pub(super) kind: ObjectKind,
    pub(super) modified: Timestamp,
    pub(super) traits: ObjectMetadata,
    /// The target of a symbolic link, as uploaded.
    pub(super) link: Option<HeaderValue>,
    /// True once an archived object has been restored and can be read.
    pub(super) is_restored: bool,
}

/// The metadata of an object, set when it is uploaded.
#[derive(Clone, Debug)]
pub(super) struct ObjectMetadata {
    /// Standard headers and `x-oss-meta-…`, as uploaded.
    pub(super) headers: HeaderMap,
    pub(super) acl: &'static str,
    /// The storage class.
    pub(super) class: &'static str,
    pub(super) tags: Vec<(String, String)>,
}

/// The type of an object, by the operation that created it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectKind {
    Normal,
    Multipart,
    Appendable,
    Symlink,
}

/// An unfinished multipart upload.
#[derive(Debug)]
pub(super) struct MultipartUpload {
    pub(super) key: Vec<u8>,
    pub(super) started: Timestamp,
    pub(super) traits: ObjectMetadata,
    pub(super) parts: BTreeMap<u32, UploadedPart>,
}

/// One part of a multipart upload.
#[derive(Debug)]
pub(super) struct UploadedPart {
    pub(super) payload: SummedBody,
    pub(super) modified: Timestamp,
}

/// A complete body with its checksums.
#[derive(Clone, Debug, Default)]
pub(super) struct SummedBody {
    pub(super) data: Bytes,
    pub(super) md5: [u8; 16],
    pub(super) crc: u64,
}

impl ObjectStore {
    /// Returns the contents of a bucket.
    pub(super) fn bucket(&mut self, bucket: &Bucket) -> Result<&mut BucketContents, OssError> {
        self.buckets.get_mut(bucket).ok_or_else(|| OssError::no_such_bucket(bucket.as_str()))
    }
}

impl BucketContents {
    pub(super) fn new(created: Timestamp) -> Self {
        Self {
            created,
            acl: PRIVATE,
            settings: BTreeMap::new(),
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
        }
    }

    /// Returns an object by key.
    pub(super) fn object(&self, key: &[u8]) -> Result<&StoredObject, OssError> {
        self.objects.get(key).ok_or_else(|| OssError::no_such_key(key))
    }

    /// Returns a mutable object by key.
    pub(super) fn object_mut(&mut self, key: &[u8]) -> Result<&mut StoredObject, OssError> {
        self.objects.get_mut(key).ok_or_else(|| OssError::no_such_key(key))
    }
}

impl StoredObject {
    /// Creates an object from a single body.
    pub(super) fn new(payload: SummedBody, traits: ObjectMetadata, modified: Timestamp) -> Self {
        Self {
            etag: payload.etag(),
            md5: Some(payload.md5),
            crc: payload.crc,
            data: payload.data,
            kind: ObjectKind::Normal,
            modified,
            traits,
            link: None,
            is_restored: false,
        }
    }

    /// Returns whether the object must be restored before it can be read.
    pub(super) fn is_archived(&self) -> bool {
        self.traits.class.ends_with("Archive")
    }

    /// Returns the MD5 in the form of `Content-MD5`.
    pub(super) fn md5_base64(&self) -> Option<String> {
        self.md5.map(|md5| STANDARD.encode(md5))
    }
}

impl Default for ObjectMetadata {
    fn default() -> Self {
        Self { headers: HeaderMap::new(), acl: "default", class: "Standard", tags: Vec::new() }
    }
}

impl SummedBody {
    /// Computes the checksums of `data`.
    pub(super) fn new(data: Bytes) -> Self {
        let mut crc = crc64fast::Digest::new();
        crc.write(&data);
        Self { md5: Md5::digest(&data).into(), crc: crc.sum64(), data }
    }

    /// Returns the MD5 in the form of `ETag`: upper-case digits in quotes.
    pub(super) fn etag(&self) -> String {
        format!("\"{}\"", upper::encode_string(&self.md5))
    }
}

impl ObjectKind {
    /// Returns the value for `x-oss-object-type` and listings.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Multipart => "Multipart",
            Self::Appendable => "Appendable",
            Self::Symlink => "Symlink",
        }
    }
}

/// The default ACL of a bucket.
pub(super) const PRIVATE: &str = "private";
