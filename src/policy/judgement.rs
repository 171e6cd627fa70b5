//! The decision about a request by the documents of its caller. Pure, and the only evaluator.

use std::sync::Arc;

use super::document::{PolicyDocument, StatementEffect};
use super::permission::{PermissionList, PermissionResource, RequiredPermission};
use super::request_facts::RequestFacts;

/// The documents of one caller. All statements of all documents apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallerPolicy {
    documents: Arc<[PolicyDocument]>,
    unrestricted: bool,
}

/// A statement, by the positions of its document and of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatementPosition {
    /// The position of the document, from 0.
    pub(crate) document: usize,
    /// The position of the statement in the document, from 0.
    pub(crate) statement: usize,
}

/// The decision about one permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PermissionDecision {
    /// This statement allows it, and none denies it.
    Allowed(StatementPosition),
    /// This statement denies it.
    Denied(StatementPosition),
    /// No statement allows it.
    Missing,
}

/// A required permission that the documents do not grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MissingPermission {
    /// The position in the list of required permissions.
    pub(crate) index: usize,
    /// The statement that denies it; `None` if no statement allows it.
    pub(crate) denied_by: Option<StatementPosition>,
}

impl CallerPolicy {
    /// Joins documents. No document at all allows nothing.
    #[must_use]
    pub(crate) fn new(documents: Vec<PolicyDocument>) -> Self {
        let unrestricted = documents.iter().any(|document| document.granting_everything().is_some())
            && !documents.iter().any(PolicyDocument::has_deny);
        Self { documents: documents.into(), unrestricted }
    }

    /// Returns whether the documents grant every action on every resource without a condition, and
    /// deny nothing. The requests of such a caller are not examined.
    #[must_use]
    pub(crate) fn is_unrestricted(&self) -> bool {
        self.unrestricted
    }

    /// Returns whether the documents grant all permissions; otherwise the first that is missing. A
    /// statement that denies wins over one that allows.
    ///
    /// # Errors
    /// [`MissingPermission`], the first that is not granted.
    pub(crate) fn judge(
        &self,
        permissions: &PermissionList<'_>,
        facts: &RequestFacts<'_>,
    ) -> Result<(), MissingPermission> {
        for (index, permission) in permissions.iter().enumerate() {
            let decision = self.decide(permission, facts);
            // guard: default-deny
            if decision == PermissionDecision::Missing {
                return Err(MissingPermission { index, denied_by: None });
            }
            if let PermissionDecision::Denied(statement) = decision {
                return Err(MissingPermission { index, denied_by: Some(statement) });
            }
        }
        Ok(())
    }

    /// Returns whether the documents allow anything in a bucket, and do not deny its basic properties.
    pub(crate) fn grants_in(&self, bucket: &str, facts: &RequestFacts<'_>) -> bool {
        let resource = PermissionResource::Bucket(bucket.into());
        let properties = RequiredPermission { action: "oss:GetBucketInfo", resource };
        // guard: denied-bucket-is-not-probed
        !self.documents.iter().any(|document| document.surely_denies(&properties, facts))
            && self.documents.iter().any(|document| document.grants_in(bucket, facts))
    }

    /// Returns the decision about one permission, with the statement that causes it.
    pub(crate) fn decide(
        &self,
        permission: &RequiredPermission<'_>,
        facts: &RequestFacts<'_>,
    ) -> PermissionDecision {
        // guard: explicit-deny-wins
        let denied_by = self.applying(StatementEffect::Deny, permission, facts);
        if let Some(statement) = denied_by {
            return PermissionDecision::Denied(statement);
        }
        self.applying(StatementEffect::Allow, permission, facts)
            .map_or(PermissionDecision::Missing, PermissionDecision::Allowed)
    }

    /// Returns the statement that grants everything, if the caller is unrestricted.
    pub(crate) fn granting_everything(&self) -> Option<StatementPosition> {
        let of_document = |(document, one): (usize, &PolicyDocument)| {
            Some(StatementPosition { document, statement: one.granting_everything()? })
        };
        self.documents.iter().enumerate().filter(|_| self.unrestricted).find_map(of_document)
    }

    /// Returns the documents.
    pub(crate) fn documents(&self) -> &[PolicyDocument] {
        &self.documents
    }

    /// Returns the prefixes of keys for which an action on a bucket would be allowed.
    pub(crate) fn allowed_prefixes(&self, permission: &RequiredPermission<'_>, region: &str) -> Vec<&str> {
        self.documents.iter().flat_map(|document| document.allowed_prefixes(permission, region)).collect()
    }

    fn applying(
        &self,
        effect: StatementEffect,
        permission: &RequiredPermission<'_>,
        facts: &RequestFacts<'_>,
    ) -> Option<StatementPosition> {
        self.documents.iter().enumerate().find_map(|(document, one)| {
            let statement = one.applying(effect, permission, facts)?;
            Some(StatementPosition { document, statement })
        })
    }
}
