//! The request pipeline, from the head of a request to its response. A request changes its type at
//! each stage, and each stage consumes the previous value. A request that policy has not admitted
//! therefore cannot be passed to the signer.

mod audit;
mod bucket_filter;
mod bucket_probe;
mod caller_limiter;
mod dry_run;
mod endpoint_cache;
mod error;
mod form_file;
mod form_upload;
mod headers;
mod judged_body;
mod key_document;
mod key_error;
mod key_page;
mod limited_cache;
mod located_request;
mod page_isolation;
mod permission_denial;
mod plain_error;
mod redact;
mod rejected_identity;
mod request;
mod request_signer;
mod response;
mod response_body;
mod routed_clock;
mod signing;
mod signing_key_cache;
mod stages;
mod state;
mod trace;
mod upstream_clocks;

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;

pub(crate) use dry_run::{
    DecidedPermission, DryRunReport, DryRunRequest, DryRunRoute, OutboundHead, explain, test_rights,
};
pub(crate) use endpoint_cache::destination;
pub(crate) use error::ProxyError;
pub use headers::prepare_headers;
pub use redact::without_token;
pub(crate) use response_body::ResponseBody;
pub(crate) use signing::{AddressedRequest, SigningKeyError, signing_key};
pub use state::ProxyState;
pub use state::WorkerCore;
pub(crate) use state::{
    AcceptingListener, ListenerRules, RequestLimits, ServedCallerSettings, ServedCallers, UpstreamSigning,
};

use crate::oss::Operation;
use crate::telemetry::{AccessLogEvent, RejectedRequest};
use bucket_probe::BucketProbe;
use headers::REQUEST_ID;
use located_request::LocatedRequest;
use request::InboundRequest;
use response::UpstreamResponse;
use stages::{AdmittedRequest, IdentifiedRequest, JudgedBody, JudgedRequest, RoutedRequest, SignedRequest};
use state::SignatureTimes;
use trace::RequestTrace;

/// Serves one request. Errors become responses, so no connection is closed without one. `in_flight`
/// is held until the response has ended and the request is read.
pub(crate) async fn handle(
    core: Rc<WorkerCore>,
    listener: AcceptingListener,
    request: Request<Incoming>,
    in_flight: Rc<()>,
) -> Result<Response<ResponseBody>, Infallible> {
    let mut access = AccessLogEvent::begin(core.logged(), core.meter(), Rc::clone(&in_flight));
    access.client = listener.client;
    core.counters().request();
    audit::begin(&core, &listener, request.headers(), &mut access);
    let mut inbound = InboundRequest::new(request, in_flight);
    let id = access.id;
    let mut response = if listener.rules.content.is_credentials() {
        match Box::pin(key_page::answer(&core, &listener, &mut inbound, &mut access)).await {
            Ok(document) => match audit::allow(&mut access).await {
                Ok(()) => inbound.answer(document.respond(access)),
                Err(refusal) => refuse(&core, inbound, refusal, access).await,
            },
            Err(refusal) => refuse(&core, inbound, refusal, access).await,
        }
    } else {
        let forwarded = forward(&core, &listener, &mut inbound, &mut access).await;
        let isolation = inbound.isolation;
        let mut response = match forwarded {
            Ok(ServedResponse::OfUpstream(response)) => response.respond(core.transport().stall(), access),
            Ok(ServedResponse::OfProxy(probe)) => {
                core.counters().own_answer();
                inbound.answer(probe.respond(access))
            }
            Err(refusal) => refuse(&core, inbound, refusal, access).await,
        };
        isolation.apply(response.headers_mut());
        response
    };
    if let Ok(id) = HeaderValue::from_bytes(&id.digits()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response)
}

/// Counts and records a rejection, and builds its response.
async fn refuse(
    core: &WorkerCore,
    inbound: InboundRequest,
    refusal: ProxyError,
    mut access: AccessLogEvent,
) -> Response<ResponseBody> {
    let refusal = if access.audit.is_some() { audit::deny(refusal, &mut access).await } else { refusal };
    if let ProxyError::Unidentified(why) = &refusal {
        rejected_identity::warn_of_real_key(core, why);
    }
    core.counters().refusal(RejectedRequest {
        at: core.clock().now(),
        id: access.id,
        code: refusal.code(),
        operation: access.operation.map(Operation::name),
    });
    // guard: rejection-is-response
    inbound.refuse(&refusal, access)
}

/// The response to a request that is not rejected.
#[expect(clippy::large_enum_variant, reason = "most responses are of the upstream, and are not boxed")]
enum ServedResponse {
    OfUpstream(UpstreamResponse),
    OfProxy(BucketProbe),
}

/// A request after the stages up to the signature.
enum PreparedRequest<'a> {
    ToSend(SignedRequest<'a>),
    Answered(BucketProbe),
}

/// Signs and sends a request, unless too many are in flight, and waits for the response head.
async fn forward(
    core: &WorkerCore,
    listener: &AcceptingListener,
    inbound: &mut InboundRequest,
    access: &mut AccessLogEvent,
) -> Result<ServedResponse, ProxyError> {
    if core.is_full() {
        return Err(ProxyError::Full(core.state().limits.requests));
    }
    let prepared = sign(core, listener, inbound, SignatureTimes::Current, access).await?;
    audit::allow(access).await?;
    let mut signed = match prepared {
        PreparedRequest::ToSend(signed) => signed,
        PreparedRequest::Answered(probe) => return Ok(ServedResponse::OfProxy(probe)),
    };
    let permit = signed.permit();
    let filter = signed.take_bucket_filter();
    inbound.set_permit(permit.clone());
    let mut response = signed.send(core, inbound, access).await?;
    if let Some(filter) = filter {
        // Boxing keeps the future of other requests small.
        response = Box::pin(response.filter_buckets(&filter, core.transport().stall())).await?;
    }
    Ok(ServedResponse::OfUpstream(response.with_permit(permit)))
}

/// Runs the stages up to the signature, in their required order. A dry run uses it too.
async fn sign<'a>(
    core: &'a WorkerCore,
    listener: &AcceptingListener,
    inbound: &mut InboundRequest,
    times: SignatureTimes<'_>,
    trace: &mut impl RequestTrace,
) -> Result<PreparedRequest<'a>, ProxyError> {
    let mut located = LocatedRequest::locate(inbound, listener, core.state(), trace)?;
    if located.is_verified_form(&listener.rules.policy) {
        Box::pin(located.read_form(core, inbound)).await?;
    }
    let mut identified = IdentifiedRequest::identify(located, core, listener, times, trace).await?;
    inbound.isolation = identified.isolation(listener.rules.identify);
    if trace.is_limited() && !identified.begin(core) {
        Box::pin(identified.wait(core)).await?;
    }
    let authorized = match authorize(core, listener, inbound, identified, trace).await? {
        JudgedRequest::Authorized(authorized) => authorized,
        JudgedRequest::Answered(probe) => return Ok(PreparedRequest::Answered(probe)),
    };
    let signed = match authorized.route(core, trace)? {
        RoutedRequest::ToSign(routed) => {
            let (signed_at, valid_at) = match times {
                SignatureTimes::Current => {
                    let now = core.signing_time(routed.upstream());
                    let valid_at = now.at();
                    (now, valid_at)
                }
                SignatureTimes::Fixed { signed_at, valid_at } => (Rc::clone(signed_at), valid_at),
            };
            let credentials = match routed.source().serve(valid_at) {
                Ok(credentials) => credentials,
                Err(_) => Box::pin(routed.source().wait(core.clock())).await?,
            };
            routed.sign(credentials, &signed_at, core.keys(), trace)?
        }
        RoutedRequest::Unsigned(routed) => routed.pass()?,
    };
    Ok(PreparedRequest::ToSend(signed))
}

/// Decides about the request of an identified client. What was judged replaces what the client sent.
async fn authorize(
    core: &WorkerCore,
    listener: &AcceptingListener,
    inbound: &mut InboundRequest,
    identified: IdentifiedRequest,
    trace: &mut impl RequestTrace,
) -> Result<JudgedRequest, ProxyError> {
    let admitted = identified.admit(&listener.rules.policy, &core.state().routing_table, trace)?;
    // A body is seldom read here; boxing keeps the future of other requests small.
    let body = match admitted.body_limit(trace) {
        Some(limit) => Box::pin(admitted.read_body(limit, core, inbound)).await?,
        None => Bytes::new(),
    };
    match admitted {
        AdmittedRequest::Authorized(authorized) => {
            if trace.is_audited() {
                authorized.examine(core, listener, &body, trace);
            }
            Ok(JudgedRequest::Authorized(authorized))
        }
        AdmittedRequest::ToJudge(to_judge) => {
            to_judge.judge(core, listener, JudgedBody { body, inbound }, trace)
        }
    }
}
