//! The client side: listeners, the workers that serve their connections, and the drain at shutdown.
//!
//! A dedicated thread accepts connections and passes each to the worker with the fewest
//! connections. A connection remains on its worker, together with the upstream connections that
//! serve it. A worker is a thread with a separate runtime.

mod accept;
mod acceptor;
mod address;
mod certificate;
mod client_io;
mod connection;
mod connection_limit;
mod context;
mod drain;
mod http_version;
mod idle;
mod listen;
mod listening_socket;
mod peek;
mod plan;
mod protocol;
mod proxy_header;
mod proxy_protocol;
mod request_tasks;
mod settings;
mod socket_activation;
mod streams;
mod tls;
mod trusted_proxies;
mod unix;
mod verified_peer;
mod workers;

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tracing::info;

pub(crate) use accept::{AcceptSocket, AcceptedSocket};
pub use address::ListenAddress;
pub(crate) use certificate::client_certificate;
pub use drain::DrainOutcome;
pub use drain::DrainSignal;
pub use listen::BoundListener;
pub(crate) use listen::ConfiguredSocket;
pub use listen::ListenSettings;
pub use listen::SharedListener;
pub use listening_socket::BindError;
pub use plan::MakeCore;
pub use plan::ServerPlan;
#[cfg(feature = "internals")]
pub(crate) use proxy_header::ProxyHeader;
pub use settings::ServerSettings;
pub use socket_activation::ActivatedSockets;
pub use tls::InvalidTls;
pub(crate) use tls::{ListenerTls, TlsFiles};
pub(crate) use trusted_proxies::{IpNetwork, TrustedProxies};

use crate::offload::BlockingLane;
use crate::proxy::ListenerRules;
use acceptor::{AcceptThread, AcceptWatchdog};
use connection_limit::ConnectionLimit;
use context::ListenerConfig;
use tls::ClientTlsPolicy;
use workers::WorkerPool;

/// A listener to serve, with the settings and TLS configuration resolved for it.
pub struct ListenerPlan {
    /// The listener as configured.
    pub listen: ListenSettings,
    /// The TLS configuration; `None` for plain HTTP.
    pub tls: Option<ListenerTls>,
    /// The newly bound sockets. Empty if the open sockets at the same address remain in use.
    pub bound: Vec<BoundListener>,
}

/// The running server: its listeners, accept thread and workers.
pub struct Server {
    cores: Arc<WorkerPool>,
    connection_limit: ConnectionLimit,
    acceptor: AcceptThread,
    accepting: RefCell<Vec<ActiveListener>>,
    settings: Cell<ServerSettings>,
    ids: Cell<usize>,
    drain: DrainSignal,
}

/// A socket that the accept thread accepts from.
struct ActiveListener {
    id: usize,
    socket: ConfiguredSocket,
    /// The TLS requirements for its clients.
    tls_requirements: Arc<ClientTlsPolicy>,
}

/// A handle to check that the server's threads are responsive.
#[derive(Clone)]
pub struct ServerWatchdog {
    acceptor: AcceptWatchdog,
    cores: Arc<WorkerPool>,
}

impl ServerWatchdog {
    /// Waits until the accept thread and each worker have responded. Never resolves if one is
    /// stuck. Returns `false` if one has exited.
    pub async fn beat(&self) -> bool {
        self.acceptor.beat().await && self.cores.beat().await
    }
}

impl Server {
    /// Starts the workers, and accepts on all listeners.
    ///
    /// # Errors
    /// If the system cannot create a thread.
    pub fn start(listeners: Vec<ListenerPlan>, config: &ServerPlan, drain: DrainSignal) -> io::Result<Self> {
        let cores = Arc::new(WorkerPool::start(config, &drain)?);
        let connection_limit = ConnectionLimit::new(config.settings.connections);
        let server = Self {
            acceptor: AcceptThread::start(Arc::clone(&cores), connection_limit.clone())?,
            cores,
            connection_limit,
            accepting: RefCell::default(),
            settings: Cell::new(config.settings),
            ids: Cell::default(),
            drain,
        };
        server.renew(listeners, config);
        Ok(server)
    }

    /// Applies a new configuration. Connections remain open, and their next requests use the new
    /// plan. Listeners that are missing from `listeners` are closed. Their connections end after
    /// the requests in flight; so do connections whose client does not meet changed TLS
    /// requirements.
    /// Must be called within a tokio runtime.
    pub fn renew(&self, listeners: Vec<ListenerPlan>, config: &ServerPlan) {
        self.settings.set(config.settings);
        self.connection_limit.resize(config.settings.connections);
        let mut accepting = self.accepting.borrow_mut();
        let is_kept =
            |one: &ActiveListener| listeners.iter().any(|listener| one.socket.is_of(&listener.listen));
        let (remaining, withdrawn) = accepting.drain(..).partition::<Vec<_>, _>(is_kept);
        *accepting = remaining;
        for one in &withdrawn {
            info!(address = %one.socket.listener.address, "stopped listening");
        }
        let mut entries = Vec::new();
        let mut fresh = Vec::new();
        for ListenerPlan { listen, tls, bound } in listeners {
            let tls_requirements = Arc::new(ClientTlsPolicy::new(tls.as_ref()));
            for bound in bound {
                let (socket, held) = bound.into_parts();
                let one = self.accepting(held, &listen, &tls_requirements);
                fresh.push((one.id, socket));
                accepting.push(one);
            }
            for one in accepting.iter_mut().filter(|one| one.socket.is_of(&listen)) {
                if one.tls_requirements != tls_requirements {
                    one.tls_requirements = Arc::clone(&tls_requirements);
                }
                let rules = ListenerRules {
                    domains: listen.domains.clone(),
                    identify: listen.identify,
                    content: listen.content.clone(),
                    policy: listen.policy.clone(),
                    tls: listen.tls.is_some(),
                    unnamed: one.socket.listener.is_unix(),
                };
                let tls = tls.as_ref().map(|tls| tls.acceptor.clone());
                entries.push(ListenerConfig {
                    id: one.id,
                    rules,
                    tls,
                    tls_requirements: Arc::clone(&one.tls_requirements),
                    trusted_proxies: listen.trusted_proxies.clone(),
                });
            }
        }
        self.acceptor.withdraw(withdrawn.iter().map(|one| one.id).collect());
        if !withdrawn.is_empty() {
            // Dropping these removes their socket files, which may block.
            drop(spawn_blocking(move || drop(withdrawn)));
        }
        // The workers receive a listener before its first connection arrives.
        self.cores.renew(config, &Arc::from(entries));
        for (id, bound) in fresh {
            self.acceptor.accept(id, bound);
        }
    }

    /// Returns the addresses that clients connect to, with actual ports.
    #[must_use]
    pub(crate) fn addresses(&self) -> Vec<ListenAddress> {
        self.accepting.borrow().iter().map(|one| one.socket.listener.address.clone()).collect()
    }

    /// Returns the sockets.
    #[must_use]
    pub(crate) fn sockets(&self) -> Vec<ConfiguredSocket> {
        let accepting = self.accepting.borrow();
        let socket = |one: &ActiveListener| one.socket.clone();
        accepting.iter().map(socket).collect()
    }

    /// Returns a handle to check that the server's threads are responsive.
    #[must_use]
    pub fn watchdog(&self) -> ServerWatchdog {
        ServerWatchdog { acceptor: self.acceptor.watchdog(), cores: Arc::clone(&self.cores) }
    }

    /// Stops accepting, and waits until requests in flight have ended. Returns the outcome of the
    /// drain.
    pub async fn end(&self) -> DrainOutcome {
        self.acceptor.close().await;
        let all = self.accepting.take();
        // If the directory does not respond in time, the socket files remain.
        let _ = BlockingLane::default().run(FILES_LIMIT, move || drop(all)).await;
        let drained = self.cores.drained(self.settings.get().drain, &self.drain).await;
        self.cores.end().await;
        drained
    }

    /// Creates the entry of a new listener, and logs its address.
    fn accepting(
        &self,
        held: SharedListener,
        listen: &ListenSettings,
        tls_requirements: &Arc<ClientTlsPolicy>,
    ) -> ActiveListener {
        let id = self.ids.replace(self.ids.get() + 1);
        info!(address = %held.address, "listening");
        let socket =
            ConfiguredSocket { configured: listen.address.clone(), number: listen.number, listener: held };
        ActiveListener { id, socket, tls_requirements: Arc::clone(tls_requirements) }
    }
}

/// The timeout at shutdown for the removal of socket files.
const FILES_LIMIT: Duration = Duration::from_secs(1);
