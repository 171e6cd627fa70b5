//! The signer of a request: the credentials that sign it, and those that replace them.

use std::rc::Rc;
use std::sync::Arc;

use http::{Request, StatusCode};
use tokio::time::Instant;

use super::endpoint_cache::CachedEndpoint;
use super::error::ProxyError;
use super::response::{KeyRejection, UpstreamResponse};
use super::signing::AddressedRequest;
use super::signing_key_cache::SigningKeyCache;
use super::state::WorkerCore;
use crate::address::UpstreamId;
use crate::caller;
use crate::credentials::{CallPeriod, CredentialSource, Credentials, ahead};
use crate::sign::{SignatureVersion, SigningKey, SigningTime};
use crate::time::Timestamp;
use crate::transport::RequestBody;

/// The credentials and the signature version of a signed request.
pub(super) struct RequestSigner<'a> {
    pub(super) source: &'a CredentialSource,
    pub(super) credentials: Arc<Credentials>,
    pub(super) signature: SignatureVersion,
    /// Whether the signature is in a form, and the header has none.
    pub(super) is_of_form: bool,
}

impl RequestSigner<'_> {
    /// Returns the signing key for requests to an endpoint.
    pub(super) fn key(
        &self,
        cached_endpoint: &CachedEndpoint,
        now: &SigningTime,
        keys: &SigningKeyCache,
    ) -> Result<Rc<SigningKey>, ProxyError> {
        Ok(keys.get(&self.credentials, self.signature, &cached_endpoint.endpoint, now)?)
    }

    /// Records whether OSS has accepted the key. If OSS rejects it, returns other credentials, if
    /// they are available soon. If OSS rejects the clock, returns the same credentials, to sign
    /// with the corrected time.
    pub(super) async fn replacement_credentials(
        &self,
        upstream_response: &mut UpstreamResponse,
        upstream: UpstreamId,
        begun: Instant,
        core: &WorkerCore,
    ) -> Result<Option<Arc<Credentials>>, ProxyError> {
        let status = upstream_response.response.status();
        if status.is_success() || status == StatusCode::NOT_FOUND {
            self.source.accept(&self.credentials);
            return Ok(None);
        }
        match upstream_response.key_refused(core.transport().stall()).await? {
            Some(KeyRejection::Signature) if self.source.has_accepted(&self.credentials) => Ok(None),
            Some(KeyRejection::Key(code)) => {
                Ok(self.source.replace(&self.credentials, code, core.clock()).await)
            }
            Some(KeyRejection::Signature) => {
                Ok(self.source.replace(&self.credentials, "SignatureDoesNotMatch", core.clock()).await)
            }
            Some(KeyRejection::Clock(server_time)) => {
                let ended = core.clock().now();
                let took_s = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX);
                let begun = Timestamp::from_unix_s(ended.unix_s().saturating_sub(took_s));
                let call = CallPeriod { begun, ended };
                let ahead_s = ahead(server_time.as_deref(), upstream_response.response.headers(), call);
                // The endpoint and not the `Host` header: clients choose bucket names, so these must
                // not become keys of a count.
                let endpoint = core.state().routing_table.get(upstream).endpoint.host.as_str();
                Ok(ahead_s.map(|ahead_s| {
                    core.state().services.clocks().record(endpoint, ahead_s);
                    core.correct_clock(upstream, ahead_s);
                    Arc::clone(&self.credentials)
                }))
            }
            None => Ok(None),
        }
    }

    /// Replaces the signature of a request that is retried.
    pub(super) fn sign_again(
        &self,
        request: &mut Request<RequestBody>,
        addressed: &AddressedRequest,
        cached_endpoint: &CachedEndpoint,
        core: &WorkerCore,
    ) -> Result<(), ProxyError> {
        let now = core.signing_time(addressed.object.upstream);
        let key = self.key(cached_endpoint, &now, core.keys())?;
        caller::remove_signature(request.headers_mut());
        key.sign(&addressed.signable(request.headers()), &now).apply(request.headers_mut());
        Ok(())
    }
}
