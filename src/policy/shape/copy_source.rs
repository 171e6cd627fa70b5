//! The source of a copy: `/BUCKET/KEY`, or `/BUCKET/KEY?versionId=ID`.

use std::borrow::Cow;

use super::names::is_key;
use super::not_understood::NotUnderstood;
use crate::oss::{Bucket, decode, encode_path};
use crate::policy::permission::PermissionResource;

/// The source of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CopySource {
    pub(super) bucket: String,
    key: String,
    pub(super) version: Option<String>,
}

impl CopySource {
    /// Parses the value of `x-oss-copy-source`. The text before the first `?` is percent-encoded, with
    /// `+` for a space, as the first Go SDK and ossutil write it. A version follows without encoding.
    pub(super) fn parse(text: &str) -> Result<Self, NotUnderstood> {
        let invalid = NotUnderstood::CopySource;
        let (path, version) = match text.split_once('?') {
            Some((path, rest)) => {
                (path, Some(rest.strip_prefix("versionId=").ok_or_else(|| invalid.clone())?))
            }
            None => (text, None),
        };
        let is_version = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte);
        if version.is_some_and(|id| id.is_empty() || !id.bytes().all(is_version)) {
            return Err(invalid);
        }
        let decoded = decode(path.replace('+', " ").as_bytes()).map_err(|_| invalid.clone())?;
        let decoded = String::from_utf8(decoded).map_err(|_| invalid.clone())?;
        let path = decoded.strip_prefix('/').unwrap_or(&decoded);
        let (bucket, key) = path.split_once('/').ok_or_else(|| invalid.clone())?;
        if Bucket::parse(bucket).is_err() || !is_key(key) {
            return Err(invalid);
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned(), version: version.map(str::to_owned) })
    }

    pub(super) fn resource(&self) -> PermissionResource<'static> {
        PermissionResource::Object(Cow::Owned(self.bucket.clone()), Cow::Owned(self.key.clone()))
    }

    /// Returns the header value for the source.
    pub(super) fn write(&self) -> String {
        let mut out = format!("/{}/", self.bucket);
        encode_path(self.key.as_bytes(), &mut out);
        if let Some(version) = &self.version {
            out.push_str("?versionId=");
            out.push_str(version);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::CopySource;
    use crate::policy::shape::NotUnderstood;

    #[test]
    fn a_source_is_written_as_it_was_judged() {
        for (text, written) in [
            ("/b-1/k", "/b-1/k"),
            ("b-1/a%2Fb", "/b-1/a/b"),
            ("/b-1/a%3Fx", "/b-1/a%3Fx"),
            ("/b-1/a+b%2B", "/b-1/a%20b%2B"),
            ("/b-1/../k", "/b-1/../k"),
            ("/b-1/k?versionId=CAEQ-_=", "/b-1/k?versionId=CAEQ-_="),
        ] {
            assert_eq!(
                CopySource::parse(text).map(|source| source.write()).as_deref(),
                Ok(written),
                "{text}"
            );
        }
        for text in [
            "",
            "/",
            "/b-1",
            "/b-1/",
            "/B/k",
            "/b-1/k?acl",
            "/b-1/k?versionId=",
            "/b-1/k?versionId=a&x",
            "/b-1/%zz",
            "/b-1/%ff",
        ] {
            assert_eq!(CopySource::parse(text), Err(NotUnderstood::CopySource), "{text}");
        }
    }
}
