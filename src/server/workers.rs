//! The worker threads that serve connections, and the choice of a worker for each connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;
use tracing::error;

use super::accept::AcceptedSocket;
use super::connection::ConnectionContext;
use super::connection_limit::ConnectionPermit;
use super::drain::{DrainOutcome, DrainSignal};
use super::tls::ClientTlsPolicy;
use super::{MakeCore, ServerPlan, ServerSettings};
use crate::proxy::{ListenerRules, WorkerCore};
use crate::telemetry::ProcessCounters;

/// All workers of the process.
pub(super) struct WorkerPool {
    cores: Vec<WorkerHandle>,
    /// Notified when a connection ends; the drain waits on it.
    ended: watch::Sender<()>,
    /// One receiver per worker, which resolves when its thread is done.
    gone: Mutex<Vec<oneshot::Receiver<()>>>,
}

/// A listener as its connections see it.
#[derive(Clone)]
pub(super) struct ListenerConfig {
    pub(super) gate: ListenerRules,
    pub(super) tls: Option<TlsAcceptor>,
    /// A reload keeps the `Arc` if the requirements are equal.
    pub(super) terms: Arc<ClientTlsPolicy>,
}

/// All listeners, each with its id.
pub(super) type ListenerConfigs = Vec<(usize, ListenerConfig)>;

/// A message to a worker.
enum WorkerMessage {
    /// Serve this connection.
    Arrival(NewConnection),
    /// Respond, to show that the worker is responsive.
    Pulse(oneshot::Sender<()>),
    /// Shut down now, closing open connections.
    End,
    /// Apply this configuration from now on.
    Renewal { plan: ServerPlan, entries: Arc<[(usize, ListenerConfig)]> },
}

/// The current configuration of a worker.
pub(super) struct WorkerConfig {
    pub(super) core: Rc<WorkerCore>,
    pub(super) settings: ServerSettings,
    entries: Vec<(usize, ListenerContext)>,
    /// The listeners that the last reload has removed: their last connections may still be in the
    /// inbox.
    withdrawn: Vec<(usize, ListenerContext)>,
}

/// A listener on a worker.
#[derive(Clone)]
pub(super) struct ListenerContext {
    pub(super) gate: Rc<ListenerRules>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) terms: Arc<ClientTlsPolicy>,
}

/// The state of a worker, through which its connections see a reload.
pub(super) struct WorkerState {
    setup: RefCell<Rc<WorkerConfig>>,
    renewed: Notify,
}

impl WorkerConfig {
    fn new(core: WorkerCore, settings: ServerSettings, entries: &[(usize, ListenerConfig)]) -> Self {
        let way = |(id, entry): &(usize, ListenerConfig)| {
            let ListenerConfig { gate, tls, terms } = entry.clone();
            (*id, ListenerContext { gate: Rc::new(gate), tls, terms })
        };
        let entries = entries.iter().map(way).collect();
        Self { core: Rc::new(core), settings, entries, withdrawn: Vec::new() }
    }

    /// Records the listeners that `before` has and this configuration does not.
    fn after(mut self, before: &Self) -> Self {
        let withdrawn = before.entries.iter().filter(|(id, _)| self.listener(*id).is_none());
        self.withdrawn = withdrawn.cloned().collect();
        self
    }

    /// Returns the listener of a new connection, even if the last reload has removed it.
    fn listener_of_arrival(&self, id: usize) -> Option<&ListenerContext> {
        let withdrawn = || self.withdrawn.iter().find(|(known, _)| *known == id).map(|(_, way)| way);
        self.listener(id).or_else(withdrawn)
    }

    /// Returns the listener with this id, unless it was removed.
    pub(super) fn listener(&self, id: usize) -> Option<&ListenerContext> {
        self.entries.iter().find(|(known, _)| *known == id).map(|(_, way)| way)
    }
}

impl WorkerState {
    /// Returns the current configuration.
    pub(super) fn get(&self) -> Rc<WorkerConfig> {
        Rc::clone(&self.setup.borrow())
    }

    fn renew(&self, setup: WorkerConfig) {
        self.setup.replace(Rc::new(setup));
        self.renewed.notify_waiters();
    }

    /// Waits until the listener with this id is removed, or has other TLS requirements than these.
    pub(super) async fn listener_changed(&self, id: usize, terms: &Arc<ClientTlsPolicy>) {
        loop {
            let renewed = self.renewed.notified();
            if !self.get().listener(id).is_some_and(|way| Arc::ptr_eq(&way.terms, terms)) {
                return;
            }
            renewed.await;
        }
    }
}

/// An accepted connection on its way to a worker.
struct NewConnection {
    accepted: AcceptedSocket,
    listener: usize,
    place: ConnectionPermit,
}

/// A handle to one worker.
struct WorkerHandle {
    messages: mpsc::UnboundedSender<WorkerMessage>,
    load: Arc<AtomicUsize>,
}

/// Counts a connection as open until it is dropped.
struct OpenConnection {
    load: Arc<AtomicUsize>,
    ended: watch::Sender<()>,
    counters: Arc<ProcessCounters>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.counters.closed();
        self.ended.send_replace(());
    }
}

impl WorkerPool {
    pub(super) fn start(plan: &ServerPlan, drain: &DrainSignal) -> io::Result<Self> {
        let (ended, _) = watch::channel(());
        let (mut cores, mut all_gone) = (Vec::new(), Vec::new());
        for index in 0..plan.settings.cores.max(1) {
            let (messages, inbox) = mpsc::unbounded_channel();
            let load = Arc::new(AtomicUsize::new(0));
            let thread = WorkerThread {
                inbox,
                make_core: Arc::clone(&plan.make_core),
                drain: drain.clone(),
                settings: plan.settings,
                open: (Arc::clone(&load), ended.clone()),
            };
            let name = format!("core-{index}");
            let (tell, gone) = oneshot::channel();
            let (begun, begins) = std::sync::mpsc::channel();
            std::thread::Builder::new().name(name).spawn(move || {
                // Created on this thread, because the runtime never leaves it.
                let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
                // The thread that starts the workers waits for this.
                let _ = match runtime {
                    Ok(runtime) => begun.send(Ok(())).map(|()| {
                        runtime.block_on(thread.run());
                        // Do not wait for blocking tasks: a DNS lookup without an answer must not
                        // delay the shutdown.
                        runtime.shutdown_background();
                    }),
                    Err(error) => begun.send(Err(error)),
                };
                // The receiver may be gone.
                let _ = tell.send(());
            })?;
            begins.recv().map_err(io::Error::other)??;
            all_gone.push(gone);
            cores.push(WorkerHandle { messages, load });
        }
        Ok(Self { cores, ended, gone: Mutex::new(all_gone) })
    }

    /// Passes a connection to the worker with the fewest.
    pub(super) fn hand_over(&self, accepted: AcceptedSocket, listener: usize, place: ConnectionPermit) {
        let least = self.cores.iter().min_by_key(|core| core.load.load(Ordering::Relaxed));
        let Some(core) = least else { return };
        core.load.fetch_add(1, Ordering::Relaxed);
        let arrival = WorkerMessage::Arrival(NewConnection { accepted, listener, place });
        if core.messages.send(arrival).is_err() {
            error!("a core has ended; the connection is dropped");
        }
    }

    /// Applies this configuration on all workers.
    pub(super) fn renew(&self, plan: &ServerPlan, entries: &Arc<[(usize, ListenerConfig)]>) {
        for core in &self.cores {
            let renewal = WorkerMessage::Renewal { plan: plan.clone(), entries: Arc::clone(entries) };
            if core.messages.send(renewal).is_err() {
                error!("a core has ended; it does not serve any more");
            }
        }
    }

    /// Waits until each worker has responded. Returns `false` if one has ended.
    pub(super) async fn beat(&self) -> bool {
        let mut all = Vec::new();
        for core in &self.cores {
            let (tell, told) = oneshot::channel();
            if core.messages.send(WorkerMessage::Pulse(tell)).is_err() {
                return false;
            }
            all.push(told);
        }
        for told in all {
            // guard: pulse-of-each-worker
            if told.await.is_err() {
                return false;
            }
        }
        true
    }

    /// Ends all workers and closes their connections. The log reports each request in flight as cut
    /// off.
    pub(super) async fn end(&self) {
        for core in &self.cores {
            // If this fails, the worker has already ended.
            let _ = core.messages.send(WorkerMessage::End);
        }
        // A second call, after the first was cancelled, waits for the remaining workers.
        let all_gone = poll_fn(|cx| {
            let mut all = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
            // guard: end-of-all-workers
            all.retain_mut(|gone| Pin::new(gone).poll(cx).is_pending());
            if all.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        let _ = tokio::time::timeout(END_WITHIN, all_gone).await;
    }

    /// Returns the number of open connections.
    pub(super) fn open(&self) -> usize {
        self.cores.iter().map(|core| core.load.load(Ordering::Relaxed)).sum()
    }

    /// Waits until no connection is open, until `limit` has passed, or until the shutdown is
    /// forced.
    pub(super) async fn drained(&self, limit: Duration, drain: &DrainSignal) -> DrainOutcome {
        let mut ended = self.ended.subscribe();
        let all_ended = async { while self.open() > 0 && ended.changed().await.is_ok() {} };
        tokio::select! {
            () = all_ended => DrainOutcome::Whole,
            () = tokio::time::sleep(limit) => DrainOutcome::Cut { connections: self.open() },
            () = drain.forced() => DrainOutcome::Cut { connections: self.open() },
        }
    }
}

/// One worker, before its thread runs.
struct WorkerThread {
    inbox: mpsc::UnboundedReceiver<WorkerMessage>,
    make_core: MakeCore,
    drain: DrainSignal,
    settings: ServerSettings,
    open: (Arc<AtomicUsize>, watch::Sender<()>),
}

impl WorkerThread {
    async fn run(mut self) {
        // The listeners arrive in a message before the first connection.
        let setup = WorkerConfig::new((self.make_core)(None), self.settings, &[]);
        let current = Rc::new(WorkerState { setup: RefCell::new(Rc::new(setup)), renewed: Notify::new() });
        spawn_local(sweep(Rc::clone(&current)));
        while let Some(message) = self.inbox.recv().await {
            match message {
                WorkerMessage::Arrival(arrival) => self.serve(arrival, &current),
                // The caller may be gone.
                WorkerMessage::Pulse(tell) => drop(tell.send(())),
                WorkerMessage::End => {
                    current.get().core.cut();
                    return;
                }
                WorkerMessage::Renewal { plan, entries } => {
                    let before = current.get();
                    let core = (plan.make_core)(Some(&before.core));
                    current.renew(WorkerConfig::new(core, plan.settings, &entries).after(&before));
                }
            }
        }
    }

    fn serve(&self, NewConnection { accepted, listener, place }: NewConnection, current: &Rc<WorkerState>) {
        let setup = current.get();
        let (load, ended) = (Arc::clone(&self.open.0), self.open.1.clone());
        let counters = Arc::clone(&setup.core.state().counters);
        counters.opened();
        let open = OpenConnection { load, ended, counters };
        let Some(ListenerContext { gate, tls, terms }) = setup.listener_of_arrival(listener) else { return };
        let host = ConnectionContext {
            current: Rc::clone(current),
            listener: (listener, Rc::clone(gate)),
            address: accepted.address(),
            terms: Arc::clone(terms),
            tls: tls.clone(),
            settings: setup.settings,
            drain: self.drain.clone(),
        };
        spawn_local(async move {
            host.serve(accepted).await;
            drop((place, open));
        });
    }
}

/// Periodically closes expired idle upstream connections.
async fn sweep(current: Rc<WorkerState>) {
    loop {
        let idle = current.get().settings.idle;
        tokio::time::sleep((idle / 2).max(Duration::from_secs(1))).await;
        current.get().core.transport().sweep();
    }
}

/// The timeout at shutdown for the workers to end.
const END_WITHIN: Duration = Duration::from_secs(1);
