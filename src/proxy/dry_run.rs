//! The walk without its end: what would become of a request, found by the very steps that serve one. Nothing is sent. What
//! each step found is noted before the next consumes it, so that a refusal leaves what was known before.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};

use super::error::ProxyError;
use super::request::InboundRequest;
use super::stages::RoutedRequest;
use super::state::{ListenerRules, WorkerCore};
use crate::address::{ResolvedEndpoint, UpstreamId};
use crate::credentials::{CredentialSource, Credentials};
use crate::oss::{Bucket, Key, Operation};
use crate::policy::PolicyDecision;
use crate::sign::{SignatureVersion, SigningTexts, SigningTime};
use crate::telemetry::{AccessLogEvent, AccessLogging};

/// What the steps found; what is absent was not reached.
#[derive(Default)]
pub struct DryRunReport {
    /// What it asks for.
    pub operation: Option<Operation>,
    /// The bucket.
    pub bucket: Option<Bucket>,
    /// The key.
    pub key: Option<Key>,
    /// Who asks.
    pub caller: Option<&'static str>,
    /// What policy says.
    pub verdict: Option<PolicyDecision>,
    /// Where it goes.
    pub route: Option<DryRunRoute>,
    /// Who signs.
    pub source: Option<Arc<CredentialSource>>,
    /// With what.
    pub credentials: Option<Arc<Credentials>>,
    /// What would be sent.
    pub outbound: Option<OutboundHead>,
    /// Why it is refused.
    pub refused: Option<RejectionReason>,
}

/// Where a request goes.
pub struct DryRunRoute {
    /// The upstream.
    pub upstream: UpstreamId,
    /// How it gets there.
    pub way: ResolvedEndpoint,
    /// The signature, if one is made.
    pub signature: Option<SignatureVersion>,
}

/// A head as it would be sent. The headers that hold secrets are marked as sensitive.
pub struct OutboundHead {
    /// Without the line break.
    pub request_line: String,
    /// In the order in which they are sent.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What was signed, if anything was.
    pub signed: Option<SigningTexts>,
}

/// Why a request is refused, as its client would be told.
pub struct RejectionReason {
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
pub fn explain(
    core: &WorkerCore,
    gate: (&ListenerRules, Option<SocketAddr>),
    head: Parts,
    now: &SigningTime,
) -> DryRunReport {
    let mut explained = DryRunReport::default();
    match walk(core, gate, (head, now), &mut explained) {
        Ok(outbound) => explained.outbound = Some(outbound),
        Err(refusal) => {
            let (status, code, message) = refusal.to_plain();
            explained.refused = Some(RejectionReason { status, code, message });
        }
    }
    explained
}

fn walk(
    core: &WorkerCore,
    gate: (&ListenerRules, Option<SocketAddr>),
    (head, now): (Parts, &SigningTime),
    explained: &mut DryRunReport,
) -> Result<OutboundHead, ProxyError> {
    let in_flight = Rc::new(());
    let mut access = AccessLogEvent::begin(AccessLogging::No, core.admit(), Rc::clone(&in_flight));
    let mut inbound = InboundRequest::from_head(head, in_flight);

    let located = inbound.locate(gate, core.state())?.record(&mut access);
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
        RoutedRequest::ToSign(routed) => Some(routed.signature()),
        RoutedRequest::Unsigned(_) => None,
    };
    explained.route = Some(DryRunRoute { upstream, way: routed.way().clone(), signature });
    let signed = match routed {
        RoutedRequest::ToSign(routed) => {
            let source = core.state().upstream(upstream).and_then(|upstream| upstream.source.as_ref());
            explained.source = source.map(Arc::clone);
            let credentials = routed.source().get(core.clock().now())?;
            explained.credentials = Some(Arc::clone(&credentials));
            routed.sign(&credentials, now, core.keys(), &mut access)?
        }
        RoutedRequest::Unsigned(routed) => routed.pass()?,
    };

    let (method, target, headers) = signed.head();
    let mut headers = headers.clone();
    inbound.frame(&mut headers);
    Ok(OutboundHead {
        request_line: format!("{method} {target} HTTP/1.1"),
        headers: headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        signed: signed.texts(now, core.keys())?,
    })
}
