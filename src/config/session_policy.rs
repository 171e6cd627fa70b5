//! `session_policy` of callers: the sessions that sign for a caller have its rights as their policy, so
//! that OSS applies them too.

use base16ct::lower;
use sha2::{Digest as _, Sha256};

use super::credentials::SecretResolver;
use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::origin::ValueOrigin;
use super::section::ConfigSection;
use crate::caller::{CallerSessionPolicy, CallerSettings};
use crate::policy::CallerRights;

/// Reads whether the rights of a caller are a session policy. Teams cannot decide that, because STS
/// is called for each policy.
pub(super) fn read(
    section: &ConfigSection<'_>,
    rights: &CallerRights,
    secrets: &SecretResolver<'_>,
    report: &mut ConfigReport,
) -> Option<CallerSessionPolicy> {
    let given = section.truth("session_policy", report).filter(|given| given.value)?;
    // guard: session-policy-elsewhere
    if secrets.is_confined() {
        report.error(&given.at, ConfigErrorKind::SessionPolicyElsewhere);
        return None;
    }
    // Without rights, nothing is signed for the caller.
    if rights.is_empty() {
        return None;
    }
    let text = match rights.session_document() {
        Ok(text) => text,
        Err(error) => {
            report.error(&given.at, ConfigErrorKind::SessionDocument(error.to_string()));
            return None;
        }
    };
    let length = text.chars().count();
    // guard: session-policy-is-whole
    if length > SESSION_POLICY_MAX {
        report.error(&given.at, ConfigErrorKind::SessionPolicyLength(length));
        return None;
    }
    let line = if let ValueOrigin::File { line, .. } = given.at { line } else { None };
    Some(CallerSessionPolicy { text: text.into(), line })
}

/// Returns the name of credentials whose sessions have a policy. It depends only on the policy, so
/// that callers with the same policy share a session, which survives a reload.
pub(super) fn credentials_name(credentials: &str, policy: &CallerSessionPolicy) -> String {
    let digest = Sha256::digest(policy.text.as_bytes());
    // Names in the file have no `@`.
    format!("{credentials}@policy-{}", lower::encode_string(&digest[..NAME_BYTES]))
}

/// Returns the location of the setting of a caller.
pub(super) fn origin(caller: &CallerSettings, policy: &CallerSessionPolicy) -> ValueOrigin {
    let file = caller.origin.file.clone();
    ValueOrigin::File { file, line: policy.line, key: "caller.session_policy".to_owned() }
}

/// The maximum length of a session policy, in characters ("AssumeRole", STS documentation).
pub(crate) const SESSION_POLICY_MAX: usize = 2048;
/// The length of the digest in a name.
const NAME_BYTES: usize = 8;
