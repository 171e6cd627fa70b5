//! Dry run: explains how a request would be served, using the same stages as the proxy. Nothing is
//! sent.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};

use super::error::ProxyError;
use super::key_page;
use super::located_request::LocatedRequest;
use super::request::InboundRequest;
use super::stages::IdentifiedRequest;
use super::state::{AcceptingListener, ProxyState, SignatureTimes, WorkerCore};
use super::trace::RequestTrace;
use super::{PreparedRequest, sign};
use crate::address::{LocatedObject, ResolvedEndpoint, UpstreamId};
use crate::caller::{Caller, CallerIdentity};
use crate::credentials::{CredentialSource, Credentials};
use crate::oss::{Bucket, Key, Operation, Query};
use crate::policy::{CallerRights, NotUnderstood, PermissionDecision, PolicyDecision, RequestShape};
use crate::sign::{SignatureVersion, SigningTexts, SigningTime};
use crate::telemetry::RejectionCode;
use crate::time::Timestamp;

/// The results of a dry run. A field is `None` if its stage was not reached.
#[derive(Default)]
pub(crate) struct DryRunReport {
    /// The operation that the request selects.
    pub(crate) operation: Option<Operation>,
    /// The bucket, if the request names one.
    pub(crate) bucket: Option<Bucket>,
    /// The object key; empty if the request names none.
    pub(crate) key: Option<Key>,
    /// The query parameters, as the client sends them.
    pub(crate) query: Option<Query>,
    /// The identity of the client.
    pub(crate) caller: Option<CallerIdentity>,
    /// The decision of the access policy.
    pub(crate) verdict: Option<PolicyDecision>,
    /// The permissions that the request requires, if the rights of the caller decide.
    pub(crate) permissions: Vec<DecidedPermission>,
    /// Whether the proxy responds itself, without an error.
    pub(crate) is_own_answer: bool,
    /// The destination of the request.
    pub(crate) route: Option<DryRunRoute>,
    /// The credential source that signs.
    pub(crate) source: Option<Arc<CredentialSource>>,
    /// The credentials used for signing.
    pub(crate) credentials: Option<Arc<Credentials>>,
    /// The expiry of the access key that the client would get.
    pub(crate) key_expiry: Option<Timestamp>,
    /// The name of the role that the client would get.
    pub(crate) role: Option<String>,
    /// The head that would be sent to the upstream.
    pub(crate) outbound: Option<OutboundHead>,
    /// The error response, if the request is rejected.
    pub(crate) refused: Option<RejectionReason>,
}

/// The request of a dry run.
pub(crate) struct DryRunRequest {
    pub(crate) head: Parts,
    /// The body; `None` if it is unknown.
    pub(crate) body: Option<Bytes>,
}

/// A permission that a request requires, with the decision about it.
pub(crate) struct DecidedPermission {
    /// The RAM action.
    pub(crate) action: &'static str,
    /// The resource.
    pub(crate) resource: String,
    /// The decision.
    pub(crate) decision: PermissionDecision,
}

/// The destination of a request.
pub(crate) struct DryRunRoute {
    /// The selected upstream.
    pub(crate) upstream: UpstreamId,
    /// The resolved endpoint of the upstream.
    pub(crate) endpoint: ResolvedEndpoint,
    /// The signature version; `None` if the request is not signed.
    pub(crate) signature: Option<SignatureVersion>,
}

/// The head of an upstream request. Headers that hold secrets are marked as sensitive.
pub(crate) struct OutboundHead {
    /// The request line, without the line break.
    pub(crate) request_line: String,
    /// The headers, in the order in which they are sent.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The signed texts; `None` if the request is not signed.
    pub(crate) signed: Option<SigningTexts>,
}

/// The error response that the client would receive.
pub(crate) struct RejectionReason {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The stable error code of the proxy.
    pub(crate) code: RejectionCode,
    /// The error message.
    pub(crate) message: String,
}

/// Runs the stages up to the signature, which is made at `now`, or up to the access key that the
/// listener hands out. Credentials must be valid by the
/// clock of `core`. Credential sources are not queried: the caller refreshes them first.
pub(crate) async fn explain(
    core: &WorkerCore,
    listener: &AcceptingListener,
    request: DryRunRequest,
    now: &Rc<SigningTime>,
) -> DryRunReport {
    let mut explained = DryRunReport::default();
    if listener.rules.content.is_credentials() {
        let mut inbound = request.into_inbound();
        let answered = key_page::answer(core, listener, &mut inbound, &mut explained).await;
        explained.refused = answered.err().map(|refusal| RejectionReason::new(&refusal));
        return explained;
    }
    match outbound(core, listener, request, now, &mut explained).await {
        Ok(outbound) => explained.outbound = outbound,
        Err(refusal) => explained.refused = Some(RejectionReason::new(&refusal)),
    }
    explained
}

/// Runs the stages up to the policy decision for a caller, which needs no identity. `None` if no
/// caller has this name.
pub(crate) async fn test_rights(
    core: &WorkerCore,
    listener: &AcceptingListener,
    request: DryRunRequest,
    caller: &str,
) -> Option<DryRunReport> {
    let mut callers = core.state().callers.directory.callers().iter();
    let caller = callers.find(|known| *known.name == *caller)?;
    let mut tested = DryRunReport::default();
    let allowed = authorize(core, listener, request.into_inbound(), caller, &mut tested).await;
    tested.refused = allowed.err().map(|refusal| RejectionReason::new(&refusal));
    Some(tested)
}

async fn authorize(
    core: &WorkerCore,
    listener: &AcceptingListener,
    mut inbound: InboundRequest,
    caller: &Arc<Caller>,
    tested: &mut DryRunReport,
) -> Result<(), ProxyError> {
    let state = core.state();
    let located = LocatedRequest::locate(&mut inbound, listener, state, tested)?;
    let assumed = IdentifiedRequest::assume(located, caller, state, tested)?;
    super::authorize(core, listener, &mut inbound, assumed, tested).await.map(drop)
}

async fn outbound(
    core: &WorkerCore,
    listener: &AcceptingListener,
    request: DryRunRequest,
    now: &Rc<SigningTime>,
    explained: &mut DryRunReport,
) -> Result<Option<OutboundHead>, ProxyError> {
    let mut inbound = request.into_inbound();
    let times = SignatureTimes::Fixed { signed_at: now, valid_at: core.clock().now() };
    let PreparedRequest::ToSend(signed) = sign(core, listener, &mut inbound, times, explained).await? else {
        return Ok(None);
    };
    let mut headers = signed.headers().clone();
    inbound.frame(&mut headers);
    Ok(Some(OutboundHead {
        request_line: signed.request_line(),
        headers: headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        signed: signed.texts(now, core.keys())?,
    }))
}

impl DryRunRequest {
    fn into_inbound(self) -> InboundRequest {
        let mut inbound = InboundRequest::from_head(self.head, Rc::default());
        if let Some(body) = self.body {
            inbound.replace_body(body);
        }
        inbound
    }
}

impl RequestTrace for DryRunReport {
    fn is_limited(&self) -> bool {
        false
    }

    fn record_object(&mut self, object: &LocatedObject) {
        self.operation = Some(object.operation);
        self.bucket.clone_from(&object.bucket);
        self.key = Some(object.key.clone());
        self.query = Some(object.query.clone());
    }

    fn record_caller(&mut self, caller: &CallerIdentity, _state: &ProxyState) {
        self.caller = Some(caller.clone());
    }

    fn record_decision(&mut self, decision: PolicyDecision) {
        self.verdict = Some(decision);
    }

    fn record_own_answer(&mut self) {
        self.is_own_answer = true;
    }

    fn record_shape(
        &mut self,
        shape: Result<&RequestShape<'_>, &NotUnderstood>,
        rights: Option<&CallerRights>,
    ) {
        let (Ok(shape), Some(rights)) = (shape, rights) else { return };
        let decided = shape.permissions.iter().map(|permission| DecidedPermission {
            action: permission.action,
            resource: permission.resource.to_string(),
            decision: rights.decide(permission, &shape.facts),
        });
        self.permissions = decided.collect();
    }

    fn record_route(&mut self, upstream: UpstreamId, endpoint: &ResolvedEndpoint) {
        self.route = Some(DryRunRoute { upstream, endpoint: endpoint.clone(), signature: None });
    }

    fn record_signer(&mut self, version: SignatureVersion, source: &Arc<CredentialSource>) {
        if let Some(route) = &mut self.route {
            route.signature = Some(version);
        }
        self.source = Some(Arc::clone(source));
    }

    fn record_key_source(&mut self, source: &Arc<CredentialSource>) {
        self.source = Some(Arc::clone(source));
    }

    fn record_key(&mut self, _id: &str, expires: Timestamp) {
        self.key_expiry = Some(expires);
    }

    fn record_role(&mut self, name: &str) {
        self.role = Some(name.to_owned());
    }

    fn record_credentials(&mut self, credentials: &Arc<Credentials>) {
        self.credentials = Some(Arc::clone(credentials));
    }
}

impl RejectionReason {
    fn new(refusal: &ProxyError) -> Self {
        Self { status: refusal.status(), code: refusal.code(), message: refusal.message() }
    }
}
