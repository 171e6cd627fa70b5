//! The rights of a caller: its documents, and the highest rights that its file may grant.

use std::fmt;
use std::sync::LazyLock;

use super::allow_rule;
use super::document::{DocumentOptions, PolicyDocument};
use super::judgement::{CallerPolicy, MissingPermission, PermissionDecision, StatementPosition};
use super::permission::{PermissionList, RequiredPermission};
use super::request_facts::RequestFacts;
use super::session_document::{self, InvalidSessionDocument};

/// The rights of a caller.
#[derive(Clone, PartialEq, Eq)]
pub struct CallerRights {
    form: RightsForm,
    policy: CallerPolicy,
    /// The highest rights that the file of the caller may grant.
    ceiling: Option<CallerPolicy>,
}

/// The form in which rights are configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RightsForm {
    Nothing,
    Read,
    Everything,
    Documents,
}

impl CallerRights {
    /// Returns the rights of a caller without `allow` and `policy`.
    #[must_use]
    pub fn nothing() -> Self {
        Self::new(RightsForm::Nothing, NOTHING.clone())
    }

    /// Returns the rights of `allow = "read"`.
    #[must_use]
    pub fn read() -> Self {
        Self::new(RightsForm::Read, READ.clone())
    }

    /// Returns the rights of `allow = "everything"`.
    #[must_use]
    pub fn everything() -> Self {
        Self::new(RightsForm::Everything, EVERYTHING.clone())
    }

    /// Returns the rights that documents grant together.
    #[must_use]
    pub(crate) fn of_documents(documents: Vec<PolicyDocument>) -> Self {
        Self::new(RightsForm::Documents, CallerPolicy::new(documents))
    }

    fn new(form: RightsForm, policy: CallerPolicy) -> Self {
        Self { form, policy, ceiling: None }
    }

    /// Returns the rights as far as `ceiling` grants them too.
    #[must_use]
    pub fn below(&self, ceiling: &Self) -> Self {
        if ceiling.is_unrestricted() || self.is_empty() || self.policy == ceiling.policy {
            self.clone()
        } else if self.is_unrestricted() {
            ceiling.clone()
        } else {
            Self { ceiling: Some(ceiling.policy.clone()), ..self.clone() }
        }
    }

    /// Returns whether no operation is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.form == RightsForm::Nothing
    }

    /// Returns whether the rights are those of `allow = "read"`.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.form == RightsForm::Read
    }

    /// Returns whether everything is allowed and nothing denied.
    #[must_use]
    pub fn is_unrestricted(&self) -> bool {
        self.policy.is_unrestricted() && self.ceiling.is_none()
    }

    /// Returns the name of the form in which the rights are configured.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self.form {
            RightsForm::Nothing => "nothing",
            RightsForm::Read => "read",
            RightsForm::Everything => "everything",
            RightsForm::Documents => "policy",
        }
    }

    /// Returns the documents of the caller.
    pub(crate) fn documents(&self) -> &[PolicyDocument] {
        self.policy.documents()
    }

    /// Returns the documents as one, for the session policy of a role.
    ///
    /// # Errors
    /// [`InvalidSessionDocument`], if OSS cannot apply a document.
    pub(crate) fn session_document(&self) -> Result<String, InvalidSessionDocument> {
        session_document::join(self.documents())
    }

    /// Returns the decision about one permission. A statement that allows it belongs to one of
    /// [`Self::documents`].
    pub(crate) fn decide(
        &self,
        permission: &RequiredPermission<'_>,
        facts: &RequestFacts<'_>,
    ) -> PermissionDecision {
        let decision = self.policy.decide(permission, facts);
        match (&self.ceiling, decision) {
            (Some(ceiling), PermissionDecision::Allowed(_))
                if !matches!(ceiling.decide(permission, facts), PermissionDecision::Allowed(_)) =>
            {
                PermissionDecision::Missing
            }
            _ => decision,
        }
    }

    /// Returns the statement that grants everything, if nothing limits the caller.
    pub(crate) fn granting_everything(&self) -> Option<StatementPosition> {
        self.policy.granting_everything().filter(|_| self.ceiling.is_none())
    }

    /// Returns the name of the document, and the number of a statement in it.
    pub(crate) fn describe(&self, position: StatementPosition) -> String {
        let name = self.documents().get(position.document).map_or("policy", PolicyDocument::name);
        format!("{name}, statement {}", position.statement + 1)
    }

    /// Returns the prefixes of keys for which an action on a bucket would be allowed.
    pub(crate) fn allowed_prefixes(&self, permission: &RequiredPermission<'_>, region: &str) -> Vec<&str> {
        self.policy.allowed_prefixes(permission, region)
    }

    /// Returns whether the caller holds a grant in a bucket, so that it may know that there is one.
    #[must_use]
    pub(crate) fn grants_in(&self, bucket: &str, facts: &RequestFacts<'_>) -> bool {
        // guard: bucket-grants-below-ceiling
        let below_ceiling = self.ceiling.as_ref().is_none_or(|ceiling| ceiling.grants_in(bucket, facts));
        below_ceiling && self.policy.grants_in(bucket, facts)
    }

    /// Returns whether all permissions are granted; otherwise the first that is missing.
    ///
    /// # Errors
    /// [`MissingPermission`], the first that is not granted.
    pub(crate) fn judge(
        &self,
        permissions: &PermissionList<'_>,
        facts: &RequestFacts<'_>,
    ) -> Result<(), MissingPermission> {
        self.policy.judge(permissions, facts)?;
        // guard: rights-below-ceiling
        self.ceiling.as_ref().map_or(Ok(()), |ceiling| ceiling.judge(permissions, facts))
    }
}

impl Default for CallerRights {
    fn default() -> Self {
        Self::nothing()
    }
}

impl fmt::Debug for CallerRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallerRights").field(&self.as_str()).finish()
    }
}

static NOTHING: LazyLock<CallerPolicy> = LazyLock::new(|| CallerPolicy::new(Vec::new()));
static READ: LazyLock<CallerPolicy> = LazyLock::new(|| built_in(&allow_rule::read_only().to_string()));
static EVERYTHING: LazyLock<CallerPolicy> = LazyLock::new(|| built_in(&allow_rule::everything().to_string()));

/// Returns the policy of a document of this module. If it were invalid, it would grant nothing.
fn built_in(text: &str) -> CallerPolicy {
    let document = PolicyDocument::parse(text, DocumentOptions::default());
    CallerPolicy::new(document.into_iter().map(|document| document.named("allow")).collect())
}

#[cfg(test)]
mod tests {
    use super::CallerRights;
    use crate::policy::document::{DocumentOptions, PolicyDocument};

    #[test]
    fn rights_below_a_ceiling_are_granted_by_both() {
        let text = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["oss:PutObject","oss:GetObject"],"Resource":"*"}]}"#;
        let document = PolicyDocument::parse(text, DocumentOptions::default()).expect("a document");
        let own = CallerRights::of_documents(vec![document]);
        let (read, everything) = (CallerRights::read(), CallerRights::everything());
        assert_eq!(everything.below(&read), read);
        assert_eq!(own.below(&everything), own);
        assert_eq!(CallerRights::nothing().below(&read), CallerRights::nothing());
        let below = own.below(&read);
        assert!(!below.is_unrestricted());
        assert_eq!(below.below(&read), below);
        let grants =
            |rights: &CallerRights, action| crate::policy::decision_tests::is_granted(rights, action);
        assert!(grants(&own, "oss:PutObject") && !grants(&below, "oss:PutObject"));
        assert!(grants(&below, "oss:GetObject") && !grants(&below, "oss:GetBucketAcl"));
    }

    #[test]
    fn a_grant_in_a_bucket_is_below_the_ceiling() {
        let rights = |resource: &str| {
            let text = format!(
                r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"oss:*","Resource":"acs:oss:*:*:{resource}"}}]}}"#
            );
            let document = PolicyDocument::parse(&text, DocumentOptions::default());
            CallerRights::of_documents(vec![document.expect("a document")])
        };
        let facts = crate::policy::decision_tests::facts();
        let own = rights("team-*/a/*");
        assert!(own.grants_in("team-data", &facts));
        assert!(own.below(&rights("team-data/*")).grants_in("team-data", &facts));
        assert!(!own.below(&rights("other-data/*")).grants_in("team-data", &facts));
    }
}
