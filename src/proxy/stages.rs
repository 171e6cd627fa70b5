//! The stages of a request, one type for each. Their fields are private to this file: only policy
//! makes an [`AuthorizedRequest`], and only an [`AuthorizedRequest`] can be routed. Only a
//! [`SignableRoute`] has a `sign` method.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri, header};

use super::bucket_filter::BucketFilter;
use super::bucket_probe::BucketProbe;
use super::caller_limiter::CallerPermit;
use super::endpoint_cache::CachedEndpoint;
use super::error::ProxyError;
use super::headers::prepare_headers;
use super::judged_body;
use super::located_request::{FormStage, LocatedRequest};
use super::page_isolation::PageIsolation;
use super::permission_denial::PermissionDenial;
use super::request::InboundRequest;
use super::request_signer::RequestSigner;
use super::response::UpstreamResponse;
use super::signing::{AddressedRequest, SigningKeyError};
use super::signing_key_cache::SigningKeyCache;
use super::state::{AcceptingListener, ProxyState, SignatureTimes, WorkerCore};
use super::trace::{RequestTrace, record_credentials};
use crate::address::{RoutingTable, UpstreamId};
use crate::caller::{self, Caller, CallerIdentity, IdentityKinds, IdentityProof};
use crate::credentials::{CredentialSource, Credentials};
use crate::policy::{
    AccessPolicy, ClientProof, DenyReason, ListenerRequest, NamedHost, PolicyDecision, RequestShape,
};
use crate::sign::{SignatureVersion, SigningTexts, SigningTime};
use crate::telemetry::AccessLogEvent;
use crate::transport::{ResponseTimeout, UpstreamExchange};

/// A request with an identified caller. The client's own signature is removed.
pub(super) struct IdentifiedRequest {
    located: Box<LocatedRequest>,
    caller: CallerIdentity,
}

/// A request that the policy of the listener allows.
pub(super) enum AdmittedRequest {
    /// The caller may do everything, or the request is not signed.
    Authorized(AuthorizedRequest),
    /// The rights of the caller decide.
    ToJudge(RequestToJudge),
}

/// A request whose caller has limited rights.
pub(super) struct RequestToJudge {
    located: Box<LocatedRequest>,
    caller: CallerIdentity,
}

/// The body that is judged, and the request whose body it may replace.
pub(super) struct JudgedBody<'a> {
    pub(super) body: Bytes,
    pub(super) inbound: &'a mut InboundRequest,
}

/// A request that the rights of the caller allow.
pub(super) enum JudgedRequest {
    /// The request is forwarded.
    Authorized(AuthorizedRequest),
    /// The proxy responds.
    Answered(BucketProbe),
}

/// A request that all policies allow: the only type that can be routed.
pub(super) struct AuthorizedRequest {
    located: Box<LocatedRequest>,
    caller: CallerIdentity,
    signing: SigningChoice,
}

enum SigningChoice {
    Sign,
    PassUnsigned,
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
    cached_endpoint: Rc<CachedEndpoint>,
    signature: SignatureVersion,
    source: &'a Arc<CredentialSource>,
}

/// A routed request that is sent without a signature.
pub(super) struct UnsignedRequest {
    located: Box<LocatedRequest>,
    cached_endpoint: Rc<CachedEndpoint>,
}

/// A request in its final form, except for its body.
pub(super) struct SignedRequest<'a> {
    located: Box<LocatedRequest>,
    target: Uri,
    cached_endpoint: Rc<CachedEndpoint>,
    response_timeout: ResponseTimeout,
    signer: Option<RequestSigner<'a>>,
}

impl IdentifiedRequest {
    /// Identifies the client at these times, and removes its signature.
    pub(super) async fn identify(
        mut located: Box<LocatedRequest>,
        core: &WorkerCore,
        listener: &AcceptingListener,
        times: SignatureTimes<'_>,
        trace: &mut impl RequestTrace,
    ) -> Result<Self, ProxyError> {
        let caller = located.identify(core, listener, times, trace).await?;
        Ok(Self { located, caller })
    }

    /// Takes a caller as given, for a dry run of its rights.
    pub(super) fn assume(
        mut located: Box<LocatedRequest>,
        caller: &Arc<Caller>,
        state: &ProxyState,
        trace: &mut impl RequestTrace,
    ) -> Result<Self, ProxyError> {
        caller::remove_client_signature(&mut located.headers, &mut located.request.object.query);
        located.request.object.route_for_caller(&caller.name, &state.routing_table)?;
        let (caller, proof) = (Arc::clone(caller), IdentityProof::Signature);
        let caller = CallerIdentity::Known { caller, proof, expires: None };
        trace.record_caller(&caller, state);
        Ok(Self { located, caller })
    }

    /// Returns the isolation of the response, on a listener that accepts `kinds` of identity.
    pub(super) fn isolation(&self, kinds: IdentityKinds) -> PageIsolation {
        PageIsolation::for_identity(&self.caller, kinds)
    }

    /// Begins the request within the limits of the caller. Returns `false` if it must wait for them.
    pub(super) fn begin(&mut self, core: &WorkerCore) -> bool {
        let limiter = self.caller.proven().and_then(|caller| core.state().callers.limiter(caller));
        let Some(limiter) = limiter else { return true };
        self.located.permit = limiter.begin().map(Rc::new);
        self.located.permit.is_some()
    }

    /// Waits until the limits of the caller permit the request.
    pub(super) async fn wait(&mut self, core: &WorkerCore) -> Result<(), ProxyError> {
        let callers = &core.state().callers;
        if let Some(caller) = self.caller.proven()
            && let Some(limiter) = callers.limiter(caller)
        {
            let permit = limiter.wait(core.transport().queue(), &callers.metrics(caller)).await?;
            self.located.permit = Some(Rc::new(permit));
        }
        Ok(())
    }

    /// Returns the request if the policy of the listener allows it.
    pub(super) fn admit(
        self,
        policy: &AccessPolicy,
        routing_table: &RoutingTable,
        trace: &mut impl RequestTrace,
    ) -> Result<AdmittedRequest, ProxyError> {
        let Self { located, caller } = self;
        let AddressedRequest { method, object } = &located.request;
        let shape = ListenerRequest {
            rights: caller.caller().map(|caller| &caller.rights),
            proof: match caller.proof() {
                Some(IdentityProof::Announced) => ClientProof::Announced,
                Some(proof) if proof.is_ambient() => ClientProof::Ambient,
                Some(_) | None => ClientProof::Explicit,
            },
            operation: object.operation,
            host: if object.is_set_up_name { NamedHost::SetUp } else { NamedHost::Other },
            method,
            query: &object.query,
            headers: &located.headers,
            pin: routing_table.get(object.upstream).pin.as_ref(),
        };
        let verdict = policy.decide(&shape);
        trace.record_decision(verdict);
        let signing = match verdict {
            PolicyDecision::Sign => SigningChoice::Sign,
            PolicyDecision::PassUnsigned => SigningChoice::PassUnsigned,
            // guard: limited-rights-are-judged
            PolicyDecision::Judge => {
                return Ok(AdmittedRequest::ToJudge(RequestToJudge { located, caller }));
            }
            PolicyDecision::Deny(denial) => return Err(denial.into()),
        };
        Ok(AdmittedRequest::Authorized(AuthorizedRequest { located, caller, signing }))
    }
}

impl AdmittedRequest {
    /// Returns the maximum length in bytes of a body that is judged or audited; `None` if none is.
    pub(super) fn body_limit(&self, trace: &impl RequestTrace) -> Option<usize> {
        let is_read = matches!(self, Self::ToJudge(_)) || trace.is_audited();
        RequestShape::body_limit(self.located().request.object.operation).filter(|_| is_read)
    }

    /// Reads the body that is judged or audited.
    pub(super) async fn read_body(
        &self,
        limit: usize,
        core: &WorkerCore,
        inbound: &mut InboundRequest,
    ) -> Result<Bytes, ProxyError> {
        Ok(inbound.read_judged(limit, core.transport().stall(), &self.located().headers).await?)
    }

    fn located(&self) -> &LocatedRequest {
        match self {
            Self::Authorized(AuthorizedRequest { located, .. })
            | Self::ToJudge(RequestToJudge { located, .. }) => located,
        }
    }
}

impl RequestToJudge {
    /// Returns the request if the rights of the caller grant all that it requires. What was judged
    /// replaces what the client sent.
    pub(super) fn judge(
        self,
        core: &WorkerCore,
        listener: &AcceptingListener,
        JudgedBody { body, inbound }: JudgedBody<'_>,
        trace: &mut impl RequestTrace,
    ) -> Result<JudgedRequest, ProxyError> {
        let Self { mut located, caller } = self;
        let known = caller.caller().ok_or(DenyReason::NoRights)?;
        let shape = located.shape(core, listener, Some(known), &body);
        trace.record_shape(shape.as_ref(), Some(&known.rights));
        let shape = shape?;
        let object = &located.request.object;
        let filter = BucketFilter::for_request(object.operation, known, &shape);
        match known.rights.judge(&shape.permissions, &shape.facts) {
            // guard: denied-list-is-not-filtered
            Err(missing) if filter.is_none() || missing.denied_by.is_some() => {
                let region = core.state().routing_table.get(object.upstream).region.as_ref();
                if let Some(probe) = BucketProbe::for_request(object, region, &known.rights, &shape) {
                    trace.record_own_answer();
                    return Ok(JudgedRequest::Answered(probe));
                }
                return Err(PermissionDenial::new(missing, &shape, &known.rights).into());
            }
            Ok(()) | Err(_) => {}
        }
        let rewrites = shape.rewrites;
        for (name, value) in rewrites.headers {
            match value {
                Some(value) => drop(located.headers.insert(name, value)),
                None => drop(located.headers.remove(name)),
            }
        }
        if let Some(body) = rewrites.body {
            judged_body::set_digest(&mut located.headers, &body);
            inbound.replace_body(body.into());
        }
        if filter.is_some() {
            located.headers.remove(header::ACCEPT_ENCODING);
            located.bucket_filter = filter;
        }
        // RAM does not document whether it sees an absent prefix as an empty one.
        if known.has_session_policy
            && located.request.object.operation.lists_keys()
            && located.request.object.query.get("prefix").is_none()
        {
            located.request.object.query.push("prefix", "");
        }
        trace.record_decision(PolicyDecision::Sign);
        let authorized = AuthorizedRequest { located, caller, signing: SigningChoice::Sign };
        Ok(JudgedRequest::Authorized(authorized))
    }
}

impl AuthorizedRequest {
    /// Records what a request requires that is not judged.
    pub(super) fn examine(
        &self,
        core: &WorkerCore,
        listener: &AcceptingListener,
        body: &[u8],
        trace: &mut impl RequestTrace,
    ) {
        let caller = self.caller.caller().map(|caller| &**caller);
        let shape = self.located.shape(core, listener, caller, body);
        trace.record_shape(shape.as_ref(), caller.map(|caller| &caller.rights));
    }

    /// Resolves the destination, and normalizes the headers for the upstream request.
    pub(super) fn route<'a>(
        self,
        core: &'a WorkerCore,
        trace: &mut impl RequestTrace,
    ) -> Result<RoutedRequest<'a>, ProxyError> {
        let Self { mut located, caller, signing } = self;
        let object = &located.request.object;
        let state = core.state();
        let upstream = state.upstream(object.upstream).ok_or(SigningKeyError::NoRegion)?;
        let cached_endpoint = core.endpoint_cache().get(object, &state.routing_table, upstream.trust)?;
        trace.record_route(object.upstream, &cached_endpoint.endpoint);
        prepare_headers(&mut located.headers);
        if upstream.tell_upstream {
            let proven = caller.proven().map(|caller| &*caller.name);
            caller::name_in_user_agent(&mut located.headers, proven);
        }
        let caller = caller.caller().map(|caller| &**caller);
        Ok(match (signing, upstream.source_for(caller)) {
            // guard: form-is-signed-or-rejected
            (SigningChoice::Sign, None) if located.form.is_some() => return Err(DenyReason::PostForm.into()),
            (SigningChoice::Sign, Some(source)) => {
                trace.record_signer(upstream.signature, source);
                RoutedRequest::ToSign(SignableRoute {
                    located,
                    cached_endpoint,
                    signature: upstream.signature,
                    source,
                })
            }
            (SigningChoice::Sign, None) | (SigningChoice::PassUnsigned, _) => {
                RoutedRequest::Unsigned(UnsignedRequest { located, cached_endpoint })
            }
        })
    }
}

impl<'a> SignableRoute<'a> {
    /// Returns the upstream.
    pub(super) fn upstream(&self) -> UpstreamId {
        self.located.request.object.upstream
    }

    /// Returns the credential source.
    pub(super) fn source(&self) -> &'a CredentialSource {
        self.source
    }

    pub(super) fn sign(
        self,
        credentials: Arc<Credentials>,
        now: &SigningTime,
        keys: &SigningKeyCache,
        trace: &mut impl RequestTrace,
    ) -> Result<SignedRequest<'a>, ProxyError> {
        let Self { mut located, cached_endpoint, signature, source } = self;
        trace.record_credentials(&credentials);
        let form = located.form.take();
        let signer = RequestSigner { source, credentials, signature, is_of_form: form.is_some() };
        let key = signer.key(&cached_endpoint, now, keys)?;
        match (form.map(|form| *form), &located.request.object.bucket) {
            (None, _) => {
                key.sign(&located.request.signable(&located.headers), now).apply(&mut located.headers)
            }
            (Some(FormStage::Checked(form)), Some(bucket)) => {
                located.form = Some(Box::new(FormStage::Signed(form.sign(bucket, &key, now))));
            }
            (Some(_), _) => return Err(DenyReason::PostForm.into()),
        }
        trace.record_signature(&signer.credentials, signature);
        let signed = SignedRequest::new(located, cached_endpoint)?;
        Ok(SignedRequest { signer: Some(signer), ..signed })
    }
}

impl UnsignedRequest {
    pub(super) fn pass<'a>(self) -> Result<SignedRequest<'a>, ProxyError> {
        let Self { located, cached_endpoint } = self;
        SignedRequest::new(located, cached_endpoint)
    }
}

impl<'a> SignedRequest<'a> {
    fn new(
        mut located: Box<LocatedRequest>,
        cached_endpoint: Rc<CachedEndpoint>,
    ) -> Result<Self, ProxyError> {
        let object = &located.request.object;
        let works_on_the_whole = object.operation.works_on_whole_objects();
        let response_timeout =
            if works_on_the_whole { ResponseTimeout::WholeObject } else { ResponseTimeout::Usual };
        let target: Uri =
            cached_endpoint.endpoint.target(object).try_into().map_err(|_| ProxyError::Unsendable)?;
        located.headers.insert(header::HOST, cached_endpoint.host.clone());
        Ok(Self { located, target, cached_endpoint, response_timeout, signer: None })
    }

    /// Returns the permit of the caller, if it has limits.
    pub(super) fn permit(&self) -> Option<Rc<CallerPermit>> {
        self.located.permit.clone()
    }

    /// Takes the filter of the response, if it is a list of buckets.
    pub(super) fn take_bucket_filter(&mut self) -> Option<Box<BucketFilter>> {
        self.located.bucket_filter.take()
    }

    /// Returns the request line, without the line break.
    pub(super) fn request_line(&self) -> String {
        format!("{} {} HTTP/1.1", self.located.request.method, self.target)
    }

    /// Returns the headers, without the framing of the body.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.located.headers
    }

    /// Returns the texts that were signed at `now`, if any. They are computed from the final head,
    /// as OSS computes them.
    pub(super) fn texts(
        &self,
        now: &SigningTime,
        keys: &SigningKeyCache,
    ) -> Result<Option<SigningTexts>, ProxyError> {
        let Some(signer) = &self.signer else { return Ok(None) };
        let LocatedRequest { request, headers, .. } = &*self.located;
        Ok(Some(signer.key(&self.cached_endpoint, now, keys)?.signed(&request.signable(headers), now)))
    }

    /// Sends the request with the client's body, and waits for the response head. If OSS rejects
    /// the key or the clock, the request is signed and sent a second time. This requires
    /// credentials to retry with, and that no byte of the body was consumed.
    pub(super) async fn send(
        self,
        core: &WorkerCore,
        inbound: &mut InboundRequest,
        access: &mut AccessLogEvent,
    ) -> Result<UpstreamResponse, ProxyError> {
        let Self { mut located, target, cached_endpoint, response_timeout, signer } = self;
        let head_only = located.request.method == Method::HEAD;
        let mut head = Request::new(());
        head.method_mut().clone_from(&located.request.method);
        *head.uri_mut() = target;
        *head.headers_mut() = std::mem::take(&mut located.headers);
        if let Some(FormStage::Signed(filter)) = located.form.take().map(|form| *form) {
            inbound.set_form(filter);
        }
        let request = inbound
            .attach(head, Rc::clone(&access.bytes_in), &core.state().limits)
            .ok_or(ProxyError::Unsendable)?;
        let upstream = located.request.object.upstream;
        let unanswered = |error| ProxyError::unanswered(&core.state().routing_table, upstream, error);
        let sent = core.transport().send(&cached_endpoint.destination, request, response_timeout).await;
        let UpstreamExchange { response, connection, request: retryable } = sent.map_err(unanswered)?;
        let mut upstream_response = UpstreamResponse::new(response, connection, head_only, core.counters())?;
        let Some(mut signer) = signer else { return Ok(upstream_response) };
        if upstream_response.is_good() {
            signer.source.accept(&signer.credentials);
            return Ok(upstream_response);
        }
        // Handling an error needs a large future; boxing it keeps the future of a successful
        // request small.
        Box::pin(async {
            if let Some(other) = signer
                .replacement_credentials(&mut upstream_response, upstream, retryable.started_at(), core)
                .await?
            {
                let is_other = !Arc::ptr_eq(&other, &signer.credentials);
                let retried = retryable.whole(core.transport().stall());
                // Its signature is in the body, which is not written again.
                if let Some(mut request) = retried.filter(|_| !signer.is_of_form) {
                    signer.credentials = other;
                    signer.sign_again(&mut request, &located.request, &cached_endpoint, core)?;
                    record_credentials(access, &signer.credentials);
                    let sent =
                        core.transport().send(&cached_endpoint.destination, request, response_timeout).await;
                    let UpstreamExchange { response, connection, .. } = sent.map_err(unanswered)?;
                    upstream_response =
                        UpstreamResponse::new(response, connection, head_only, core.counters())?;
                } else {
                    upstream_response.note(if is_other { "credentials-rejected" } else { "clock-corrected" });
                }
            }
            match core.token_searches().get(&signer.credentials) {
                Some(token) => upstream_response.redact_token(&token, core.transport().stall()).await,
                None => Ok(upstream_response),
            }
        })
        .await
    }
}
