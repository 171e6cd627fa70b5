//! State shared by requests: that of the process, and that of each worker.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::caller_limiter::{CallerLimitError, CallerLimiter, CallerPermit};
use super::endpoint_cache::EndpointCache;
use super::plain_error::TokenSearches;
use super::signing_key_cache::SigningKeyCache;
use super::upstream_clocks::UpstreamClocks;
use crate::address::{RoutingTable, UpstreamId};
use crate::caller::{
    Caller, CallerDirectory, CallerLimits, CallerSettings, ConnectionPeer, DerivedKeys, IdentityContext,
    IdentityError, IdentityKinds, KeyHandOut, ListenerContent, SignatureClock, VerifiedTokens,
};
use crate::credentials::{CredentialServices, CredentialSource};
use crate::jwks::FetchedKeySets;
use crate::oss::SigningProduct;
use crate::policy::AccessPolicy;
use crate::sign::{SignatureVersion, SigningTime};
use crate::telemetry::{AccessLogging, AuditLog, CallerMetrics, MetricsHandle, ProcessCounters};
use crate::time::{Clock, Timestamp};
use crate::transport::{TrustStoreId, UpstreamTransport};

/// The state that all workers share. Each reload makes a new one.
pub struct ProxyState {
    /// The routing table.
    pub(crate) routing_table: RoutingTable,
    /// The signing settings of the upstreams, by [`UpstreamId`].
    pub(crate) upstreams: Vec<UpstreamSigning>,
    /// The callers.
    pub(crate) callers: ServedCallers,
    /// The credential sources whose keys listeners pass on, by name.
    pub(crate) passed_on: HashMap<String, Arc<CredentialSource>>,
    /// The access log setting: whether each request is logged.
    pub(crate) access_log: AccessLogging,
    /// The request limits.
    pub(crate) limits: RequestLimits,
    /// The audit log of the process, if there is one.
    pub(crate) audit: Option<Arc<AuditLog>>,
    /// The number of the configuration, which the audit log shows. A reload increases it.
    pub(crate) number: u64,
    /// The counters of the process, which outlive a configuration.
    pub counters: Arc<ProcessCounters>,
    /// The state of the services that credentials come from, which outlives a configuration.
    pub(crate) services: Arc<CredentialServices>,
}

/// The callers of a configuration, with their metrics and the state of their limits.
pub(crate) struct ServedCallers {
    /// The callers, by their identities.
    pub(super) directory: CallerDirectory,
    /// The keys of token issuers that are fetched.
    pub(crate) key_sets: FetchedKeySets,
    /// The metrics of each caller, by its index in the directory.
    metrics: Vec<Arc<CallerMetrics>>,
    /// The state of the limits of each caller, by its index in the directory; `None` without limits.
    limiters: Vec<Option<Arc<CallerLimiter>>>,
}

/// The settings of the callers of a configuration.
pub(crate) struct ServedCallerSettings<'a> {
    /// The callers; `None` if every client is served.
    pub(crate) callers: Option<&'a [Arc<CallerSettings>]>,
    /// The limits of callers that set none.
    pub(crate) limits: CallerLimits,
    /// The masters of keys that are handed out.
    pub(crate) hand_out: Option<Arc<KeyHandOut>>,
    /// The keys of token issuers that are fetched.
    pub(crate) key_sets: FetchedKeySets,
}

/// Limits on inbound requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestLimits {
    /// The limit on requests in flight, for each worker.
    pub(crate) requests: usize,
    /// The maximum size of a request head in bytes, in the form of HTTP/1.1.
    pub(crate) head: usize,
    /// The maximum size of a request body in bytes.
    pub(crate) body: u64,
}

/// The settings for signing requests to an upstream, and for verifying its certificate.
pub(crate) struct UpstreamSigning {
    /// The version of the signature.
    pub(crate) signature: SignatureVersion,
    /// `true` if requests name their caller in `User-Agent`.
    pub(crate) tell_upstream: bool,
    /// The credential source; `None` if requests are not signed.
    pub(crate) source: Option<Arc<CredentialSource>>,
    /// The sources of callers that have one, by the name of the caller.
    pub(crate) caller_sources: Arc<HashMap<String, Arc<CredentialSource>>>,
    /// The trust store that verifies the upstream.
    pub(crate) trust: TrustStoreId,
}

/// The rules of a listener.
#[derive(Clone, Debug)]
pub(crate) struct ListenerRules {
    /// Names under which buckets are addressed as `BUCKET.<domain>`.
    pub(crate) domains: Vec<String>,
    /// The kinds of identity that the listener accepts.
    pub(crate) identify: IdentityKinds,
    /// What the listener serves.
    pub(crate) content: ListenerContent,
    /// The access policy.
    pub(crate) policy: AccessPolicy,
    /// `true` if the listener uses TLS.
    pub(crate) tls: bool,
    /// `true` if the listener is unreachable via DNS (a Unix socket). Unknown `Host` values are
    /// then treated as an IP address.
    pub(crate) unnamed: bool,
}

/// The listener that accepted a connection.
#[derive(Clone, Debug)]
pub(crate) struct AcceptingListener {
    /// The rules of the listener.
    pub(crate) rules: Rc<ListenerRules>,
    /// The address that the client connected to, if there is one.
    pub(crate) address: Option<SocketAddr>,
    /// The peer of the connection.
    pub(crate) peer: Rc<ConnectionPeer>,
    /// The address of the client, if it has one. It may come from a load balancer.
    pub(crate) client: Option<IpAddr>,
}

/// The times of the signatures of a request.
#[derive(Clone, Copy)]
pub(super) enum SignatureTimes<'a> {
    /// The current time of the upstream.
    Current,
    /// The times of a dry run, which may sign for the past.
    Fixed {
        signed_at: &'a Rc<SigningTime>,
        /// The time at which the credentials must be valid.
        valid_at: Timestamp,
    },
}

/// The state of one worker.
pub struct WorkerCore {
    state: Arc<ProxyState>,
    clock: Arc<dyn Clock>,
    transport: UpstreamTransport,
    keys: SigningKeyCache,
    /// The derived keys with which the signatures of callers are verified.
    caller_keys: DerivedKeys,
    verified_tokens: VerifiedTokens,
    token_searches: TokenSearches,
    endpoint_cache: EndpointCache,
    clocks: UpstreamClocks,
    /// Each request in flight holds a clone.
    requests: Rc<MetricsHandle>,
}

impl ProxyState {
    /// Returns the signing settings of an upstream. `None` only for ids of another state.
    #[must_use]
    pub(crate) fn upstream(&self, id: UpstreamId) -> Option<&UpstreamSigning> {
        self.upstreams.get(id.0)
    }
}

impl UpstreamSigning {
    /// Returns the credential source for the requests of a caller.
    pub(super) fn source_for(&self, caller: Option<&Caller>) -> Option<&Arc<CredentialSource>> {
        let own = caller.and_then(|caller| self.caller_sources.get(&*caller.name));
        own.or(self.source.as_ref())
    }
}

impl ServedCallers {
    /// Creates the directory of the configured callers, and finds their metrics. The requests of a
    /// caller in `previous` with the same limits still count.
    #[must_use]
    pub(crate) fn new(
        settings: ServedCallerSettings<'_>,
        counters: &ProcessCounters,
        previous: Option<&Self>,
    ) -> Self {
        let ServedCallerSettings { callers, limits, hand_out, key_sets } = settings;
        let settings = callers.unwrap_or_default().iter().map(|caller| &**caller);
        let directory = CallerDirectory::from_settings(callers.is_some(), settings.clone());
        let directory = directory.handing_out(hand_out);
        let names: Vec<&Arc<str>> = directory.callers().iter().map(|caller| &caller.name).collect();
        let metrics = counters.configured_callers(&names);
        let previous = previous.into_iter().flat_map(|previous| previous.limiters.iter().flatten());
        let previous: HashMap<&str, _> = previous.map(|limiter| (limiter.caller(), limiter)).collect();
        let limiter = |(settings, name): (&CallerSettings, &Arc<str>)| {
            let limits = settings.limits.or(limits);
            let kept = previous.get(&**name).filter(|limiter| limiter.is_for(name, limits));
            let new = || Arc::new(CallerLimiter::new(Arc::clone(name), limits));
            (!limits.is_unlimited()).then(|| kept.map_or_else(new, |kept| Arc::clone(kept)))
        };
        let limiters = settings.zip(names).map(limiter).collect();
        Self { directory, key_sets, metrics, limiters }
    }

    /// Waits briefly for a fetch of the keys that a token of a client lacks. Returns `false` if the
    /// client was rejected for another reason.
    pub(super) async fn fetch_lacking_keys(&self, error: &IdentityError) -> bool {
        let IdentityError::Jwt(error) = error else { return false };
        let Some(issuer) = error.lacking_keys() else { return false };
        self.key_sets.refreshed(issuer).await;
        true
    }

    /// Begins a request of a caller, after waiting for at most `wait_max` for its limits. Returns
    /// `None` if it has none.
    pub(super) async fn begin(
        &self,
        caller: &Caller,
        wait_max: Duration,
    ) -> Result<Option<CallerPermit>, CallerLimitError> {
        let Some(limiter) = self.limiter(caller) else { return Ok(None) };
        match limiter.begin() {
            Some(permit) => Ok(Some(permit)),
            None => limiter.wait(wait_max, &self.metrics(caller)).await.map(Some),
        }
    }

    /// Returns the state of the limits of a caller of this configuration; `None` without limits.
    pub(super) fn limiter(&self, caller: &Caller) -> Option<&Arc<CallerLimiter>> {
        self.limiters[caller.index].as_ref()
    }

    /// Returns the metrics of a caller of this configuration.
    pub(super) fn metrics(&self, caller: &Caller) -> Arc<CallerMetrics> {
        Arc::clone(&self.metrics[caller.index])
    }
}

impl WorkerCore {
    /// Creates the state of a worker that has not served a request yet.
    #[must_use]
    pub fn new(state: Arc<ProxyState>, clock: Arc<dyn Clock>, transport: UpstreamTransport) -> Self {
        let clocks = UpstreamClocks::new(state.upstreams.len(), clock.now());
        let requests = Rc::new(state.counters.meter());
        Self {
            state,
            clock,
            transport,
            keys: SigningKeyCache::default(),
            caller_keys: DerivedKeys::default(),
            verified_tokens: VerifiedTokens::default(),
            token_searches: TokenSearches::default(),
            endpoint_cache: EndpointCache::default(),
            clocks,
            requests,
        }
    }

    /// Returns the worker with a reloaded state, for later requests. `renew` makes its transport
    /// from the current one.
    #[must_use]
    pub(crate) fn renewed(
        &self,
        state: Arc<ProxyState>,
        renew: impl FnOnce(&UpstreamTransport) -> UpstreamTransport,
    ) -> Self {
        let clocks = UpstreamClocks::new(state.upstreams.len(), self.clock.now());
        clocks.keep(&state.routing_table, &self.clocks, &self.state.routing_table);
        Self {
            state,
            clock: Arc::clone(&self.clock),
            transport: renew(&self.transport),
            keys: SigningKeyCache::default(),
            caller_keys: DerivedKeys::default(),
            verified_tokens: VerifiedTokens::default(),
            token_searches: TokenSearches::default(),
            endpoint_cache: EndpointCache::default(),
            clocks,
            requests: Rc::clone(&self.requests),
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Sets the offset of the clock of an upstream, after it has rejected the local time. Later
    /// requests to it are signed with the corrected time.
    pub(super) fn correct_clock(&self, upstream: UpstreamId, ahead_s: i64) {
        self.clocks.correct(upstream, ahead_s);
    }

    /// Returns the current time of an upstream.
    pub(super) fn time_of(&self, upstream: UpstreamId) -> Timestamp {
        self.clocks.time(upstream, self.clock.now())
    }

    /// Returns the current time of an upstream as its signatures contain it.
    pub(super) fn signing_time(&self, upstream: UpstreamId) -> Rc<SigningTime> {
        self.clocks.signing_time(upstream, self.clock.now())
    }

    /// Returns a handle to the metrics of this worker, for the access event of a request.
    pub(super) fn meter(&self) -> Rc<MetricsHandle> {
        Rc::clone(&self.requests)
    }

    /// Marks requests still in flight as cut off by shutdown.
    pub(crate) fn cut(&self) {
        self.requests.cut();
    }

    /// Returns whether more requests are in flight than the limit allows.
    pub(super) fn is_full(&self) -> bool {
        self.requests.in_flight() > self.state.limits.requests as u64
    }

    /// Returns the state that all workers share.
    #[must_use]
    pub(crate) fn state(&self) -> &ProxyState {
        &self.state
    }

    /// Returns the upstream transport of this worker.
    #[must_use]
    pub(crate) fn transport(&self) -> &UpstreamTransport {
        &self.transport
    }

    /// Returns the counters of the process.
    #[must_use]
    pub(crate) fn counters(&self) -> &ProcessCounters {
        &self.state.counters
    }

    /// Returns the cache of token searches.
    pub(super) fn token_searches(&self) -> &TokenSearches {
        &self.token_searches
    }

    pub(super) fn keys(&self) -> &SigningKeyCache {
        &self.keys
    }

    /// Returns the context in which a client of a listener is identified.
    pub(super) fn identity_context<'a>(
        &'a self,
        listener: &'a AcceptingListener,
        product: SigningProduct,
        signature_clock: &'a dyn SignatureClock,
    ) -> IdentityContext<'a> {
        IdentityContext {
            directory: &self.state.callers.directory,
            kinds: listener.rules.identify,
            peer: &listener.peer,
            product,
            keys: &self.caller_keys,
            verified_tokens: &self.verified_tokens,
            jwt_keys: &self.state.callers.key_sets,
            signature_clock,
            clock_now: self.clock.now(),
        }
    }

    pub(super) fn endpoint_cache(&self) -> &EndpointCache {
        &self.endpoint_cache
    }

    pub(super) fn logged(&self) -> AccessLogging {
        self.state.access_log
    }
}
