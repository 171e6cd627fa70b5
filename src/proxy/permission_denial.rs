//! The denial of a permission, in the words of OSS.

use crate::policy::{MissingPermission, PermissionList};

/// A required permission that the rights of a caller do not grant. It names the permission, never
/// the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub(crate) struct PermissionDenial {
    action: &'static str,
    resource: String,
    is_explicit: bool,
}

impl PermissionDenial {
    /// Returns the denial for one of `permissions`.
    pub(super) fn new(missing: MissingPermission, permissions: &PermissionList<'_>) -> Self {
        let permission = permissions.get(missing.index);
        Self {
            action: permission.action,
            resource: permission.resource.to_string(),
            is_explicit: missing.denied_by.is_some(),
        }
    }

    fn message(&self) -> String {
        let Self { action, resource, is_explicit } = self;
        if *is_explicit {
            format!("a policy of the caller denies {action} on {resource}")
        } else {
            format!("no policy of the caller allows {action} on {resource}")
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
