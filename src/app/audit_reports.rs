//! Reports configurations to the audit log.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::caller::CallerSettings;
use crate::telemetry::{AuditLog, AuditNotice, CallerPolicyDigests};

/// Records a configuration that was applied: its changes, and the digests of the documents of each
/// caller.
pub(super) fn report_configuration(
    log: Option<&AuditLog>,
    number: u64,
    changes: &[String],
    callers: &[Arc<CallerSettings>],
) {
    let Some(log) = log else { return };
    let digests = |caller: &Arc<CallerSettings>| {
        let digest = |text: &str| base16ct::lower::encode_string(&Sha256::digest(text));
        CallerPolicyDigests {
            caller: caller.name.as_str().into(),
            documents: caller.rights.documents().iter().map(|one| digest(one.text())).collect(),
        }
    };
    let policies: Vec<CallerPolicyDigests> = callers.iter().map(digests).collect();
    log.record_notice(&AuditNotice::Configuration { number, changes, policies: &policies });
}
