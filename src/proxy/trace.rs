//! The trace of a request: the results of its stages.

use std::sync::Arc;

use super::state::ProxyState;
use crate::address::{LocatedObject, ResolvedEndpoint, UpstreamId};
use crate::caller::{Caller, CallerIdentity, IdentityProof};
use crate::credentials::{CredentialSource, Credentials};
use crate::oss::Bucket;
use crate::policy::PolicyDecision;
use crate::sign::SignatureVersion;
use crate::telemetry::{AccessLogEvent, LoggedCaller};

/// A recorder of the stages up to the signature. A stage records its result before the next one
/// consumes it, so a rejection keeps the earlier results. Results that are not needed are ignored.
pub(super) trait RequestTrace {
    /// Returns whether the limits of the caller apply. They do not in a dry run.
    fn is_limited(&self) -> bool;

    fn record_object(&mut self, object: &LocatedObject);

    fn record_caller(&mut self, caller: &CallerIdentity, state: &ProxyState);

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

    /// Records that the signature was made.
    fn record_signature(&mut self, _credentials: &Credentials, _version: SignatureVersion) {}
}

impl RequestTrace for AccessLogEvent {
    fn is_limited(&self) -> bool {
        true
    }

    fn record_object(&mut self, object: &LocatedObject) {
        self.operation = Some(object.operation);
        if self.is_logged() {
            self.bucket = object.bucket.as_ref().map(|bucket| Bucket::as_str(bucket).to_owned());
        }
    }

    fn record_caller(&mut self, caller: &CallerIdentity, state: &ProxyState) {
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

    fn record_signature(&mut self, credentials: &Credentials, version: SignatureVersion) {
        self.provider = Some(Arc::clone(&credentials.provider));
        match version {
            SignatureVersion::V4 => self.meter().signed_v4(),
            SignatureVersion::V1 => self.meter().signed_v1(),
        }
    }
}
