//! What requests share: the state of the process, and what each core keeps for itself.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::endpoint_cache::EndpointCache;
use super::plain_error::TokenSearches;
use super::signing_key_cache::SigningKeyCache;
use crate::address::{RoutingTable, UpstreamId};
use crate::credentials::CredentialSource;
use crate::policy::AccessPolicy;
use crate::sign::{SignatureVersion, SigningTime};
use crate::telemetry::{AccessLogging, MetricsHandle, ProcessCounters};
use crate::time::{Clock, Timestamp};
use crate::transport::{TrustStoreId, UpstreamTransport};

/// What all cores share; another configuration has another.
pub struct ProxyState {
    /// Where requests go.
    pub directory: RoutingTable,
    /// How they are signed there, by [`UpstreamId`].
    pub upstreams: Vec<UpstreamSigning>,
    /// Whether each request gets a line in the log.
    pub access_log: AccessLogging,
    /// How much is taken.
    pub limits: RequestLimits,
    /// What is counted, whatever the configuration.
    pub counters: Arc<ProcessCounters>,
}

/// How much is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Requests in flight, for each core.
    pub requests: usize,
    /// Bytes of the head of a request, as HTTP/1.1 writes it.
    pub head: usize,
    /// Bytes of the body of a request.
    pub body: u64,
}

/// How requests for an upstream are signed and whom TLS trusts there.
pub struct UpstreamSigning {
    /// The signature.
    pub signature: SignatureVersion,
    /// Who signs; `None` if nobody does.
    pub source: Option<Arc<CredentialSource>>,
    /// Who vouches for the upstream.
    pub trust: TrustStoreId,
}

/// What a listener lets in.
#[derive(Clone, Debug)]
pub struct ListenerRules {
    /// Names under which buckets are addressed as `BUCKET.<domain>`.
    pub domains: Vec<String>,
    /// What it allows.
    pub policy: AccessPolicy,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Whether no name service can lead anybody here: any name that is nobody's then counts as an address.
    pub unnamed: bool,
}

/// What one core keeps for itself.
pub struct WorkerCore {
    state: Arc<ProxyState>,
    clock: Arc<dyn Clock>,
    transport: UpstreamTransport,
    keys: SigningKeyCache,
    token_searches: TokenSearches,
    ways: EndpointCache,
    moment: RefCell<Rc<SigningTime>>,
    /// How far the clock of OSS is ahead of ours, in seconds, once it has refused ours.
    ahead_s: Cell<i64>,
    /// Each request in flight holds a clone.
    requests: Rc<MetricsHandle>,
}

impl ProxyState {
    /// How requests for this upstream are signed. `None` only for ids of another state.
    #[must_use]
    pub fn upstream(&self, id: UpstreamId) -> Option<&UpstreamSigning> {
        self.upstreams.get(id.0)
    }
}

impl WorkerCore {
    /// A core that has served nothing yet.
    #[must_use]
    pub fn new(state: Arc<ProxyState>, clock: Arc<dyn Clock>, transport: UpstreamTransport) -> Self {
        let moment = RefCell::new(Rc::new(SigningTime::new(clock.now())));
        let requests = Rc::new(state.counters.meter());
        Self::with(state, clock, transport, (moment, requests))
    }

    fn with(
        state: Arc<ProxyState>,
        clock: Arc<dyn Clock>,
        transport: UpstreamTransport,
        (moment, requests): (RefCell<Rc<SigningTime>>, Rc<MetricsHandle>),
    ) -> Self {
        Self {
            state,
            clock,
            transport,
            keys: SigningKeyCache::default(),
            token_searches: TokenSearches::default(),
            ways: EndpointCache::default(),
            moment,
            ahead_s: Cell::default(),
            requests,
        }
    }

    /// The core under another state, for the requests to come. `renew` makes its transport from the one before.
    #[must_use]
    pub fn renewed(
        &self,
        state: Arc<ProxyState>,
        renew: impl FnOnce(&UpstreamTransport) -> UpstreamTransport,
    ) -> Self {
        let (clock, transport) = (Arc::clone(&self.clock), renew(&self.transport));
        let shared = (self.moment.clone(), Rc::clone(&self.requests));
        Self { ahead_s: self.ahead_s.clone(), ..Self::with(state, clock, transport, shared) }
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// OSS has refused our clock, which its own is so far ahead of: from now on its own counts here.
    pub(super) fn correct_clock(&self, ahead_s: i64) {
        self.ahead_s.set(ahead_s);
    }

    /// The current time, written out once a second.
    pub(super) fn signing_time(&self) -> Rc<SigningTime> {
        let now = Timestamp::from_unix_s(self.clock.now().unix_s() + self.ahead_s.get());
        let mut moment = self.moment.borrow_mut();
        if moment.at() != now {
            *moment = Rc::new(SigningTime::new(now));
        }
        Rc::clone(&moment)
    }

    /// Counts a request for as long as what is returned lives.
    pub(super) fn admit(&self) -> Rc<MetricsHandle> {
        Rc::clone(&self.requests)
    }

    /// Nothing is served any more: what is in flight is told of as cut.
    pub fn cut(&self) {
        self.requests.cut();
    }

    /// Whether there are more requests in flight than there may be.
    pub(super) fn is_full(&self) -> bool {
        self.requests.in_flight() > self.state.limits.requests as u64
    }

    /// The state that all cores share.
    #[must_use]
    pub fn state(&self) -> &ProxyState {
        &self.state
    }

    /// The upstream connections of this core.
    #[must_use]
    pub fn transport(&self) -> &UpstreamTransport {
        &self.transport
    }

    /// What is counted.
    #[must_use]
    pub fn counters(&self) -> &ProcessCounters {
        &self.state.counters
    }

    /// The searches for tokens in errors.
    pub(super) fn token_searches(&self) -> &TokenSearches {
        &self.token_searches
    }

    pub(super) fn keys(&self) -> &SigningKeyCache {
        &self.keys
    }

    pub(super) fn ways(&self) -> &EndpointCache {
        &self.ways
    }

    pub(super) fn logged(&self) -> AccessLogging {
        self.state.access_log
    }
}
