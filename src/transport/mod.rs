//! Bytes out: connections to upstreams, kept for reuse by the core that made them. No request on an idle connection takes a
//! lock: cores share only what dials note down.

mod connect_error;
mod dial;
mod flight;
mod http_client;
mod io_timeout;
mod names;
mod outage;
mod pool;
mod pooled;
mod queue;
mod race;
mod request_body;
mod retry;
mod share;
mod silence;
mod stats;
mod tls;
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

pub use connect_error::{CertificateFault, ConnectFailure, DialPhase};
pub use dial::{LoopbackPolicy, UpstreamReachability};
pub use http_client::{
    HttpClient, HttpClientError, HttpRequest, HttpResponse, HttpTimeouts, InvalidUrl, Url,
};
pub use io_timeout::{IdleTimeout, WriteTimeout};
pub use pooled::PooledConnection;
pub use request_body::{ByteObserver, EofSemantics, RequestBody, RequestBodyError};
pub use retry::RetryableRequest;
pub use stats::{PoolStats, PoolStatsSnapshot};
pub use tls::{InvalidRoots, TrustStore, revocation_lists, roots};

use dial::DialContext;
use names::AddressBook;
use pool::{CheckoutGrant, ConnectionPool, DestinationState, DialPermit, UsePermit};
use pooled::UpstreamConnection;
use request_body::{BodyFault, BodyState};
use retry::FailedAttempt;
use silence::{DestinationSilence, SilenceTrial};

/// Where a request is sent. Two requests share connections if theirs are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamDestination {
    /// What is dialled: host and port.
    pub dial: (String, u16),
    /// TLS, with the name that the certificate must have and the roots that must vouch for it.
    pub tls: Option<(String, TrustStoreId)>,
    /// Whether the dialled name must not lead back to this machine.
    pub guard: LoopbackPolicy,
}

/// The number of one of the trusts that a [`UpstreamTransport`] was given. Connections are known by it: a later transport for the same
/// ones has the same trust under it, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrustStoreId(pub usize);

/// Settings of all upstream connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportSettings {
    /// How long a dial may take, its TLS handshake included.
    pub connect: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
    /// How long the head of an answer may take, counted from the last byte of the request.
    pub first_byte: Duration,
    /// How long either side may stand still in the middle of a body.
    pub stall: Duration,
    /// The connections that one destination may have in use at once, on this core. All together may have four times as many.
    pub connections: usize,
    /// The dials to one destination that may be in progress at once, on this core. All together may have four times as many.
    pub dials: usize,
    /// How long a request waits in the queue of its destination.
    pub queue: Duration,
}

#[cfg(test)]
impl TransportSettings {
    /// These limits of connections and dials, and times that no test takes.
    fn patient(connections: usize, dials: usize) -> Self {
        let long = Duration::from_secs(20);
        Self { connect: long, idle: long, first_byte: long, stall: long, connections, dials, queue: long }
    }
}

/// How long an answer may be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseTimeout {
    /// As the settings say.
    Usual,
    /// At least five minutes: OSS works on the whole object before it answers.
    WholeObject,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection could be made, now or a moment ago.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection ended before an answer.
    #[error("the connection to the upstream ended before its answer: {0}")]
    Reset(#[source] hyper::Error),
    /// The answer is no HTTP.
    #[error("the answer of the upstream cannot be read: {0}")]
    Invalid(#[source] hyper::Error),
    /// The body of the request ended early: the client is gone, nothing was completed upstream.
    #[error("the client ended its request early: {0}")]
    Client(#[source] hyper::Error),
    /// The body of the request grew beyond its limit, in bytes; nothing was completed upstream.
    #[error("the body of the request is larger than {0} bytes")]
    TooLarge(u64),
    /// The client stopped sending in the middle of the body; nothing was completed upstream.
    #[error("the client has sent nothing of its body for {0:?}")]
    ClientStalled(Duration),
    /// The upstream did not answer in time, or stopped taking the body.
    #[error("the upstream has done nothing for {0:?}")]
    Stalled(Duration),
    /// The destination had as many connections in use as it may have, and none came free in time.
    #[error("all connections to {at} are in use, and none came free within {waited:?}")]
    Busy {
        /// Host and port.
        at: String,
        /// The time in the queue.
        waited: Duration,
    },
    /// Many requests wait for the destination, and it has answered none of them for a while.
    #[error("{at} has answered none of {waiting} requests for {lasting:?}")]
    Silent {
        /// Host and port.
        at: String,
        /// The requests.
        waiting: usize,
        /// The time.
        lasting: Duration,
    },
}

/// The reason why no connection to a destination can be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DialError {
    /// No address of it can be connected to.
    #[error("cannot connect to {at}: {reason}")]
    Unreachable {
        /// Host and port.
        at: String,
        /// What the system or TLS reported.
        reason: String,
        /// The same, for programs.
        obstacle: ConnectFailure,
    },
    /// The name leads back to this machine.
    #[error(
        "{name} resolves to {address}, which is this machine: the request would come back here; set `connect` of the upstream to the real address, or correct the name service"
    )]
    Loop {
        /// The dialled name.
        name: String,
        /// Its address.
        address: std::net::SocketAddr,
    },
}

impl UpstreamDestination {
    /// Host and port, for the log.
    fn at(&self) -> String {
        format!("{}:{}", self.dial.0, self.dial.1)
    }
}

/// The upstream connections of one core.
pub struct UpstreamTransport {
    settings: TransportSettings,
    trusts: Vec<(TrustStoreId, TrustStore)>,
    reachability: Arc<UpstreamReachability>,
    names: AddressBook,
    pool: Rc<ConnectionPool>,
    tally: Arc<PoolStats>,
}

impl UpstreamTransport {
    /// A transport without connections. Must be used where tasks stay on their thread: there it spawns the
    /// connections' drivers.
    #[must_use]
    pub fn new(
        settings: TransportSettings,
        trusts: Vec<(TrustStoreId, TrustStore)>,
        reachability: Arc<UpstreamReachability>,
    ) -> Self {
        let tally = Arc::<PoolStats>::default();
        let pool = Rc::new(ConnectionPool::new(&settings, Arc::clone(&tally)));
        Self { settings, trusts, reachability, names: AddressBook::default(), pool, tally }
    }

    /// What is counted of its connections.
    #[must_use]
    pub fn tally(&self) -> Arc<PoolStats> {
        Arc::clone(&self.tally)
    }

    /// One with other settings, for the requests to come. Connections that are kept go on being used, and what is known of
    /// addresses and outages stays.
    #[must_use]
    pub fn renewed(
        &self,
        settings: TransportSettings,
        trusts: Vec<(TrustStoreId, TrustStore)>,
        reachability: Arc<UpstreamReachability>,
    ) -> Self {
        let pool = Rc::clone(&self.pool);
        pool.renew(&settings);
        Self {
            settings,
            trusts,
            reachability,
            names: self.names.clone(),
            pool,
            tally: Arc::clone(&self.tally),
        }
    }

    /// How long an upstream may stand still in the middle of an answer.
    #[must_use]
    pub fn stall(&self) -> Duration {
        self.settings.stall
    }

    /// Drops connections that nobody used for the idle time.
    pub fn sweep(&self) {
        self.pool.sweep(Instant::now());
    }

    /// Sends a request and waits for the head of its answer, which comes with what is needed to send it again. The lease is to be
    /// finished with the answer's body; dropped before, it closes the connection.
    ///
    /// A request that was lost with a kept connection, which the other side may have closed before it came, is sent once more
    /// on a fresh one if that cannot do harm: see [`RetryableRequest`].
    ///
    /// # Errors
    /// [`SendError`] says why there is no answer.
    pub async fn send(
        &self,
        to: &Rc<UpstreamDestination>,
        mut request: Request<RequestBody>,
        patience: ResponseTimeout,
    ) -> Result<(Response<Incoming>, PooledConnection, RetryableRequest), SendError> {
        let state = self.pool.destination(to);
        let (mut connection, mut permit, mut is_kept) = self.check_out(&state, false).await?;
        request.body_mut().limit(self.settings.stall);
        let body = request.body().slot();
        let spare = RetryableRequest::of(&request);
        let answered = loop {
            let address = connection.address;
            // OSS may take minutes for a whole object, and is not silent then.
            if patience == ResponseTimeout::Usual {
                permit.await_response(Rc::clone(&body));
            }
            let superseded = permit.trial().map(SilenceTrial::superseded);
            match self.exchange(connection, request, patience, superseded).await {
                // guard: lost-is-retried
                Err(lost) if is_kept => match spare.retry_after(lost, self.settings.stall) {
                    Ok(again) => {
                        self.tally.repeated();
                        request = again;
                        // While it waits for a dial it holds nothing that others need.
                        drop(permit);
                        (connection, permit, is_kept) = self.check_out(&state, true).await?;
                    }
                    Err(lost) => break Err((lost, address)),
                },
                answered => break answered.map_err(|lost| (lost, address)),
            }
        };
        match answered {
            Ok((response, connection)) => {
                permit.note_response();
                Ok((response, PooledConnection::new(connection, permit), spare))
            }
            Err((lost, address)) => Err(match lost.why {
                Ok(error) => self.broken(error, &body),
                Err(limit) => {
                    self.names.doubt(&to.dial, address);
                    self.pool.close_idle(&state, |connection| connection.address == address);
                    SendError::Stalled(limit)
                }
            }),
        }
    }

    /// Gets a connection, with the permit to use it and whether it was used before. A `fresh` one never was.
    ///
    /// A connection that was idle for long may have been closed by the other side: its driver gets a chance to notice.
    async fn check_out(
        &self,
        state: &Rc<DestinationState>,
        fresh: bool,
    ) -> Result<(UpstreamConnection, UsePermit, bool), SendError> {
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
                        self.tally.reused();
                        return Ok((idle.connection, permit, true));
                    }
                }
                CheckoutGrant::Dial(permit, dial) => {
                    return Ok((self.dial(state.to(), dial).await?, permit, false));
                }
                CheckoutGrant::Reject(error) => return Err(error.into()),
                CheckoutGrant::Silent(DestinationSilence { waiting, lasting }) => {
                    let error = SendError::Silent { at: state.to().at(), waiting, lasting };
                    return Err(Self::logged(error, state));
                }
            }
        }
    }

    /// Waits in the queue of the destination.
    async fn wait(&self, state: &Rc<DestinationState>, fresh: bool) -> Result<CheckoutGrant, SendError> {
        let waited = self.settings.queue;
        let granted = tokio::time::timeout(waited, self.pool.enqueue(state, fresh)).await;
        granted.map_err(|_| Self::logged(SendError::Busy { at: state.to().at(), waited }, state))
    }

    /// Logs why requests are rejected, once in a while.
    fn logged(error: SendError, state: &DestinationState) -> SendError {
        if state.should_log_busy(Instant::now()) {
            warn!(upstream = state.to().at(), %error, "requests are rejected");
        }
        error
    }

    /// Sends a request on this connection, and waits for the head of the answer. The request is handed over here and now: a
    /// future that held it would have it copied.
    fn exchange(
        &self,
        mut connection: UpstreamConnection,
        request: Request<RequestBody>,
        patience: ResponseTimeout,
        superseded: Option<impl Future<Output = ()>>,
    ) -> impl Future<Output = Result<(Response<Incoming>, UpstreamConnection), Box<FailedAttempt>>> {
        let limit = match patience {
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

    /// A fresh connection. Its state is large; the usual request need not have room for it.
    fn dial<'a>(
        &'a self,
        to: &'a UpstreamDestination,
        permit: DialPermit,
    ) -> Pin<Box<dyn Future<Output = Result<UpstreamConnection, DialError>> + 'a>> {
        Box::pin(async move {
            let counted = self.tally.dials();
            let means = DialContext {
                trusts: &self.trusts,
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

    /// Whose fault it is that there was no answer.
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
        } else if is_timed_out(&error) {
            SendError::Stalled(self.settings.stall)
        } else {
            SendError::Reset(error)
        }
    }
}

/// Ends when the upstream has been silent for `limit`, though the client owes it nothing.
async fn silent(body: &BodyState, limit: Duration, mut timer: Pin<&mut Sleep>) {
    let mut since = body.moved();
    loop {
        // Left over from the request before, it mostly goes off too early, which is found then; to set it for each costs more.
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

/// Whether a write waited for too long.
fn is_timed_out(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
}

/// The most header lines of a head, both of a request that comes in and of a response that comes back. OSS allows 8 KiB of user
/// metadata, which is rarely more than a hundred lines.
pub const HEADER_LINES_MAX: usize = 256;
/// After this idle time a connection is looked at before it is used again.
const NOTICE_AFTER: Duration = Duration::from_secs(1);
/// What an answer may take for which OSS works on the whole object.
const WHOLE_OBJECT: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
