//! The request pipeline, from the head of a request to its response. A request changes its type at
//! each stage, and each stage consumes the previous value. Traffic that policy has not admitted
//! therefore cannot be passed to the signer.

mod dry_run;
mod endpoint_cache;
mod error;
mod headers;
mod plain_error;
mod redact;
mod request;
mod response;
mod response_body;
mod signing_key_cache;
mod stages;
mod state;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;

pub use dry_run::{DryRunReport, DryRunRoute, OutboundHead, RejectionReason, explain};
pub use endpoint_cache::destination;
pub use error::ProxyError;
pub use headers::prepare_headers;
pub use redact::without_token;
pub use response_body::ResponseBody;
pub use state::{ListenerRules, ProxyState, RequestLimits, UpstreamSigning, WorkerCore};

use crate::oss::Operation;
use crate::telemetry::{AccessLogEvent, RejectedRequest};
use headers::REQUEST_ID;
use request::InboundRequest;

/// Serves one request. Errors become responses, so no connection is closed without one. `in_flight`
/// is held until the response has ended and the request is read. The listener rules come with the
/// address that the client connected to.
pub async fn handle(
    core: Rc<WorkerCore>,
    (gate, address): (Rc<ListenerRules>, Option<SocketAddr>),
    request: Request<Incoming>,
    in_flight: Rc<()>,
) -> Result<Response<ResponseBody>, Infallible> {
    let mut access = AccessLogEvent::begin(core.logged(), core.admit(), Rc::clone(&in_flight));
    core.counters().request();
    let mut inbound = InboundRequest::new(request, in_flight);
    let id = access.id;
    let mut response = match walk(&core, (&gate, address), &mut inbound, &mut access).await {
        Ok(answer) => answer.respond(core.transport().stall(), access),
        Err(refusal) => {
            core.counters().refusal(RejectedRequest {
                at: core.clock().now(),
                id: access.id,
                code: refusal.code(),
                operation: access.operation.map(Operation::name),
            });
            // guard: rejection-is-response
            inbound.refuse(&refusal, access)
        }
    };
    if let Ok(id) = HeaderValue::from_bytes(&id.digits()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response)
}

/// Runs the stages in their required order.
async fn walk(
    core: &WorkerCore,
    (gate, address): (&ListenerRules, Option<SocketAddr>),
    inbound: &mut InboundRequest,
    access: &mut AccessLogEvent,
) -> Result<response::UpstreamResponse, ProxyError> {
    if core.is_full() {
        return Err(ProxyError::Full(core.state().limits.requests));
    }
    let now = core.signing_time();
    let located = stages::LocatedRequest::locate(inbound, (gate, address), core.state())?.record(access);
    let admitted = located.identify(access).admit(&gate.policy, &core.state().directory)?;
    let routed = admitted.route(core)?;
    let signed = match routed {
        stages::RoutedRequest::ToSign(routed) => {
            let credentials = match routed.source().serve(now.at()) {
                Ok(credentials) => credentials,
                Err(_) => Box::pin(routed.source().wait(core.clock())).await?,
            };
            routed.sign(&credentials, &now, core.keys(), access)?
        }
        stages::RoutedRequest::Unsigned(routed) => routed.pass()?,
    };
    signed.send(core, inbound, access).await
}
