//! The audit of one request: its decision and its end.

use std::sync::Arc;

use super::{AuditCompletion, AuditDecision, AuditLog, AuditSubject, AuditUnavailable};

/// The audit of one request. An end is recorded exactly for an allowed request.
pub(crate) struct AuditTrail {
    log: Arc<AuditLog>,
    id: [u8; 24],
    /// The parts of the request, as far as they are known.
    pub(crate) subject: AuditSubject,
    decision: Option<AuditDecision>,
    /// The credentials that the decision names.
    signer_of_decision: Option<super::AuditedSigner>,
}

impl AuditTrail {
    /// Begins the audit of a request by its id.
    pub(crate) fn new(log: &Arc<AuditLog>, id: [u8; 24], subject: AuditSubject) -> Self {
        Self { log: Arc::clone(log), id, subject, decision: None, signer_of_decision: None }
    }

    /// Records the decision, if none was recorded yet.
    ///
    /// # Errors
    /// [`AuditUnavailable`] if requests depend on the audit log, and it cannot be written.
    pub(crate) async fn decide(&mut self, decision: AuditDecision) -> Result<(), AuditUnavailable> {
        if self.decision.is_some() {
            return Ok(());
        }
        // Set first: a request that ends while it waits has a decision in the log.
        self.decision = Some(decision);
        self.signer_of_decision.clone_from(&self.subject.signer);
        self.log.record_decision(text(&self.id), decision, &self.subject).await
    }

    /// Records the end of the request, if it was allowed.
    pub(crate) fn complete(&self, completion: &AuditCompletion<'_>) {
        if self.decision != Some(AuditDecision::Allow) {
            return;
        }
        // A retry may have used other credentials.
        let signer = self.subject.signer.as_ref().filter(|_| self.subject.signer != self.signer_of_decision);
        self.log.record_completion(text(&self.id), completion, &self.subject, signer);
    }
}

impl std::fmt::Debug for AuditTrail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditTrail").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Returns the digits of a request id as text.
fn text(id: &[u8; 24]) -> &str {
    // They are ASCII.
    std::str::from_utf8(id).unwrap_or_default()
}
