//! Patterns of resources: `*`, or `acs:SERVICE:REGION:ACCOUNT:RELATIVE`.

use super::text_pattern::{PatternSubject, TextPattern};
use crate::policy::permission::PermissionResource;

/// A pattern of resources of one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ResourcePattern {
    /// `*`.
    Any,
    /// Resources of OSS in regions, by bucket, or by bucket and key.
    Oss { region: TextPattern, relative: TextPattern },
    /// Resources of another service, which no request of OSS needs.
    Other,
}

/// The reason why the text of a resource is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidResource {
    #[error("a resource is * or acs:oss:REGION:ACCOUNT:BUCKET/KEY, with five parts")]
    Form,
    #[error("a policy variable (${{…}}) is not supported in a resource")]
    Variable,
    #[error("the last part of a resource begins with the bucket, without a slash")]
    LeadingSlash,
    #[error(
        "the account {0:?} cannot be checked: write *, or set `account` to the account that owns the buckets"
    )]
    UnknownAccount(String),
    #[error("the account {0:?} is not {1:?}, the `account` of the configuration")]
    OtherAccount(String, String),
}

impl ResourcePattern {
    /// Parses a resource. `account` is the account that owns the buckets, if it is configured.
    pub(super) fn parse(text: &str, account: Option<&str>) -> Result<Self, InvalidResource> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.contains("${") {
            return Err(InvalidResource::Variable);
        }
        let mut parts = text.splitn(5, ':');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or(InvalidResource::Form);
        let (scheme, service, region, owner, relative) = (part()?, part()?, part()?, part()?, part()?);
        let is_service = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if scheme != "acs" || !(service == "*" || service.bytes().all(is_service)) {
            return Err(InvalidResource::Form);
        }
        if relative.starts_with('/') {
            return Err(InvalidResource::LeadingSlash);
        }
        match account {
            _ if owner == "*" => {}
            None => return Err(InvalidResource::UnknownAccount(owner.to_owned())),
            Some(ours) if ours == owner => {}
            Some(ours) => return Err(InvalidResource::OtherAccount(owner.to_owned(), ours.to_owned())),
        }
        if service != "oss" && service != "*" {
            return Ok(Self::Other);
        }
        Ok(Self::Oss { region: TextPattern::new(region), relative: TextPattern::new(relative) })
    }

    /// Returns whether the pattern covers the whole of a resource in `region`.
    pub(super) fn covers(&self, resource: &PermissionResource<'_>, region: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Oss { region: regions, relative } => {
                regions.matches(PatternSubject::text(region))
                    && match resource {
                        PermissionResource::Tree(..) => relative.covers_tree(subject(resource)),
                        PermissionResource::Service
                        | PermissionResource::Pool(_)
                        | PermissionResource::Bucket(_)
                        | PermissionResource::Object(..) => relative.matches(subject(resource)),
                    }
            }
            Self::Other => false,
        }
    }

    /// Returns whether the pattern may cover a part of a resource in `region`. An unknown region is
    /// empty, and may be any.
    pub(super) fn meets(&self, resource: &PermissionResource<'_>, region: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Oss { region: regions, relative } => {
                (region.is_empty() || regions.matches(PatternSubject::text(region)))
                    && match resource {
                        PermissionResource::Tree(..) => relative.meets_tree(subject(resource)),
                        PermissionResource::Service
                        | PermissionResource::Pool(_)
                        | PermissionResource::Bucket(_)
                        | PermissionResource::Object(..) => relative.matches(subject(resource)),
                    }
            }
            Self::Other => false,
        }
    }

    /// Returns whether the pattern covers an object of a bucket in `region`.
    pub(super) fn reaches_into(&self, bucket: &str, region: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Oss { region: regions, relative } => {
                regions.matches(PatternSubject::text(region))
                    && relative.reaches_beyond(&format!("{bucket}/"))
            }
            Self::Other => false,
        }
    }
}

/// Returns the last part of the name of a resource.
fn subject<'a>(resource: &'a PermissionResource<'_>) -> PatternSubject<'a> {
    match resource {
        PermissionResource::Service => PatternSubject::text("*"),
        PermissionResource::Pool(name) if name.is_empty() => PatternSubject::joined("resourcepool", "*"),
        PermissionResource::Pool(name) => PatternSubject::joined("resourcepool", name),
        PermissionResource::Bucket(bucket) => PatternSubject::text(bucket),
        PermissionResource::Object(bucket, key) | PermissionResource::Tree(bucket, key) => {
            PatternSubject::joined(bucket, key)
        }
    }
}
