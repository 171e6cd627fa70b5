//! The rights that requests of a caller needed.

use std::collections::{BTreeMap, BTreeSet};

/// The rights that the requests of one caller needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ObservedRights {
    /// The number of requests.
    pub(super) requests: u64,
    /// The number of requests whose permissions are unknown.
    pub(super) unknown: u64,
    /// The resources of each action.
    pub(super) actions: BTreeMap<String, BTreeSet<ObservedResource>>,
    /// The statements that allowed a request: document and statement, from 1, with the digest of the
    /// document.
    pub(super) used: BTreeSet<(String, usize)>,
}

/// A resource of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ObservedResource {
    /// A resource without objects, by its relative identifier: `*`, a bucket, or a resource pool.
    Whole(String),
    /// A listing of a bucket with a prefix.
    Listing { bucket: String, prefix: String },
    /// An object.
    Object { bucket: String, key: String },
    /// An object whose key is not in the log.
    HiddenObject { bucket: String },
}

impl ObservedResource {
    /// Reads a resource of a record. A listing has a prefix, unless the log hides it.
    pub(super) fn parse(resource: &str, prefix: Option<&str>, are_keys_shown: bool) -> Option<Self> {
        let relative = resource.strip_prefix("acs:oss:*:*:")?;
        Some(match (relative.split_once('/'), prefix) {
            _ if relative == "*" || relative.starts_with("resourcepool/") => Self::Whole(relative.to_owned()),
            (Some((bucket, _)), _) if !are_keys_shown => Self::HiddenObject { bucket: bucket.to_owned() },
            (Some((bucket, key)), _) => Self::Object { bucket: bucket.to_owned(), key: key.to_owned() },
            (None, Some(prefix)) if are_keys_shown => {
                Self::Listing { bucket: relative.to_owned(), prefix: prefix.to_owned() }
            }
            (None, _) => Self::Whole(relative.to_owned()),
        })
    }
}

impl ObservedRights {
    /// Adds the rights of another caller.
    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.unknown += other.unknown;
        for (action, resources) in &other.actions {
            self.actions.entry(action.clone()).or_default().extend(resources.iter().cloned());
        }
    }
}
