//! The trace of a request: the results of its stages.

use std::sync::Arc;

use super::audit;
use super::state::ProxyState;
use crate::address::{LocatedObject, ResolvedEndpoint, UpstreamId};
use crate::caller::{Caller, CallerIdentity, IdentityProof};
use crate::credentials::{CredentialSource, Credentials};
use crate::oss::Bucket;
use crate::policy::{CallerRights, NotUnderstood, PolicyDecision, RequestShape};
use crate::sign::SignatureVersion;
use crate::telemetry::{AccessLogEvent, AuditedKey, LoggedCaller};
use crate::time::Timestamp;

/// A recorder of the stages up to the signature. A stage records its result before the next one
/// consumes it, so a rejection keeps the earlier results. Results that are not needed are ignored.
pub(super) trait RequestTrace {
    /// Returns whether the limits of the caller apply. They do not in a dry run.
    fn is_limited(&self) -> bool;

    fn record_object(&mut self, object: &LocatedObject);

    fn record_caller(&mut self, caller: &CallerIdentity, state: &ProxyState);

    /// Returns whether the permissions of every request are recorded.
    fn is_audited(&self) -> bool {
        false
    }

    /// Records the access key id that a rejected request names.
    fn record_unverified_key(&mut self, _id: String) {}

    /// Records what a request requires, or why it is unknown. The rights decide about it, unless the
    /// request has no caller.
    fn record_shape(
        &mut self,
        _shape: Result<&RequestShape<'_>, &NotUnderstood>,
        _rights: Option<&CallerRights>,
    ) {
    }

    /// Records the caller that a request claims to come from, and that it does not prove to be.
    fn record_rejected_claim(&mut self, _claimed: &Caller, _state: &ProxyState) {}

    fn record_decision(&mut self, _decision: PolicyDecision) {}

    /// Records that the proxy responds, without a request to OSS.
    fn record_own_answer(&mut self);

    fn record_route(&mut self, _upstream: UpstreamId, _way: &ResolvedEndpoint) {}

    /// Records the signer of a request that will be signed.
    fn record_signer(&mut self, _version: SignatureVersion, _source: &Arc<CredentialSource>) {}

    /// Records the credentials before they sign.
    fn record_credentials(&mut self, _credentials: &Arc<Credentials>) {}

    /// Records the source whose keys are passed on.
    fn record_key_source(&mut self, _source: &Arc<CredentialSource>) {}

    /// Records the name of a request for access keys.
    fn record_key_page(&mut self, _operation: &'static str) {}

    /// Records the access key that the client gets, by its id and its expiry.
    fn record_key(&mut self, _id: &str, _expires: Timestamp) {}

    /// Records the name of the role that the client gets.
    fn record_role(&mut self, _name: &str) {}

    /// Records that the signature was made.
    fn record_signature(&mut self, _credentials: &Credentials, _version: SignatureVersion) {}
}

impl RequestTrace for AccessLogEvent {
    fn is_limited(&self) -> bool {
        true
    }

    fn record_object(&mut self, object: &LocatedObject) {
        self.operation = Some(object.operation);
        if let Some(audit) = &mut self.audit {
            audit::record_object(&mut audit.subject, object);
        }
        if self.is_logged() {
            self.bucket = object.bucket.as_ref().map(|bucket| Bucket::as_str(bucket).to_owned());
        }
    }

    fn is_audited(&self) -> bool {
        self.audit.is_some()
    }

    fn record_unverified_key(&mut self, id: String) {
        if let Some(audit) = &mut self.audit {
            audit.subject.claimed_key_id = Some(id);
        }
    }

    fn record_shape(
        &mut self,
        shape: Result<&RequestShape<'_>, &NotUnderstood>,
        rights: Option<&CallerRights>,
    ) {
        let Some(audit) = &mut self.audit else { return };
        match shape {
            Ok(shape) => audit::record_shape(&mut audit.subject, shape, rights),
            Err(error) => audit.subject.not_understood = Some(error.to_string()),
        }
    }

    fn record_caller(&mut self, caller: &CallerIdentity, state: &ProxyState) {
        if let Some(audit) = &mut self.audit {
            audit.subject.caller = caller.caller().map(|caller| Arc::clone(&caller.name));
            audit.subject.proof = caller.proof().map(IdentityProof::as_str);
        }
        self.caller = match caller {
            CallerIdentity::Open => LoggedCaller::Open,
            CallerIdentity::Known { proof: IdentityProof::Announced, .. } => LoggedCaller::Unknown,
            CallerIdentity::Known { caller, .. } => {
                LoggedCaller::Known { name: Arc::clone(&caller.name), metrics: state.callers.metrics(caller) }
            }
        };
    }

    fn record_rejected_claim(&mut self, claimed: &Caller, state: &ProxyState) {
        state.callers.metrics(claimed).on_rejected_claim();
    }

    fn record_own_answer(&mut self) {
        self.is_own_answer = true;
    }

    fn record_key_page(&mut self, operation: &'static str) {
        if let Some(audit) = &mut self.audit {
            audit.subject.operation = Some(operation);
        }
    }

    fn record_key(&mut self, id: &str, expires: Timestamp) {
        if let Some(audit) = &mut self.audit {
            audit.subject.handed_out = Some(AuditedKey { id: id.to_owned(), expires });
        }
    }

    fn record_signature(&mut self, credentials: &Credentials, version: SignatureVersion) {
        record_credentials(self, credentials);
        match version {
            SignatureVersion::V4 => self.meter().signed_v4(),
            SignatureVersion::V1 => self.meter().signed_v1(),
        }
    }
}

/// Records the credentials that sign the request, or sign it again.
pub(super) fn record_credentials(access: &mut AccessLogEvent, credentials: &Credentials) {
    access.provider = Some(Arc::clone(&credentials.provider));
    if let Some(audit) = &mut access.audit {
        audit::record_signer(&mut audit.subject, credentials);
    }
}
