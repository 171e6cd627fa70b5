//! The denial of a permission, in the words of OSS.

use crate::policy::{CallerRights, MissingPermission, RequestShape};

/// A required permission that the rights of a caller do not grant. It names the permission, and for a
/// listing the prefixes that are allowed, but no other rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub(crate) struct PermissionDenial {
    action: &'static str,
    resource: String,
    is_explicit: bool,
    /// The prefixes for which a listing would be allowed.
    prefixes: Vec<String>,
}

impl PermissionDenial {
    /// Returns the denial for one of the permissions that a request requires.
    pub(super) fn new(missing: MissingPermission, shape: &RequestShape<'_>, rights: &CallerRights) -> Self {
        let permission = shape.permissions.get(missing.index);
        let prefixes = match shape.facts.prefix {
            Some(_) => rights.allowed_prefixes(permission, shape.facts.region),
            None => Vec::new(),
        };
        Self {
            action: permission.action,
            resource: permission.resource.to_string(),
            is_explicit: missing.denied_by.is_some(),
            prefixes: prefixes.into_iter().take(PREFIXES_MAX).map(str::to_owned).collect(),
        }
    }

    fn message(&self) -> String {
        let Self { action, resource, is_explicit, prefixes } = self;
        if *is_explicit {
            format!("a policy of the caller denies {action} on {resource}")
        } else if prefixes.is_empty() {
            format!("no policy of the caller allows {action} on {resource}")
        } else {
            let prefixes = prefixes.join(", ");
            format!(
                "no policy of the caller allows {action} on {resource} with this prefix; list below: {prefixes}"
            )
        }
    }

    /// Returns the elements of the error document, which are named as those of OSS.
    pub(super) fn elements(&self) -> Vec<(&'static str, String)> {
        let denial = if self.is_explicit { "ExplicitDeny" } else { "ImplicitDeny" };
        vec![
            ("AuthAction", self.action.to_owned()),
            ("AuthResource", self.resource.clone()),
            ("NoPermissionType", denial.to_owned()),
            ("PolicyType", "ProxyPolicy".to_owned()),
        ]
    }
}

/// The maximum number of prefixes that a denial names.
const PREFIXES_MAX: usize = 5;
