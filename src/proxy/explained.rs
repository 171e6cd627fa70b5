//! The walk without its end: what would become of a request, found by the very steps that serve one. Nothing is sent. What
//! each step found is noted before the next consumes it, so that a refusal leaves what was known before.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};

use super::refusal::Refusal;
use super::request::Inbound;
use super::stages::Routed;
use super::state::{Core, Gate};
use crate::address::{UpstreamId, Way};
use crate::credentials::{Credentials, Source};
use crate::oss::{Bucket, Key, Operation};
use crate::policy::Decision;
use crate::sign::{Moment, Signed, Version};
use crate::telemetry::{AccessLogEvent, AccessLogging};

/// What the steps found; what is absent was not reached.
#[derive(Default)]
pub struct Explained {
    /// What it asks for.
    pub operation: Option<Operation>,
    /// The bucket.
    pub bucket: Option<Bucket>,
    /// The key.
    pub key: Option<Key>,
    /// Who asks.
    pub caller: Option<&'static str>,
    /// What policy says.
    pub verdict: Option<Decision>,
    /// Where it goes.
    pub route: Option<Route>,
    /// Who signs.
    pub source: Option<Arc<Source>>,
    /// With what.
    pub credentials: Option<Arc<Credentials>>,
    /// What would be sent.
    pub outbound: Option<Outbound>,
    /// Why it is refused.
    pub refused: Option<Reason>,
}

/// Where a request goes.
pub struct Route {
    /// The upstream.
    pub upstream: UpstreamId,
    /// How it gets there.
    pub way: Way,
    /// The signature, if one is made.
    pub signature: Option<Version>,
}

/// A head as it would be sent. The headers that hold secrets are marked as sensitive.
pub struct Outbound {
    /// Without the line break.
    pub request_line: String,
    /// In the order in which they are sent.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What was signed, if anything was.
    pub signed: Option<Signed>,
}

/// Why a request is refused, as its client would be told.
pub struct Reason {
    /// The status of the answer.
    pub status: StatusCode,
    /// Our stable code.
    pub code: &'static str,
    /// The sentence.
    pub message: String,
}

/// Takes the steps of the walk up to the signature, which is made at `now`; credentials count that are good by the clock of the
/// core. Sources are not asked: who wants credentials has asked them before.
#[must_use]
pub fn explain(core: &Core, gate: (&Gate, Option<SocketAddr>), head: Parts, now: &Moment) -> Explained {
    let mut explained = Explained::default();
    match walk(core, gate, (head, now), &mut explained) {
        Ok(outbound) => explained.outbound = Some(outbound),
        Err(refusal) => {
            let (status, code, message) = refusal.told_plainly();
            explained.refused = Some(Reason { status, code, message });
        }
    }
    explained
}

fn walk(
    core: &Core,
    gate: (&Gate, Option<SocketAddr>),
    (head, now): (Parts, &Moment),
    explained: &mut Explained,
) -> Result<Outbound, Refusal> {
    let in_flight = Rc::new(());
    let mut access = AccessLogEvent::begin(AccessLogging::No, core.admit(), Rc::clone(&in_flight));
    let mut inbound = Inbound::imagined(head, in_flight);

    let located = inbound.locate(gate, core.state())?.note(&mut access);
    let object = located.object();
    let upstream = object.upstream;
    explained.operation = Some(object.operation);
    explained.bucket.clone_from(&object.bucket);
    explained.key = Some(object.key.clone());
    let identified = located.identify(&mut access);
    explained.caller = Some(identified.caller().name());
    let admitted = identified.admit(&gate.0.policy, &core.state().directory)?;
    explained.verdict = Some(admitted.decision());
    let routed = admitted.route(core)?;
    let signature = match &routed {
        Routed::ToSign(routed) => Some(routed.signature()),
        Routed::Unsigned(_) => None,
    };
    explained.route = Some(Route { upstream, way: routed.way().clone(), signature });
    let signed = match routed {
        Routed::ToSign(routed) => {
            let source = core.state().upstream(upstream).and_then(|upstream| upstream.source.as_ref());
            explained.source = source.map(Arc::clone);
            let credentials = routed.source().get(core.clock().now())?;
            explained.credentials = Some(Arc::clone(&credentials));
            routed.sign(&credentials, now, core.keys(), &mut access)?
        }
        Routed::Unsigned(routed) => routed.pass()?,
    };

    let (method, target, headers) = signed.head();
    let mut headers = headers.clone();
    inbound.frame(&mut headers);
    Ok(Outbound {
        request_line: format!("{method} {target} HTTP/1.1"),
        headers: headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        signed: signed.texts(now, core.keys())?,
    })
}
