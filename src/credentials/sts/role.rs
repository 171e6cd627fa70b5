//! Roles to assume, and their parameters in a call to STS.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::credentials::SourceEnv;

/// A role, and the parameters for assuming it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AssumedRole {
    /// The ARN, `acs:ram::ACCOUNT:role/NAME`.
    pub(crate) arn: String,
    /// The session name in the audit trail. It is truncated, and invalid characters are replaced.
    /// `None` derives it from the name of this host.
    pub(crate) session_name: Option<String>,
    /// The lifetime of the credentials, from 900 s to 12 h.
    pub(crate) duration: Duration,
    /// A policy that restricts the permissions of the role.
    pub(crate) policy: Option<String>,
    /// The external id that the trust policy of the role requires.
    pub(crate) external_id: Option<String>,
}

/// The configured parameters for assuming a role. The provider fills in missing ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct AssumeRoleParams {
    /// The ARN of the role.
    pub(crate) role_arn: Option<String>,
    /// The session name in the audit trail.
    pub(crate) session_name: Option<String>,
    /// The lifetime of the credentials.
    pub(crate) duration: Option<Duration>,
    /// A policy that restricts the permissions of the role.
    pub(crate) policy: Option<String>,
    /// The external id that the trust policy of the role requires. A call with an OIDC token has
    /// none.
    pub(crate) external_id: Option<String>,
}

impl AssumeRoleParams {
    /// Returns the role of this ARN with these parameters.
    pub(crate) fn to_role(&self, arn: String) -> AssumedRole {
        AssumedRole {
            arn,
            session_name: self.session_name.clone(),
            duration: self.duration.unwrap_or(DURATION),
            policy: self.policy.clone(),
            external_id: self.external_id.clone(),
        }
    }
}

impl From<AssumedRole> for AssumeRoleParams {
    fn from(role: AssumedRole) -> Self {
        let AssumedRole { arn, session_name, duration, policy, external_id } = role;
        Self { role_arn: Some(arn), session_name, duration: Some(duration), policy, external_id }
    }
}

impl AssumedRole {
    pub(super) fn fields(&self, env: &dyn SourceEnv) -> Vec<(&'static str, Zeroizing<String>)> {
        let host = || {
            env.variable("HOSTNAME")
                .map_or_else(|| "oss-signing-proxy".to_owned(), |host| format!("ossp-{host}"))
        };
        let session = session_name(&self.session_name.clone().unwrap_or_else(host));
        let mut fields = vec![
            ("RoleArn", self.arn.clone()),
            ("RoleSessionName", session),
            ("DurationSeconds", self.duration.as_secs().to_string()),
        ];
        fields.extend(self.policy.clone().map(|policy| ("Policy", policy)));
        fields.extend(self.external_id.clone().map(|id| ("ExternalId", id)));
        fields.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect()
    }
}

/// Turns `wanted` into a session name that STS accepts: 2 to 64 of the allowed characters.
pub(crate) fn session_name(wanted: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".@-_".contains(c);
    let mut name: String = wanted.chars().map(|c| if fits(c) { c } else { '-' }).take(64).collect();
    while name.len() < 2 {
        name.push('-');
    }
    name
}

/// The default lifetime of STS credentials.
const DURATION: Duration = Duration::from_secs(3600);
