//! Bytes out: connections to upstreams, kept for reuse by the core that made them. No request takes a lock: cores share only
//! what a dial that fails or heals notes down.

mod body;
mod dial;
mod lease;
mod pool;
mod tls;
mod wire;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;

pub use body::Upload;
pub use dial::{Guard, Reachability};
pub use lease::Lease;
pub use tls::{BadRoots, Trust};

use lease::Connection;
use pool::Pool;

/// Where a request is sent. Two requests share connections if theirs are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// What is dialled: host and port.
    pub dial: (String, u16),
    /// TLS, with the name that the certificate must have and the roots that must vouch for it.
    pub tls: Option<(String, TrustId)>,
    /// Whether the dialled name must not lead back to this machine.
    pub guard: Guard,
}

/// One of the trusts that a [`Transport`] was given, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrustId(pub usize);

/// Settings of all upstream connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a dial may take, its TLS handshake included.
    pub connect: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection could be made.
    #[error("cannot connect to {at}: {reason}")]
    Unreachable {
        /// Host and port.
        at: String,
        /// What the system or TLS said.
        reason: String,
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
    /// The connection ended before an answer.
    #[error("the connection to the upstream ended before its answer: {0}")]
    Reset(#[source] hyper::Error),
    /// The answer is no HTTP.
    #[error("the answer of the upstream cannot be read: {0}")]
    Invalid(#[source] hyper::Error),
    /// The body of the request ended early: the client is gone, nothing was completed upstream.
    #[error("the client ended its request early: {0}")]
    Client(#[source] hyper::Error),
}

/// The upstream connections of one core.
pub struct Transport {
    settings: Settings,
    trusts: Vec<Trust>,
    reachability: Arc<Reachability>,
    pool: Rc<Pool>,
}

impl Transport {
    /// A transport without connections. Must be used inside a `LocalSet`, from which it spawns the connections' drivers.
    #[must_use]
    pub fn new(settings: Settings, trusts: Vec<Trust>, reachability: Arc<Reachability>) -> Self {
        Self { settings, trusts, reachability, pool: Rc::new(Pool::new(settings.idle)) }
    }

    /// Drops connections that nobody used for the idle time.
    pub fn sweep(&self) {
        self.pool.sweep(Instant::now());
    }

    /// Sends a request and waits for the head of its answer. The lease is to be finished with the answer's body; dropped before,
    /// it closes the connection.
    ///
    /// A request that hyper gives back unsent, because the kept connection was closing, is sent again on another connection;
    /// none of its bytes was taken.
    ///
    /// # Errors
    /// [`SendError`] says why there is no answer.
    pub async fn send(
        &self,
        to: &Destination,
        mut request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        loop {
            let (mut connection, fresh) = match self.kept(to).await {
                Some(connection) => (connection, false),
                None => (self.dial(to).await?, true),
            };
            match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    return Ok((response, Lease::new(connection, to.clone(), Rc::clone(&self.pool))));
                }
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if !fresh => request = unsent,
                    Some(_) | None => return Err(SendError::of(failed.into_error())),
                },
            }
        }
    }

    /// A kept connection that is still open. One that was idle for long may have been closed by the other side: its driver
    /// gets a turn to notice.
    async fn kept(&self, to: &Destination) -> Option<Connection> {
        while let Some((connection, idle)) = self.pool.take(to, Instant::now()) {
            if idle > NOTICE_AFTER {
                tokio::task::yield_now().await;
            }
            if connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    async fn dial(&self, to: &Destination) -> Result<Connection, SendError> {
        let dialled = dial::dial(to, &self.trusts, self.settings.connect, &self.reachability).await;
        self.reachability.note(to, dialled.as_ref().err());
        dialled
    }
}

impl SendError {
    fn of(error: hyper::Error) -> Self {
        if error.is_user() {
            Self::Client(error)
        } else if error.is_parse() {
            Self::Invalid(error)
        } else {
            Self::Reset(error)
        }
    }
}

/// After this idle time a connection is looked at before it is used again.
const NOTICE_AFTER: Duration = Duration::from_secs(1);
