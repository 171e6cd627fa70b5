//! The stages of a request, one type for each. Their fields are private to this file: only policy
//! makes an [`AdmittedRequest`], and only an [`AdmittedRequest`] can be routed. Only a
//! [`SignableRoute`] has a `sign` method.

use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use tokio::time::Instant;

use super::endpoint_cache::CachedEndpoint;
use super::error::ProxyError;
use super::error_response::KeyRejection;
use super::request::InboundRequest;
use super::response::UpstreamResponse;
use super::signing_key_cache::SigningKeyCache;
use super::state::WorkerCore;
use crate::address::{self, ResolvedEndpoint, RoutingTable};
use crate::caller::{self, CallerIdentity};
use crate::credentials::{CallPeriod, CredentialSource, Credentials, ahead};
use crate::oss::Bucket;
use crate::policy::{AccessPolicy, NamedHost, PolicyDecision, RequestShape};
use crate::sign::{self, SignableRequest, SignatureVersion, SigningTime};
use crate::telemetry::AccessLogEvent;
use crate::time::Timestamp;
use crate::transport::{ByteObserver, RequestBody, ResponseTimeout};

/// A request with a known target. The value is large, so the stages pass it on in its box.
pub(super) struct LocatedRequest {
    method: Method,
    headers: HeaderMap,
    object: address::LocatedObject,
}

/// A request with an identified caller. The client's own signature is removed.
pub(super) struct IdentifiedRequest {
    located: Box<LocatedRequest>,
    caller: CallerIdentity,
}

/// A request that policy allows: the only type that can be routed.
pub(super) struct AdmittedRequest {
    located: Box<LocatedRequest>,
    decision: AdmittedDecision,
}

enum AdmittedDecision {
    Sign,
    Unsigned,
}

/// A request with a known destination.
pub(super) enum RoutedRequest<'a> {
    /// The request must be signed.
    ToSign(SignableRoute<'a>),
    /// The request must not be signed.
    Unsigned(UnsignedRequest),
}

/// A routed request that will be signed.
pub(super) struct SignableRoute<'a> {
    located: Box<LocatedRequest>,
    paved: Rc<CachedEndpoint>,
    signature: SignatureVersion,
    source: &'a CredentialSource,
}

/// A routed request that is sent without a signature.
pub(super) struct UnsignedRequest {
    located: Box<LocatedRequest>,
    paved: Rc<CachedEndpoint>,
}

/// A request in its final form, except for its body.
pub(super) struct SignedRequest<'a> {
    located: Box<LocatedRequest>,
    target: Uri,
    paved: Rc<CachedEndpoint>,
    patience: ResponseTimeout,
    signer: Option<RequestSigner<'a>>,
}

/// The credentials and the signature version of a signed request.
struct RequestSigner<'a> {
    source: &'a CredentialSource,
    credentials: Arc<Credentials>,
    signature: SignatureVersion,
}

impl LocatedRequest {
    pub(super) fn new(method: Method, headers: HeaderMap, object: address::LocatedObject) -> Box<Self> {
        Box::new(Self { method, headers, object })
    }

    /// Records the operation and the bucket in the access event.
    pub(super) fn record(self: Box<Self>, access: &mut AccessLogEvent) -> Box<Self> {
        access.operation = Some(self.object.operation);
        if access.is_logged() {
            access.bucket = self.object.bucket.as_ref().map(|bucket| Bucket::as_str(bucket).to_owned());
        }
        self
    }

    /// Returns the target of the request.
    pub(super) fn object(&self) -> &address::LocatedObject {
        &self.object
    }

    pub(super) fn identify(mut self: Box<Self>, access: &mut AccessLogEvent) -> IdentifiedRequest {
        let caller = caller::identify(&mut self.headers, &mut self.object.query);
        access.caller = caller.name();
        IdentifiedRequest { located: self, caller }
    }
}

impl IdentifiedRequest {
    /// Returns the identified caller.
    pub(super) fn caller(&self) -> CallerIdentity {
        self.caller
    }

    /// Returns the request if policy allows it. No other function makes an [`AdmittedRequest`].
    pub(super) fn admit(
        self,
        policy: &AccessPolicy,
        directory: &RoutingTable,
    ) -> Result<AdmittedRequest, ProxyError> {
        let Self { located, caller } = self;
        let host = if located.object.is_set_up_name { NamedHost::SetUp } else { NamedHost::Other };
        let shape = RequestShape {
            caller,
            operation: located.object.operation,
            host,
            method: &located.method,
            query: &located.object.query,
            headers: &located.headers,
            pin: directory.get(located.object.upstream).pin.as_ref(),
        };
        let decision = match policy.decide(&shape) {
            PolicyDecision::Sign => AdmittedDecision::Sign,
            PolicyDecision::PassUnsigned => AdmittedDecision::Unsigned,
            PolicyDecision::Deny(denial) => return Err(denial.into()),
        };
        Ok(AdmittedRequest { located, decision })
    }
}

impl AdmittedRequest {
    /// Returns the decision: sign, or pass unsigned.
    pub(super) fn decision(&self) -> PolicyDecision {
        match self.decision {
            AdmittedDecision::Sign => PolicyDecision::Sign,
            AdmittedDecision::Unsigned => PolicyDecision::PassUnsigned,
        }
    }

    /// Resolves the destination, and normalizes the headers for the upstream request.
    pub(super) fn route(self, core: &WorkerCore) -> Result<RoutedRequest<'_>, ProxyError> {
        let Self { mut located, decision } = self;
        let state = core.state();
        let upstream = state.upstream(located.object.upstream).ok_or(ProxyError::NoRegion)?;
        let paved = core.ways().get(&located.object, &state.directory, upstream.trust)?;
        super::headers::prepare_headers(&mut located.headers);
        Ok(match (decision, &upstream.source) {
            (AdmittedDecision::Sign, Some(source)) => {
                RoutedRequest::ToSign(SignableRoute { located, paved, signature: upstream.signature, source })
            }
            (AdmittedDecision::Sign, None) | (AdmittedDecision::Unsigned, _) => {
                RoutedRequest::Unsigned(UnsignedRequest { located, paved })
            }
        })
    }
}

impl RoutedRequest<'_> {
    /// Returns the resolved endpoint.
    pub(super) fn way(&self) -> &ResolvedEndpoint {
        match self {
            Self::ToSign(SignableRoute { paved, .. }) | Self::Unsigned(UnsignedRequest { paved, .. }) => {
                &paved.way
            }
        }
    }
}

impl<'a> SignableRoute<'a> {
    /// Returns the version of the signature.
    pub(super) fn signature(&self) -> SignatureVersion {
        self.signature
    }

    /// Returns the credential source.
    pub(super) fn source(&self) -> &'a CredentialSource {
        self.source
    }

    pub(super) fn sign(
        self,
        credentials: &Arc<Credentials>,
        now: &SigningTime,
        keys: &SigningKeyCache,
        access: &mut AccessLogEvent,
    ) -> Result<SignedRequest<'a>, ProxyError> {
        let Self { mut located, paved, signature, source } = self;
        let prepared = keys.get(credentials, (signature, paved.way.region.as_ref()), now)?;
        let subject = SignableRequest {
            method: &located.method,
            bucket: located.object.bucket.as_ref(),
            key: &located.object.key,
            query: &located.object.query,
            headers: &located.headers,
        };
        prepared.sign(&subject, now).apply(&mut located.headers);
        access.provider = Some(Arc::clone(&credentials.provider));
        match signature {
            SignatureVersion::V4 => access.meter().signed_v4(),
            SignatureVersion::V1 => access.meter().signed_v1(),
        }
        let signed = SignedRequest::new(located, paved)?;
        let signer = RequestSigner { source, credentials: Arc::clone(credentials), signature };
        Ok(SignedRequest { signer: Some(signer), ..signed })
    }
}

impl UnsignedRequest {
    pub(super) fn pass<'a>(self) -> Result<SignedRequest<'a>, ProxyError> {
        let Self { located, paved } = self;
        SignedRequest::new(located, paved)
    }
}

impl<'a> SignedRequest<'a> {
    fn new(mut located: Box<LocatedRequest>, paved: Rc<CachedEndpoint>) -> Result<Self, ProxyError> {
        let works_on_the_whole = located.object.operation.works_on_whole_objects();
        let patience = if works_on_the_whole { ResponseTimeout::WholeObject } else { ResponseTimeout::Usual };
        located.headers.insert(header::HOST, paved.host.clone());
        let target: Uri = paved.way.target(&located.object).try_into().map_err(|_| ProxyError::Unsendable)?;
        Ok(Self { located, target, paved, patience, signer: None })
    }

    /// Returns method, target and headers as they would be sent, except for the framing of the
    /// body.
    pub(super) fn head(&self) -> (&Method, &Uri, &HeaderMap) {
        (&self.located.method, &self.target, &self.located.headers)
    }

    /// Returns the texts that were signed at `now`, if any. They are computed from the final head,
    /// as OSS computes them.
    pub(super) fn texts(
        &self,
        now: &SigningTime,
        keys: &SigningKeyCache,
    ) -> Result<Option<sign::SigningTexts>, ProxyError> {
        let Some(RequestSigner { credentials, signature, .. }) = &self.signer else { return Ok(None) };
        let prepared = keys.get(credentials, (*signature, self.paved.way.region.as_ref()), now)?;
        let object = &self.located.object;
        let subject = SignableRequest {
            method: &self.located.method,
            bucket: object.bucket.as_ref(),
            key: &object.key,
            query: &object.query,
            headers: &self.located.headers,
        };
        Ok(Some(prepared.signed(&subject, now)))
    }

    /// Sends the request with the client's body, and waits for the response head. If OSS rejects
    /// the key or the clock, the request is signed and sent a second time. This requires
    /// credentials to retry with, and that no byte of the body was taken.
    pub(super) async fn send(
        self,
        core: &WorkerCore,
        inbound: &mut InboundRequest,
        access: &mut AccessLogEvent,
    ) -> Result<UpstreamResponse, ProxyError> {
        let Self { mut located, target, paved, patience, signer } = self;
        let head_only = located.method == Method::HEAD;
        let head = (located.method.clone(), target, std::mem::take(&mut located.headers));
        let request = inbound
            .attach(head, Rc::clone(&access.bytes_in) as Rc<dyn ByteObserver>, &core.state().limits)
            .ok_or(ProxyError::Unsendable)?;
        let upstream = located.object.upstream;
        let unanswered = |error| ProxyError::unanswered(&core.state().directory, upstream, error);
        let sent = core.transport().send(&paved.destination, request, patience).await;
        let (response, lease, spare) = sent.map_err(unanswered)?;
        let mut answer = UpstreamResponse::new(response, lease, head_only, core.counters())?;
        let Some(mut signer) = signer else { return Ok(answer) };
        if answer.is_good() {
            signer.source.accept(&signer.credentials);
            return Ok(answer);
        }
        // Handling an error needs a large future; boxing it keeps the future of a successful
        // request small.
        Box::pin(async {
            // The endpoint and not the `Host` header: clients choose bucket names, so these must
            // not become keys of a count.
            let endpoint = core.state().directory.get(upstream).endpoint.host.as_str();
            if let Some(other) =
                signer.replacement_credentials(&mut answer, (endpoint, spare.started_at()), core).await?
            {
                let is_other = !Arc::ptr_eq(&other, &signer.credentials);
                if let Some(mut request) = spare.whole(core.transport().stall()) {
                    signer.credentials = other;
                    signer.sign_again(&mut request, (&located.object, &paved), core)?;
                    access.provider = Some(Arc::clone(&signer.credentials.provider));
                    let sent = core.transport().send(&paved.destination, request, patience).await;
                    let (response, lease, _) = sent.map_err(unanswered)?;
                    answer = UpstreamResponse::new(response, lease, head_only, core.counters())?;
                } else {
                    answer.note(if is_other { "credentials-rejected" } else { "clock-corrected" });
                }
            }
            match core.token_searches().get(&signer.credentials) {
                Some(token) => answer.redact_token(&token, core.transport().stall()).await,
                None => Ok(answer),
            }
        })
        .await
    }
}

impl RequestSigner<'_> {
    /// Records whether OSS has accepted the key. If OSS rejects it, returns other credentials, if
    /// they are available soon. If OSS rejects the clock, returns the same credentials, to sign
    /// with the corrected time.
    async fn replacement_credentials(
        &self,
        answer: &mut UpstreamResponse,
        (endpoint, begun): (&str, Instant),
        core: &WorkerCore,
    ) -> Result<Option<Arc<Credentials>>, ProxyError> {
        let status = answer.response.status();
        if status.is_success() || status == StatusCode::NOT_FOUND {
            self.source.accept(&self.credentials);
            return Ok(None);
        }
        match answer.key_refused(core.transport().stall()).await? {
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
                let ahead_s = ahead(server_time.as_deref(), answer.response.headers(), call);
                Ok(ahead_s.map(|ahead_s| {
                    core.state().services.clocks().record(endpoint, ahead_s);
                    core.correct_clock(ahead_s);
                    Arc::clone(&self.credentials)
                }))
            }
            None => Ok(None),
        }
    }

    /// Replaces the signature of a request that is retried.
    fn sign_again(
        &self,
        request: &mut Request<RequestBody>,
        (object, paved): (&address::LocatedObject, &CachedEndpoint),
        core: &WorkerCore,
    ) -> Result<(), ProxyError> {
        let now = core.signing_time();
        let prepared =
            core.keys().get(&self.credentials, (self.signature, paved.way.region.as_ref()), &now)?;
        caller::remove_signature(request.headers_mut());
        let subject = SignableRequest {
            method: request.method(),
            bucket: object.bucket.as_ref(),
            key: &object.key,
            query: &object.query,
            headers: request.headers(),
        };
        prepared.sign(&subject, &now).apply(request.headers_mut());
        Ok(())
    }
}
