//! Dry run: explains how a request would be served, using the same stages as the proxy. Nothing is
//! sent. Each result is recorded before the next stage consumes it, so a rejection keeps the
//! earlier results.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};

use super::error::ProxyError;
use super::request::InboundRequest;
use super::stages::{LocatedRequest, RoutedRequest};
use super::state::{ListenerRules, WorkerCore};
use crate::address::{ResolvedEndpoint, UpstreamId};
use crate::credentials::{CredentialSource, Credentials};
use crate::oss::{Bucket, Key, Operation};
use crate::policy::PolicyDecision;
use crate::sign::{SignatureVersion, SigningTexts, SigningTime};
use crate::telemetry::{AccessLogEvent, AccessLogging};

/// The results of a dry run. A field is `None` if its stage was not reached.
#[derive(Default)]
pub struct DryRunReport {
    /// The operation that the request selects.
    pub operation: Option<Operation>,
    /// The bucket, if the request names one.
    pub bucket: Option<Bucket>,
    /// The object key; empty if the request names none.
    pub key: Option<Key>,
    /// The name of the identified caller.
    pub caller: Option<&'static str>,
    /// The decision of the access policy.
    pub verdict: Option<PolicyDecision>,
    /// The destination of the request.
    pub route: Option<DryRunRoute>,
    /// The credential source that signs.
    pub source: Option<Arc<CredentialSource>>,
    /// The credentials used for signing.
    pub credentials: Option<Arc<Credentials>>,
    /// The head that would be sent to the upstream.
    pub outbound: Option<OutboundHead>,
    /// The error response, if the request is rejected.
    pub refused: Option<RejectionReason>,
}

/// The destination of a request.
pub struct DryRunRoute {
    /// The selected upstream.
    pub upstream: UpstreamId,
    /// The resolved endpoint of the upstream.
    pub way: ResolvedEndpoint,
    /// The signature version; `None` if the request is not signed.
    pub signature: Option<SignatureVersion>,
}

/// The head of an upstream request. Headers that hold secrets are marked as sensitive.
pub struct OutboundHead {
    /// The request line, without the line break.
    pub request_line: String,
    /// The headers, in the order in which they are sent.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The signed texts; `None` if the request is not signed.
    pub signed: Option<SigningTexts>,
}

/// The error response that the client would receive.
pub struct RejectionReason {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable error code of the proxy.
    pub code: &'static str,
    /// The error message.
    pub message: String,
}

/// Runs the stages up to the signature, which is made at `now`. Credentials must be valid by the
/// clock of `core`. Credential sources are not queried: the caller refreshes them first.
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

    let located = LocatedRequest::locate(&mut inbound, gate, core.state())?.record(&mut access);
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
