//! Permissions that a request requires: a RAM action on a resource.

use std::borrow::Cow;
use std::fmt;

/// One permission that a request requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequiredPermission<'a> {
    /// The RAM action, such as `oss:GetObject`.
    pub(crate) action: &'static str,
    /// The resource.
    pub(crate) resource: PermissionResource<'a>,
}

/// A resource of OSS, as a RAM document names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PermissionResource<'a> {
    /// All buckets of the account: `*`. Only a pattern that matches this text covers it.
    Service,
    /// A resource pool, or all of them if the name is empty.
    Pool(Cow<'a, str>),
    /// A bucket.
    Bucket(Cow<'a, str>),
    /// An object: bucket and key.
    Object(Cow<'a, str>, Cow<'a, str>),
    /// All objects of a bucket whose keys begin with a prefix.
    Tree(Cow<'a, str>, Cow<'a, str>),
}

impl fmt::Display for PermissionResource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => f.write_str("acs:oss:*:*:*"),
            Self::Pool(name) if name.is_empty() => f.write_str("acs:oss:*:*:resourcepool/*"),
            Self::Pool(name) => write!(f, "acs:oss:*:*:resourcepool/{name}"),
            Self::Bucket(bucket) => write!(f, "acs:oss:*:*:{bucket}"),
            Self::Object(bucket, key) => write!(f, "acs:oss:*:*:{bucket}/{key}"),
            Self::Tree(bucket, prefix) => write!(f, "acs:oss:*:*:{bucket}/{prefix}*"),
        }
    }
}

/// The permissions that a request requires: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PermissionList<'a> {
    first: RequiredPermission<'a>,
    more: Vec<RequiredPermission<'a>>,
}

impl<'a> PermissionList<'a> {
    /// Creates a list of one permission.
    pub(super) fn new(first: RequiredPermission<'a>) -> Self {
        Self { first, more: Vec::new() }
    }

    /// Adds a permission.
    pub(super) fn push(&mut self, action: &'static str, resource: PermissionResource<'a>) {
        self.more.push(RequiredPermission { action, resource });
    }

    /// Returns the permission at a position that an evaluation of this list has returned.
    #[must_use]
    pub(crate) fn get(&self, index: usize) -> &RequiredPermission<'a> {
        index.checked_sub(1).and_then(|index| self.more.get(index)).unwrap_or(&self.first)
    }

    /// Returns the permissions in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RequiredPermission<'a>> {
        std::iter::once(&self.first).chain(&self.more)
    }
}

/// Returns the action for a version of an object, which replaces this one if a request names a version
/// ("Authorization syntax and elements").
pub(super) fn version_action(action: &str) -> Option<&'static str> {
    VERSIONED.iter().find(|(plain, _)| *plain == action).map(|(_, versioned)| *versioned)
}

/// Actions that have another one for versions.
pub(super) const VERSIONED: [(&str, &str); 9] = [
    ("oss:GetObject", "oss:GetObjectVersion"),
    ("oss:DeleteObject", "oss:DeleteObjectVersion"),
    ("oss:GetObjectAcl", "oss:GetObjectVersionAcl"),
    ("oss:PutObjectAcl", "oss:PutObjectVersionAcl"),
    ("oss:GetObjectTagging", "oss:GetObjectVersionTagging"),
    ("oss:PutObjectTagging", "oss:PutObjectVersionTagging"),
    ("oss:DeleteObjectTagging", "oss:DeleteObjectVersionTagging"),
    ("oss:RestoreObject", "oss:RestoreObjectVersion"),
    ("oss:CleanRestoredObject", "oss:CleanRestoredObjectVersion"),
];
