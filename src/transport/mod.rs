//! Upstream transport: dials, pools and reuses connections, and sends requests. Each worker has a
//! separate pool. A request on an idle connection takes no lock: workers share only the records of
//! dials.

mod body_source;
mod connect_error;
mod connection;
mod destination;
mod dial;
mod dial_error;
mod filtered_body;
mod flight;
mod http_client;
mod io_timeout;
mod names;
mod outage;
mod pool;
mod pooled;
mod queue;
mod queue_wait;
mod race;
mod rate_bucket;
mod request_body;
mod retry;
mod settings;
mod share;
mod silence;
mod stats;
mod throttle;
mod tls;
mod trust_store_entry;
mod upstream_io;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::OptionFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Sleep;
use tracing::warn;

pub(crate) use body_source::BodySource;
pub(crate) use connect_error::{CertificateFault, ConnectFailure, DialPhase};
pub(crate) use destination::{LoopbackPolicy, UpstreamDestination, UpstreamTls};
pub(crate) use dial::UpstreamReachability;
pub(crate) use dial_error::DialError;
pub(crate) use filtered_body::{BodyFilter, FilteredBody};
pub(crate) use http_client::{
    HttpClient, HttpClientError, HttpRequest, HttpResponse, HttpTimeouts, InvalidUrl, Url,
};
pub(crate) use io_timeout::is_write_timeout;
pub(crate) use io_timeout::{IdleTimeout, WriteTimeout};
pub(crate) use names::{AddressBook, DialName};
pub(crate) use pooled::PooledConnection;
pub(crate) use rate_bucket::RateBucket;
pub(crate) use request_body::{ByteObserver, EofSemantics, RequestBody};
pub(crate) use retry::RetryableRequest;
pub(crate) use settings::HEADER_LINES_MAX;
pub use settings::TransportSettings;
pub(crate) use stats::{PoolStats, PoolStatsSnapshot};
pub(crate) use throttle::BodyThrottle;
pub use tls::InvalidRoots;
pub use tls::TrustStore;
pub(crate) use tls::{ClientKeyPair, InvalidKeyPair, revocation_lists, roots};
pub(crate) use trust_store_entry::TrustStoreEntry;
pub(crate) use trust_store_entry::TrustStoreId;

use connection::UpstreamConnection;
use dial::DialContext;
use pool::{CheckoutGrant, ConnectionPool, DestinationState, DialPermit, UsePermit};
use queue_wait::QueueWait;
use request_body::{BodyFault, BodyState};
use retry::FailedAttempt;
use silence::{DestinationSilence, SilenceTrial};

/// The head of a response, with what its reader needs.
pub(crate) struct UpstreamExchange {
    /// The response.
    pub(crate) response: Response<Incoming>,
    /// The connection. The caller must call [`PooledConnection::finish`] after reading the body.
    /// Dropping it earlier closes the connection.
    pub(crate) connection: PooledConnection,
    /// A copy of the request for a retry.
    pub(crate) request: RetryableRequest,
}

/// A connection for one request, with its permit.
struct ConnectionCheckout {
    connection: UpstreamConnection,
    permit: UsePermit,
    /// Set if other requests have used the connection before.
    is_reused: bool,
}

/// The timeout for the head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseTimeout {
    /// `first_byte` of the settings.
    Usual,
    /// At least five minutes: OSS processes the whole object before it responds.
    WholeObject,
}

/// The reason why a request got no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// No connection could be made, by this request or by one just before it.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection ended before the response.
    #[error("the connection to the upstream ended before the response: {0}")]
    Reset(#[source] hyper::Error),
    /// The response is not valid HTTP.
    #[error("invalid response from the upstream: {0}")]
    Invalid(#[source] hyper::Error),
    /// The body of the request ended early: the client has disconnected. Nothing was completed
    /// upstream.
    #[error("the client ended the request early: {0}")]
    Client(#[source] hyper::Error),
    /// The body of the request exceeded its limit, in bytes. Nothing was completed upstream.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(u64),
    /// The client stopped sending in the middle of the body. Nothing was completed upstream.
    #[error("the client sent no part of the request body for {0:?}")]
    ClientStalled(Duration),
    /// The upstream did not respond in time, or stopped accepting the body.
    #[error("the upstream made no progress for {0:?}")]
    Stalled(Duration),
    /// All connections that the destination may have were in use, and none became free in time.
    #[error("all connections to {at} are in use, and none became free within {waited:?}")]
    Busy {
        /// Host and port.
        at: String,
        /// The time spent in the queue.
        waited: Duration,
    },
    /// Many requests are waiting for the destination, and it has not responded to any of them for a
    /// while.
    #[error("{at} has not responded to any of {waiting} requests for {lasting:?}")]
    Silent {
        /// Host and port.
        at: String,
        /// The number of requests that wait for a response.
        waiting: usize,
        /// The time without a response.
        lasting: Duration,
    },
}

/// The upstream connections of one worker.
pub struct UpstreamTransport {
    settings: TransportSettings,
    trust_stores: Vec<TrustStoreEntry>,
    reachability: Arc<UpstreamReachability>,
    names: AddressBook,
    pool: Rc<ConnectionPool>,
    stats: Arc<PoolStats>,
}

impl UpstreamTransport {
    /// Creates a transport without connections. It must be used where `spawn_local` works, because
    /// it spawns the drivers of the connections as local tasks.
    #[must_use]
    pub fn new(
        settings: TransportSettings,
        trust_stores: Vec<TrustStoreEntry>,
        reachability: Arc<UpstreamReachability>,
    ) -> Self {
        let stats = Arc::<PoolStats>::default();
        let pool = Rc::new(ConnectionPool::new(&settings, Arc::clone(&stats)));
        Self { settings, trust_stores, reachability, names: AddressBook::default(), pool, stats }
    }

    /// Returns the counters of its connections.
    #[must_use]
    pub(crate) fn stats(&self) -> Arc<PoolStats> {
        Arc::clone(&self.stats)
    }

    /// Returns a transport with new settings for future requests. It keeps the pooled connections
    /// and the recorded addresses and outages.
    #[must_use]
    pub(crate) fn renewed(
        &self,
        settings: TransportSettings,
        trust_stores: Vec<TrustStoreEntry>,
        reachability: Arc<UpstreamReachability>,
    ) -> Self {
        let pool = Rc::clone(&self.pool);
        pool.renew(&settings);
        Self {
            settings,
            trust_stores,
            reachability,
            names: self.names.clone(),
            pool,
            stats: Arc::clone(&self.stats),
        }
    }

    /// Returns the longest time without progress in the middle of a response.
    #[must_use]
    pub(crate) fn stall(&self) -> Duration {
        self.settings.stall
    }

    /// Returns the longest time that a request waits in a queue.
    #[must_use]
    pub(crate) fn queue(&self) -> Duration {
        self.settings.queue
    }

    /// Closes connections that were idle for longer than the idle timeout.
    pub(crate) fn sweep(&self) {
        self.pool.sweep(Instant::now());
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// A request may fail on a reused connection because the upstream closed it before the request
    /// arrived. It is then retried once on a fresh connection, if a retry is safe: see
    /// [`RetryableRequest`].
    ///
    /// # Errors
    /// [`SendError`] if there is no response.
    pub(crate) async fn send(
        &self,
        to: &Rc<UpstreamDestination>,
        mut request: Request<RequestBody>,
        response_timeout: ResponseTimeout,
    ) -> Result<UpstreamExchange, SendError> {
        let state = self.pool.destination(to);
        let mut checkout = self.check_out(&state, false).await?;
        request.body_mut().limit(self.settings.stall);
        let body = request.body().slot();
        let retryable = RetryableRequest::new(&request);
        loop {
            let ConnectionCheckout { connection, mut permit, is_reused } = checkout;
            let address = connection.address;
            // OSS may take minutes for a whole object, which does not count as silence.
            if response_timeout == ResponseTimeout::Usual {
                permit.await_response(Rc::clone(&body));
            }
            let superseded = permit.trial().map(SilenceTrial::superseded);
            let lost = match self.exchange(connection, request, response_timeout, superseded).await {
                Ok((response, connection)) => {
                    permit.note_response();
                    let connection = PooledConnection::new(connection, permit);
                    return Ok(UpstreamExchange { response, connection, request: retryable });
                }
                // guard: lost-is-retried
                Err(lost) if is_reused => match retryable.retry_after(lost, self.settings.stall) {
                    Ok(again) => {
                        self.stats.repeated();
                        request = again;
                        // A request that waits for a dial holds no permit that others need.
                        drop(permit);
                        checkout = self.check_out(&state, true).await?;
                        continue;
                    }
                    Err(lost) => lost,
                },
                Err(lost) => lost,
            };
            return Err(match lost.why {
                Ok(error) => self.broken(error, &body),
                Err(limit) => {
                    self.names.doubt(&to.dial, address);
                    self.pool.close_idle(&state, |connection| connection.address == address);
                    SendError::Stalled(limit)
                }
            });
        }
    }

    /// Checks out a connection. A `fresh` one was never used before.
    ///
    /// A connection that was idle for long may have been closed by the upstream. Its driver gets a
    /// chance to notice.
    async fn check_out(
        &self,
        state: &Rc<DestinationState>,
        fresh: bool,
    ) -> Result<ConnectionCheckout, SendError> {
        loop {
            let grant = match self.pool.check_out(state, fresh) {
                Some(grant) => grant,
                None => Box::pin(self.wait(state, fresh)).await?,
            };
            match grant {
                CheckoutGrant::Reuse(permit, idle, idle_for) => {
                    if idle_for > NOTICE_AFTER {
                        tokio::task::yield_now().await;
                    }
                    if idle.connection.sender.is_ready() {
                        self.stats.reused();
                        let connection = idle.connection;
                        return Ok(ConnectionCheckout { connection, permit, is_reused: true });
                    }
                }
                CheckoutGrant::Dial(permit, dial) => {
                    let connection = self.dial(state.to(), dial).await?;
                    return Ok(ConnectionCheckout { connection, permit, is_reused: false });
                }
                CheckoutGrant::Reject(error) => return Err(error.into()),
                CheckoutGrant::Silent(DestinationSilence { waiting, lasting }) => {
                    let error = SendError::Silent { at: state.to().at(), waiting, lasting };
                    return Err(Self::logged(error, state));
                }
            }
        }
    }

    /// Waits in the queue of the destination, at most for the `queue` timeout.
    async fn wait(&self, state: &Rc<DestinationState>, fresh: bool) -> Result<CheckoutGrant, SendError> {
        let waited = self.settings.queue;
        let granted = tokio::time::timeout(waited, QueueWait::new(&self.pool, state, fresh)).await;
        granted.map_err(|_| Self::logged(SendError::Busy { at: state.to().at(), waited }, state))
    }

    /// Logs the reason for rejected requests, at most once per interval and destination.
    fn logged(error: SendError, state: &DestinationState) -> SendError {
        if state.should_log_busy(Instant::now()) {
            warn!(upstream = state.to().at(), %error, "rejecting requests");
        }
        error
    }

    /// Sends a request on this connection and waits for the head of the response. The request is
    /// passed to hyper before the future is returned, because a future that held the request would
    /// copy it.
    fn exchange(
        &self,
        mut connection: UpstreamConnection,
        request: Request<RequestBody>,
        response_timeout: ResponseTimeout,
        superseded: Option<impl Future<Output = ()>>,
    ) -> impl Future<Output = Result<(Response<Incoming>, UpstreamConnection), Box<FailedAttempt>>> {
        let limit = match response_timeout {
            ResponseTimeout::Usual => self.settings.first_byte,
            ResponseTimeout::WholeObject => self.settings.first_byte.max(WHOLE_OBJECT),
        };
        let body = request.body().slot();
        let before = connection.wire.bytes_read();
        body.begin();
        let answered = connection.sender.try_send_request(request);
        let is_trial = superseded.is_some();
        async move {
            let answered = tokio::select! {
                biased;
                answered = answered => answered,
                // guard: upstream-never-answers
                () = silent(&body, limit, connection.timer.as_mut()) => {
                    return Err(Box::new(FailedAttempt { why: Err(limit), unsent: None, answer_begun: false }));
                }
                () = OptionFuture::from(superseded).map(drop), if is_trial => {
                    let waited = body.started_at().elapsed();
                    return Err(Box::new(FailedAttempt { why: Err(waited), unsent: None, answer_begun: false }));
                }
            };
            match answered {
                Ok(response) => Ok((response, connection)),
                Err(mut failed) => {
                    let unsent = failed.take_message();
                    let answer_begun = connection.wire.bytes_read() != before;
                    Err(Box::new(FailedAttempt { why: Ok(failed.into_error()), unsent, answer_begun }))
                }
            }
        }
    }

    /// Dials a new connection. The future is boxed because it is large, and most requests reuse a
    /// connection.
    fn dial<'a>(
        &'a self,
        to: &'a UpstreamDestination,
        permit: DialPermit,
    ) -> Pin<Box<dyn Future<Output = Result<UpstreamConnection, DialError>> + 'a>> {
        Box::pin(async move {
            let counted = self.stats.dials();
            let means = DialContext {
                trust_stores: &self.trust_stores,
                settings: &self.settings,
                reachability: &self.reachability,
                names: &self.names,
            };
            let dialled = dial::dial(to, means).await;
            counted.finish(&dialled);
            self.reachability.record_dial(to, dialled.as_ref().err());
            permit.finish(&dialled);
            dialled
        })
    }

    /// Classifies the error of a request that got no response.
    fn broken(&self, error: hyper::Error, body: &BodyState) -> SendError {
        if let Some(fault) = body.fault() {
            match fault {
                BodyFault::Stalled => SendError::ClientStalled(self.settings.stall),
                BodyFault::TooLarge(limit) => SendError::TooLarge(limit),
            }
        } else if error.is_user() {
            SendError::Client(error)
        } else if error.is_parse() {
            SendError::Invalid(error)
        } else if is_write_timeout(&error) {
            SendError::Stalled(self.settings.stall)
        } else {
            SendError::Reset(error)
        }
    }
}

/// Resolves when the upstream has sent nothing for `limit` while no request bytes were outstanding.
async fn silent(body: &BodyState, limit: Duration, mut timer: Pin<&mut Sleep>) {
    let mut since = body.moved();
    loop {
        // The deadline is left over from the previous request. It usually fires too early and is
        // corrected then: resetting it for each request costs more.
        if timer.deadline() > since + limit {
            timer.as_mut().reset(since + limit);
        }
        timer.as_mut().await;
        if timer.deadline() < since + limit {
            timer.as_mut().reset(since + limit);
        } else if body.is_awaited() {
            since = tokio::time::Instant::now();
        } else if body.moved() > since {
            since = body.moved();
        } else {
            return;
        }
    }
}

/// The idle time after which a connection is checked before reuse.
const NOTICE_AFTER: Duration = Duration::from_secs(1);
/// The least timeout for responses that require OSS to process the whole object.
const WHOLE_OBJECT: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
