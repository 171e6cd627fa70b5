//! The walk: one request, from its head to its answer. A request is a value that changes its type at each step, and each
//! step consumes the last, so that traffic which policy has not admitted cannot even be handed to the signer.

mod answer;
mod echo;
mod error_answer;
mod explained;
mod headers;
mod keys;
mod plain_error;
mod refusal;
mod request;
mod stages;
mod state;
mod ways;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;

pub use answer::Body;
pub use echo::without_token;
pub use explained::{Explained, Outbound, Reason, Route, explain};
pub use headers::settle;
pub use refusal::Refusal;
pub use state::{Core, Gate, Limits, State, Upstream};
pub use ways::destination;

use crate::oss::Operation;
use crate::telemetry::{Access, Refused};
use headers::REQUEST_ID;
use request::Inbound;

/// Answers one request. An error of ours is an answer too: nothing ends a connection without one. `in_flight` is held until
/// the answer has ended and the request is read. The gate comes with the address that the client connected to.
pub async fn handle(
    core: Rc<Core>,
    (gate, address): (Rc<Gate>, Option<SocketAddr>),
    request: Request<Incoming>,
    in_flight: Rc<()>,
) -> Result<Response<Body>, Infallible> {
    let mut access = Access::begin(core.logged(), core.admit(), Rc::clone(&in_flight));
    core.counters().request();
    let mut inbound = Inbound::new(request, in_flight);
    let id = access.id;
    let mut response = match walk(&core, (&gate, address), &mut inbound, &mut access).await {
        Ok(answer) => answer.respond(core.transport().stall(), access),
        Err(refusal) => {
            core.counters().refusal(Refused {
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

/// The steps, in the order in which they must happen.
async fn walk(
    core: &Core,
    (gate, address): (&Gate, Option<SocketAddr>),
    inbound: &mut Inbound,
    access: &mut Access,
) -> Result<answer::Answer, Refusal> {
    if core.is_full() {
        return Err(Refusal::Full(core.state().limits.requests));
    }
    let now = core.moment();
    let located = inbound.locate((gate, address), core.state())?.note(access);
    let admitted = located.identify(access).admit(&gate.policy, &core.state().directory)?;
    let routed = admitted.route(core)?;
    let signed = match routed {
        stages::Routed::ToSign(routed) => {
            let credentials = match routed.source().serve(now.at()) {
                Ok(credentials) => credentials,
                Err(_) => Box::pin(routed.source().wait(core.clock())).await?,
            };
            routed.sign(&credentials, &now, core.keys(), access)?
        }
        stages::Routed::Unsigned(routed) => routed.pass()?,
    };
    signed.send(core, inbound, access).await
}
