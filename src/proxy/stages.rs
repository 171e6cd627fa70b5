//! The stages of a request, one type for each. Their fields are private to this file: only policy
//! makes an [`AuthorizedRequest`], and only an [`AuthorizedRequest`] can be routed. Only a
//! [`SignableRoute`] has a `sign` method.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use tokio::time::Instant;

use super::caller_limiter::CallerPermit;
use super::endpoint_cache::CachedEndpoint;
use super::error::ProxyError;
use super::headers::prepare_headers;
use super::judged_body;
use super::page_isolation::PageIsolation;
use super::permission_denial::PermissionDenial;
use super::request::InboundRequest;
use super::response::{KeyRejection, UpstreamResponse};
use super::routed_clock::RoutedClock;
use super::signing::{AddressedRequest, SigningKeyError};
use super::signing_key_cache::SigningKeyCache;
use super::state::{AcceptingListener, ProxyState, SignatureTimes, WorkerCore};
use super::trace::RequestTrace;
use crate::address::{LocatedObject, RoutingTable, UpstreamId};
use crate::caller::{
    self, Caller, CallerIdentity, ClientRequest, IdentityError, IdentityKinds, IdentityProof, SignatureClock,
};
use crate::credentials::{CallPeriod, CredentialSource, Credentials, ahead};
use crate::oss::{Region, SigningProduct};
use crate::policy::{
    AccessPolicy, ClientProof, DenyReason, ListenerRequest, NamedHost, PolicyDecision, RequestOrigin,
    RequestShape, ShapeInput,
};
use crate::sign::{SignatureVersion, SigningKey, SigningTexts, SigningTime};
use crate::telemetry::AccessLogEvent;
use crate::time::Timestamp;
use crate::transport::{RequestBody, ResponseTimeout, UpstreamExchange};

/// A request with a known target. The value is large, so the stages pass it on in its box.
pub(super) struct LocatedRequest {
    request: AddressedRequest,
    headers: HeaderMap,
    /// The permit of the caller, if it has limits.
    permit: Option<Rc<CallerPermit>>,
}

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

/// The credentials and the signature version of a signed request.
struct RequestSigner<'a> {
    source: &'a CredentialSource,
    credentials: Arc<Credentials>,
    signature: SignatureVersion,
}

impl LocatedRequest {
    /// Takes the head of a request whose target can be resolved.
    pub(super) fn locate(
        inbound: &mut InboundRequest,
        listener: &AcceptingListener,
        state: &ProxyState,
        trace: &mut impl RequestTrace,
    ) -> Result<Box<Self>, ProxyError> {
        let request =
            AddressedRequest { object: inbound.locate(listener, state)?, method: inbound.method().clone() };
        trace.record_object(&request.object);
        Ok(Box::new(Self { request, headers: inbound.take_headers(), permit: None }))
    }

    /// Identifies the client at these times, and removes its signature. If the key of a token is
    /// unknown, waits briefly for a fetch of the keys of its issuer.
    pub(super) async fn identify(
        mut self: Box<Self>,
        core: &WorkerCore,
        listener: &AcceptingListener,
        times: SignatureTimes<'_>,
        trace: &mut impl RequestTrace,
    ) -> Result<IdentifiedRequest, ProxyError> {
        let state = core.state();
        let mut identified = self.caller(core, listener, times);
        if let Err(error @ IdentityError::Jwt(_)) = &identified
            && Box::pin(state.callers.fetch_lacking_keys(error)).await
        {
            identified = self.caller(core, listener, times);
        }
        let caller = match identified {
            Ok(caller) => caller,
            Err(error) => {
                let query = &self.request.object.query;
                if let Some(claimed) = caller::claimed_caller(&self.headers, query, &state.callers.directory)
                {
                    trace.record_rejected_claim(&claimed, state);
                }
                return Err(error.into());
            }
        };
        if let Some(caller) = caller.caller() {
            self.request.object.route_for_caller(&caller.name, &state.routing_table)?;
        }
        trace.record_caller(&caller, state);
        Ok(IdentifiedRequest { located: self, caller })
    }

    /// Takes a caller as given, for a dry run of its rights.
    pub(super) fn assume(
        mut self: Box<Self>,
        caller: &Arc<Caller>,
        state: &ProxyState,
        trace: &mut impl RequestTrace,
    ) -> Result<IdentifiedRequest, ProxyError> {
        caller::remove_client_signature(&mut self.headers, &mut self.request.object.query);
        self.request.object.route_for_caller(&caller.name, &state.routing_table)?;
        let (caller, proof) = (Arc::clone(caller), IdentityProof::Signature);
        let caller = CallerIdentity::Known { caller, proof, expires: None };
        trace.record_caller(&caller, state);
        Ok(IdentifiedRequest { located: self, caller })
    }

    fn caller(
        &mut self,
        core: &WorkerCore,
        listener: &AcceptingListener,
        times: SignatureTimes<'_>,
    ) -> Result<CallerIdentity, IdentityError> {
        let AddressedRequest { method, object } = &mut self.request;
        let LocatedObject { operation, bucket, key, query, upstream, host, .. } = object;
        let region = core.state().routing_table.get(*upstream).region.as_ref();
        let bucket = bucket.as_ref();
        let routed = RoutedClock { core, host: host.as_ref(), bucket, upstream: *upstream };
        let fixed;
        let clock: &dyn SignatureClock = match times {
            SignatureTimes::Current => &routed,
            SignatureTimes::Fixed { signed_at, .. } => {
                fixed = signed_at.at();
                &fixed
            }
        };
        let request =
            ClientRequest { method, operation: *operation, bucket, key, query, headers: &mut self.headers };
        let product = region.map_or(SigningProduct::Oss, Region::product);
        caller::identify(request, core.identity_context(listener, product, clock))
    }
}

impl IdentifiedRequest {
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

impl RequestToJudge {
    /// Returns the maximum length in bytes of a body that is judged; `None` if none is.
    pub(super) fn body_limit(&self) -> Option<usize> {
        RequestShape::body_limit(self.located.request.object.operation)
    }

    /// Reads the body that is judged.
    pub(super) async fn read_body(
        &self,
        limit: usize,
        core: &WorkerCore,
        inbound: &mut InboundRequest,
    ) -> Result<Bytes, ProxyError> {
        Ok(inbound.read_judged(limit, core.transport().stall(), &self.located.headers).await?)
    }

    /// Returns the request if the rights of the caller grant all that it requires. What was judged
    /// replaces what the client sent.
    pub(super) fn judge(
        self,
        core: &WorkerCore,
        listener: &AcceptingListener,
        JudgedBody { body, inbound }: JudgedBody<'_>,
        trace: &mut impl RequestTrace,
    ) -> Result<AuthorizedRequest, ProxyError> {
        let Self { mut located, caller } = self;
        let LocatedRequest { request, headers, .. } = &mut *located;
        let AddressedRequest { method, object } = &*request;
        let region = core.state().routing_table.get(object.upstream).region.as_ref();
        let known = caller.caller().ok_or(DenyReason::NoRights)?;
        let shape = RequestShape::read(ShapeInput {
            operation: object.operation,
            method,
            bucket: object.bucket.as_ref(),
            key: object.key.as_bytes(),
            query: &object.query,
            headers,
            body: &body,
            origin: RequestOrigin {
                caller: &known.name,
                address: listener.client,
                secure: listener.rules.tls,
                now: core.clock().now(),
            },
            region: region.map_or("", Region::as_str),
            callbacks: known.callbacks,
        })?;
        trace.record_requirements(&shape, &known.rights);
        let judged = known.rights.judge(&shape.permissions, &shape.facts);
        judged.map_err(|missing| PermissionDenial::new(missing, &shape, &known.rights))?;
        let rewrites = shape.rewrites;
        for (name, value) in rewrites.headers {
            match value {
                Some(value) => drop(headers.insert(name, value)),
                None => drop(headers.remove(name)),
            }
        }
        if let Some(body) = rewrites.body {
            judged_body::set_digest(headers, &body);
            inbound.replace_body(body.into());
        }
        // RAM does not document whether it sees an absent prefix as an empty one.
        if known.has_session_policy && object.operation.lists_keys() && object.query.get("prefix").is_none() {
            request.object.query.push("prefix", "");
        }
        trace.record_decision(PolicyDecision::Sign);
        Ok(AuthorizedRequest { located, caller, signing: SigningChoice::Sign })
    }
}

impl AuthorizedRequest {
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
        let signer = RequestSigner { source, credentials, signature };
        let headers =
            signer.key(&cached_endpoint, now, keys)?.sign(&located.request.signable(&located.headers), now);
        headers.apply(&mut located.headers);
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
                if let Some(mut request) = retryable.whole(core.transport().stall()) {
                    signer.credentials = other;
                    signer.sign_again(&mut request, &located.request, &cached_endpoint, core)?;
                    access.provider = Some(Arc::clone(&signer.credentials.provider));
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

impl RequestSigner<'_> {
    /// Returns the signing key for requests to an endpoint.
    fn key(
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
    async fn replacement_credentials(
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
    fn sign_again(
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
