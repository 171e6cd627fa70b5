//! ListObjects in both versions: pages of keys, grouped by delimiter.

use base16ct::{lower, mixed};
use std::collections::BTreeMap;
use std::ops::Bound;

use super::super::encoding::ParameterPairs;
use super::super::error::OssError;
use super::super::response::OssResponse;
use super::super::store::StoredObject;
use super::context::OperationContext;
use super::object::modified;
use super::xml::{KeyEncoding, XmlDocument};

/// The parameters of a listing.
struct ListParameters<'a> {
    prefix: &'a [u8],
    delimiter: &'a [u8],
    /// The exclusive lower bound of the entries.
    after: &'a [u8],
    most: usize,
}

/// One page of a listing.
#[derive(Default)]
struct ListPage<'a> {
    objects: Vec<(&'a [u8], &'a StoredObject)>,
    groups: Vec<Vec<u8>>,
    /// The last entry of the page, if more entries follow.
    next: Option<Vec<u8>>,
}

/// Handles ListObjects (GetBucket).
pub(super) fn first(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let query = context.query();
    let names = KeyEncoding::asked(&context)?;
    let (bucket, contents, _) = context.locate()?;
    let marker = query.bytes("marker").unwrap_or_default();
    let ask = ListParameters::read(query, marker)?;
    let page = ask.page(&contents.objects);
    let mut document = XmlDocument::new("ListBucketResult");
    document.text("Name", bucket.as_str());
    ask.write(&mut document, names);
    document.name("Marker", marker, names);
    document.text("IsTruncated", page.next.is_some().to_string());
    if let Some(next) = &page.next {
        document.name("NextMarker", next, names);
    }
    page.write(&mut document, names, OwnerListing::Told);
    Ok(OssResponse::xml(document.finish()))
}

/// Handles ListObjectsV2.
pub(super) fn second(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let query = context.query();
    let names = KeyEncoding::asked(&context)?;
    let (bucket, contents, _) = context.locate()?;
    let token = query.get("continuation-token").filter(|token| !token.is_empty());
    let resumed = token.map(|token| mixed::decode_vec(token).map_err(|_| bad_token())).transpose()?;
    let start = query.bytes("start-after").unwrap_or_default();
    let ask = ListParameters::read(query, resumed.as_deref().unwrap_or(start))?;
    let page = ask.page(&contents.objects);
    let mut document = XmlDocument::new("ListBucketResult");
    document.text("Name", bucket.as_str());
    ask.write(&mut document, names);
    document.name("StartAfter", start, names);
    if let Some(token) = token {
        document.text("ContinuationToken", token);
    }
    document.text("IsTruncated", page.next.is_some().to_string());
    if let Some(next) = &page.next {
        document.text("NextContinuationToken", lower::encode_string(next));
    }
    document.text("KeyCount", (page.objects.len() + page.groups.len()).to_string());
    let owners =
        if query.get("fetch-owner") == Some("true") { OwnerListing::Told } else { OwnerListing::Left };
    page.write(&mut document, names, owners);
    Ok(OssResponse::xml(document.finish()))
}

/// Parses `max-keys`, from 1 to 1000. The default is 100.
pub(super) fn max_keys(text: Option<&str>) -> Result<usize, OssError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(100);
    };
    match text.parse() {
        Ok(number @ 0..=1000) => Ok(number),
        Ok(_) | Err(_) => Err(OssError::argument("Argument max-keys must be an integer between 0 and 1000.")
            .with("ArgumentName", "max-keys")
            .with("ArgumentValue", text)),
    }
}

/// Returns the key up to and including the first delimiter after the prefix.
pub(super) fn group<'k>(key: &'k [u8], prefix: &[u8], delimiter: &[u8]) -> Option<&'k [u8]> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = &key[prefix.len()..];
    let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}

/// The choice whether a listing includes the owners of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnerListing {
    Told,
    Left,
}

impl<'a> ListParameters<'a> {
    fn read(query: &'a ParameterPairs, after: &'a [u8]) -> Result<Self, OssError> {
        Ok(Self {
            prefix: query.bytes("prefix").unwrap_or_default(),
            delimiter: query.bytes("delimiter").unwrap_or_default(),
            after,
            most: max_keys(query.get("max-keys"))?,
        })
    }

    fn page<'o>(&self, objects: &'o BTreeMap<Vec<u8>, StoredObject>) -> ListPage<'o> {
        let from = self.prefix.max(self.after);
        let mut page = ListPage::default();
        let mut last = Vec::new();
        for (key, object) in objects.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)) {
            if !key.starts_with(self.prefix) {
                break;
            }
            let group = group(key, self.prefix, self.delimiter);
            let entry = group.unwrap_or(key);
            if entry <= self.after
                || group.is_some() && page.groups.last().is_some_and(|other| other == entry)
            {
                continue;
            }
            if page.objects.len() + page.groups.len() == self.most {
                page.next = Some(last).filter(|_| self.most > 0);
                break;
            }
            entry.clone_into(&mut last);
            match group {
                Some(group) => page.groups.push(group.to_vec()),
                None => page.objects.push((key, object)),
            }
        }
        page
    }

    fn write(&self, document: &mut XmlDocument, names: KeyEncoding) {
        document.name("Prefix", self.prefix, names);
        document.text("MaxKeys", self.most.to_string());
        document.name("Delimiter", self.delimiter, names);
        names.write(document);
    }
}

impl ListPage<'_> {
    fn write(&self, document: &mut XmlDocument, names: KeyEncoding, owners: OwnerListing) {
        for (key, object) in &self.objects {
            document.open("Contents");
            document.name("Key", key, names);
            document.text("LastModified", modified(object.modified));
            document.text("ETag", &object.etag);
            document.text("Type", object.kind.as_str());
            document.text("Size", object.data.len().to_string());
            document.text("StorageClass", object.traits.class);
            if owners == OwnerListing::Told {
                document.owner();
            }
            document.close("Contents");
        }
        for group in &self.groups {
            document.open("CommonPrefixes");
            document.name("Prefix", group, names);
            document.close("CommonPrefixes");
        }
    }
}

fn bad_token() -> OssError {
    OssError::argument("The continuation token is invalid.").with("ArgumentName", "continuation-token")
}
