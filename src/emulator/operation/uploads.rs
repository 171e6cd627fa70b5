//! ListParts and ListMultipartUploads, in pages.

use std::ops::Bound;

use super::super::error::OssError;
use super::super::response::OssResponse;
use super::super::store::{BucketContents, MultipartUpload};
use super::context::OperationContext;
use super::list;
use super::multipart::upload;
use super::object::modified;
use super::xml::{KeyEncoding, XmlDocument};

/// The parameters of a listing of uploads.
struct UploadListParameters<'a> {
    prefix: &'a [u8],
    delimiter: &'a [u8],
    /// The last key of the previous page.
    key_marker: &'a [u8],
    /// The last upload of that key on the previous page. If set, later uploads of the key are
    /// listed too.
    id_marker: &'a str,
    most: usize,
}

/// One page of uploads.
#[derive(Default)]
struct UploadListPage<'a> {
    uploads: Vec<(&'a [u8], &'a str, &'a MultipartUpload)>,
    groups: Vec<&'a [u8]>,
    /// The last entry: a key with its upload ID, or a group without one.
    last: (&'a [u8], &'a str),
    more: bool,
}

/// Handles ListParts.
pub(super) fn list_parts(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let names = KeyEncoding::asked(&context)?;
    let query = context.query();
    let most = list::max_keys(Some(query.get("max-parts").unwrap_or("1000")))?;
    let marker = query.get("part-number-marker").and_then(|text| text.parse().ok()).unwrap_or(0);
    let (bucket, _, key) = context.locate()?;
    let upload = upload(&mut context)?;
    let mut found = upload.parts.range((Bound::Excluded(marker), Bound::Unbounded));
    let page: Vec<_> = found.by_ref().take(most).collect();
    let mut document = XmlDocument::new("ListPartsResult");
    names.write(&mut document);
    document.text("Bucket", bucket.as_str());
    document.name("Key", key, names);
    document.text("UploadId", query.get("uploadId").unwrap_or(""));
    document.text("StorageClass", upload.traits.class);
    document.text("PartNumberMarker", marker.to_string());
    document.text("NextPartNumberMarker", page.last().map_or(marker, |(number, _)| **number).to_string());
    document.text("MaxParts", most.to_string());
    document.text("IsTruncated", found.next().is_some().to_string());
    for (number, part) in page {
        document.open("Part");
        document.text("PartNumber", number.to_string());
        document.text("LastModified", modified(part.modified));
        document.text("ETag", part.payload.etag());
        document.text("HashCrc64ecma", part.payload.crc.to_string());
        document.text("Size", part.payload.data.len().to_string());
        document.close("Part");
    }
    Ok(OssResponse::xml(document.finish()))
}

/// Handles ListMultipartUploads.
pub(super) fn list_uploads(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let names = KeyEncoding::asked(&context)?;
    let query = context.query();
    let ask = UploadListParameters {
        prefix: query.bytes("prefix").unwrap_or_default(),
        delimiter: query.bytes("delimiter").unwrap_or_default(),
        key_marker: query.bytes("key-marker").unwrap_or_default(),
        id_marker: query.get("upload-id-marker").unwrap_or(""),
        most: list::max_keys(Some(query.get("max-uploads").unwrap_or("1000")))?,
    };
    let (bucket, contents, _) = context.locate()?;
    let page = ask.page(contents);
    let mut document = XmlDocument::new("ListMultipartUploadsResult");
    names.write(&mut document);
    document.text("Bucket", bucket.as_str());
    document.name("KeyMarker", ask.key_marker, names);
    document.text("UploadIdMarker", ask.id_marker);
    // Clients read both elements even on the last page.
    document.name("NextKeyMarker", page.last.0, names);
    document.text("NextUploadIdMarker", page.last.1);
    document.name("Delimiter", ask.delimiter, names);
    document.name("Prefix", ask.prefix, names);
    document.text("MaxUploads", ask.most.to_string());
    document.text("IsTruncated", page.more.to_string());
    page.write(&mut document, names);
    Ok(OssResponse::xml(document.finish()))
}

impl UploadListParameters<'_> {
    fn page<'c>(&self, contents: &'c BucketContents) -> UploadListPage<'c> {
        let uploads = contents.uploads.iter();
        let mut all: Vec<_> =
            uploads.map(|(id, upload)| (upload.key.as_slice(), id.as_str(), upload)).collect();
        all.sort_by_key(|(key, id, _)| (*key, *id));
        let mut page = UploadListPage::default();
        for (key, id, upload) in all.into_iter().filter(|(key, id, _)| self.includes(key, id)) {
            let group = list::group(key, self.prefix, self.delimiter);
            if group.is_some_and(|group| group <= self.key_marker || page.groups.last() == Some(&group)) {
                continue;
            }
            if page.uploads.len() + page.groups.len() == self.most {
                page.more = true;
                break;
            }
            page.last = group.map_or((key, id), |group| (group, ""));
            match group {
                Some(group) => page.groups.push(group),
                None => page.uploads.push((key, id, upload)),
            }
        }
        page
    }

    fn includes(&self, key: &[u8], id: &str) -> bool {
        let is_later = if self.id_marker.is_empty() {
            key > self.key_marker
        } else {
            (key, id) > (self.key_marker, self.id_marker)
        };
        key.starts_with(self.prefix) && is_later
    }
}

impl UploadListPage<'_> {
    fn write(&self, document: &mut XmlDocument, names: KeyEncoding) {
        for (key, id, upload) in &self.uploads {
            document.open("Upload");
            document.name("Key", key, names);
            document.text("UploadId", id);
            document.text("StorageClass", upload.traits.class);
            document.text("Initiated", modified(upload.started));
            document.close("Upload");
        }
        for group in &self.groups {
            document.open("CommonPrefixes");
            document.name("Prefix", group, names);
            document.close("CommonPrefixes");
        }
    }
}
