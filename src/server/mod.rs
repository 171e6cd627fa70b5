//! Sockets: listeners, the cores that serve their connections, and the drain at the end.
//!
//! Connections are accepted by one thread that does nothing else, and handed to the core that has the fewest; there they stay,
//! with the upstream connections that serve them. A core is a thread with a runtime of its own.

mod accept;
mod acceptor;
mod certificate;
mod client_io;
mod connection;
mod connection_limit;
mod drain;
mod idle;
mod listen;
mod protocol;
mod request_tasks;
mod socket_activation;
mod streams;
mod tls;
mod unix;
mod workers;

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tracing::info;

pub use accept::AcceptedSocket;
pub use drain::{DrainOutcome, DrainSignal};
pub use listen::{AcceptSocket, BindError, BoundListener, ListenAddress, ListenSettings, SharedListener};
pub use socket_activation::ActivatedSockets;
pub use tls::{InvalidTls, ListenerTls, TlsFiles};

use crate::offload::BlockingLane;
use crate::proxy::{ListenerRules, WorkerCore};
use acceptor::{AcceptThread, AcceptWatchdog};
use connection_limit::ConnectionLimit;
use tls::ClientTlsPolicy;
use workers::{ListenerConfig, ListenerConfigs, WorkerPool};

/// Settings of all client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// How many cores serve; at least one.
    pub cores: usize,
    /// How many client connections may be open at once, on all of them.
    pub connections: usize,
    /// How many bytes the head of a request may have, its first line included.
    pub header_bytes: usize,
    /// How long the head of a request may take from its first byte; on a new connection, from the beginning.
    pub header_read: Duration,
    /// How long a client connection may be silent between requests.
    pub idle: Duration,
    /// How long a client may take nothing of an answer.
    pub stall: Duration,
    /// How long the drain waits for requests in flight.
    pub drain: Duration,
}

/// Makes the state of a core, in the thread of the core, from the one before if there is one.
pub type MakeCore = Arc<dyn Fn(Option<&WorkerCore>) -> WorkerCore + Send + Sync>;

/// What everything is served with: all of it changes at once.
#[derive(Clone)]
pub struct ServerPlan {
    /// The settings of client connections. The number of cores stays what it was at the start.
    pub settings: ServerSettings,
    /// The state of each core.
    pub make_core: MakeCore,
}

/// A listener to serve, with what its configuration came to.
pub struct ListenerPlan {
    /// Its configuration.
    pub listen: ListenSettings,
    /// With what it speaks TLS.
    pub tls: Option<ListenerTls>,
    /// Its sockets; none if those of the listener with the same address are to go on.
    pub bound: Vec<BoundListener>,
}

/// Everything that listens and serves.
pub struct Server {
    cores: Arc<WorkerPool>,
    places: ConnectionLimit,
    acceptor: AcceptThread,
    accepting: RefCell<Vec<ActiveListener>>,
    settings: Cell<ServerSettings>,
    ids: Cell<usize>,
    drain: DrainSignal,
}

/// A socket that is accepted from.
struct ActiveListener {
    id: usize,
    /// The address of its listener, as configured.
    configured: ListenAddress,
    held: SharedListener,
    /// What its clients must do.
    terms: Arc<ClientTlsPolicy>,
}

/// A check that the server does its work.
#[derive(Clone)]
pub struct ServerWatchdog {
    acceptor: AcceptWatchdog,
    cores: Arc<WorkerPool>,
}

impl ServerWatchdog {
    /// Waits for a sign of life of the accepting thread and of each core: forever, if one is stuck. `false` if one has ended.
    pub async fn beat(&self) -> bool {
        self.acceptor.beat().await && self.cores.beat().await
    }
}

impl Server {
    /// Starts the cores, and accepts on all listeners.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn start(listeners: Vec<ListenerPlan>, plan: &ServerPlan, drain: DrainSignal) -> io::Result<Self> {
        let cores = Arc::new(WorkerPool::start(plan, &drain)?);
        let places = ConnectionLimit::new(plan.settings.connections);
        let server = Self {
            acceptor: AcceptThread::start(Arc::clone(&cores), places.clone())?,
            cores,
            places,
            accepting: RefCell::default(),
            settings: Cell::new(plan.settings),
            ids: Cell::default(),
            drain,
        };
        server.renew(listeners, plan);
        Ok(server)
    }

    /// Serves with this from now on: connections live on, and their next requests come under the new plan. Listeners that are
    /// not among these are closed; what has come through them is served to its end, and so is what came on other terms than
    /// those that its listener has now. Must be called within a tokio runtime.
    pub fn renew(&self, listeners: Vec<ListenerPlan>, plan: &ServerPlan) {
        self.settings.set(plan.settings);
        self.places.resize(plan.settings.connections);
        let mut accepting = self.accepting.borrow_mut();
        let is_kept =
            |one: &ActiveListener| listeners.iter().any(|listener| listener.listen.address == one.configured);
        let (kept, withdrawn) = accepting.drain(..).partition::<Vec<_>, _>(is_kept);
        *accepting = kept;
        for one in &withdrawn {
            info!(address = %one.held.address, "listens no more");
        }
        let (mut entries, mut fresh) = (ListenerConfigs::new(), Vec::new());
        for ListenerPlan { listen, tls, bound } in listeners {
            let terms = Arc::new(ClientTlsPolicy::of(tls.as_ref()));
            for bound in bound {
                let (socket, held) = bound.into_parts();
                let one = self.accepting(held, &listen, &terms);
                fresh.push((one.id, socket));
                accepting.push(one);
            }
            for one in accepting.iter_mut().filter(|one| one.configured == listen.address) {
                if one.terms != terms {
                    one.terms = Arc::clone(&terms);
                }
                let gate = ListenerRules {
                    domains: listen.domains.clone(),
                    policy: listen.policy.clone(),
                    tls: listen.tls.is_some(),
                    unnamed: one.held.is_unix(),
                };
                let tls = tls.as_ref().map(|tls| tls.acceptor.clone());
                entries.push((one.id, ListenerConfig { gate, tls, terms: Arc::clone(&one.terms) }));
            }
        }
        self.acceptor.withdraw(withdrawn.iter().map(|one| one.id).collect());
        if !withdrawn.is_empty() {
            // Their files are removed with them.
            drop(spawn_blocking(move || drop(withdrawn)));
        }
        // The cores learn of a listener before its first connection comes.
        self.cores.renew(plan, &Arc::from(entries));
        for (id, bound) in fresh {
            self.acceptor.accept(id, bound);
        }
    }

    /// Where clients connect; ports are real ones.
    #[must_use]
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.accepting.borrow().iter().map(|one| one.held.address.clone()).collect()
    }

    /// The sockets, each with the address of its listener as configured.
    #[must_use]
    pub fn sockets(&self) -> Vec<(ListenAddress, SharedListener)> {
        let accepting = self.accepting.borrow();
        accepting.iter().map(|one| (one.configured.clone(), one.held.clone())).collect()
    }

    /// For who wants to know whether the cores do their work.
    #[must_use]
    pub fn pulse(&self) -> ServerWatchdog {
        ServerWatchdog { acceptor: self.acceptor.pulse(), cores: Arc::clone(&self.cores) }
    }

    /// How many connections of clients are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.cores.open()
    }

    /// Stops accepting, and waits until requests in flight have ended. Returns how that went.
    pub async fn end(&self) -> DrainOutcome {
        self.acceptor.close().await;
        let all = self.accepting.take();
        // A directory that does not answer keeps its files.
        let _ = BlockingLane::default().run(FILES_LIMIT, move || drop(all)).await;
        let drained = self.cores.drained(self.settings.get().drain, &self.drain).await;
        self.cores.end().await;
        drained
    }

    /// A new listener, which is announced.
    fn accepting(
        &self,
        held: SharedListener,
        listen: &ListenSettings,
        terms: &Arc<ClientTlsPolicy>,
    ) -> ActiveListener {
        let id = self.ids.replace(self.ids.get() + 1);
        info!(address = %held.address, "listening");
        ActiveListener { id, configured: listen.address.clone(), held, terms: Arc::clone(terms) }
    }
}

/// How long the end of the process waits for the files of sockets to be removed.
const FILES_LIMIT: Duration = Duration::from_secs(1);
