//! The worker threads that serve connections, and the choice of a worker for each connection.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_local;
use tracing::error;

use super::accept::AcceptedSocket;
use super::connection::ConnectionContext;
use super::connection_limit::ConnectionPermit;
use super::context::{ListenerConfig, ListenerContext, WorkerConfig, WorkerState};
use super::drain::{DrainOutcome, DrainSignal};
use super::plan::{MakeCore, ServerPlan};
use super::settings::ServerSettings;
use crate::telemetry::ProcessCounters;

/// All workers of the process.
pub(super) struct WorkerPool {
    cores: Vec<WorkerHandle>,
    /// Notified when a connection ends; the drain waits on it.
    ended: watch::Sender<()>,
    /// One receiver per worker, which resolves when its thread is done.
    gone: Mutex<Vec<oneshot::Receiver<()>>>,
}

/// A message to a worker.
enum WorkerMessage {
    /// Serve this connection.
    Arrival(NewConnection),
    /// Respond, to show that the worker is responsive.
    Pulse(oneshot::Sender<()>),
    /// Shut down now, closing open connections.
    End,
    /// Apply this configuration from now on.
    Renewal { config: ServerPlan, entries: Arc<[ListenerConfig]> },
}

/// An accepted connection on its way to a worker.
struct NewConnection {
    accepted: AcceptedSocket,
    listener: usize,
    permit: ConnectionPermit,
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
    pub(super) fn start(config: &ServerPlan, drain: &DrainSignal) -> io::Result<Self> {
        let (ended, _) = watch::channel(());
        let mut cores = Vec::new();
        let mut all_gone = Vec::new();
        for index in 0..config.settings.cores.max(1) {
            let (messages, inbox) = mpsc::unbounded_channel();
            let load = Arc::new(AtomicUsize::new(0));
            let thread = WorkerThread {
                inbox,
                drain: drain.clone(),
                settings: config.settings,
                load: Arc::clone(&load),
                ended: ended.clone(),
            };
            let make_core = Arc::clone(&config.make_core);
            let name = format!("core-{index}");
            let (sender, gone) = oneshot::channel();
            let (begun, begins) = std::sync::mpsc::channel();
            std::thread::Builder::new().name(name).spawn(move || {
                // Created on this thread, because the runtime never leaves it.
                let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
                // The thread that starts the workers waits for this.
                let _ = match runtime {
                    Ok(runtime) => begun.send(Ok(())).map(|()| {
                        runtime.block_on(thread.run(make_core));
                        // Do not wait for blocking tasks: a DNS lookup without an answer must not
                        // delay the shutdown.
                        runtime.shutdown_background();
                    }),
                    Err(error) => begun.send(Err(error)),
                };
                // The receiver may have been dropped.
                let _ = sender.send(());
            })?;
            begins.recv().map_err(io::Error::other)??;
            all_gone.push(gone);
            cores.push(WorkerHandle { messages, load });
        }
        Ok(Self { cores, ended, gone: Mutex::new(all_gone) })
    }

    /// Passes a connection to the worker with the fewest connections.
    pub(super) fn hand_over(&self, accepted: AcceptedSocket, listener: usize, permit: ConnectionPermit) {
        let least = self.cores.iter().min_by_key(|core| core.load.load(Ordering::Relaxed));
        let Some(core) = least else { return };
        core.load.fetch_add(1, Ordering::Relaxed);
        let arrival = WorkerMessage::Arrival(NewConnection { accepted, listener, permit });
        if core.messages.send(arrival).is_err() {
            error!("a worker has exited; dropping the connection");
        }
    }

    /// Applies this configuration on all workers.
    pub(super) fn renew(&self, config: &ServerPlan, entries: &Arc<[ListenerConfig]>) {
        for core in &self.cores {
            let renewal = WorkerMessage::Renewal { config: config.clone(), entries: Arc::clone(entries) };
            if core.messages.send(renewal).is_err() {
                error!("a worker has exited and cannot apply the new configuration; restart the process");
            }
        }
    }

    /// Waits until each worker has responded. Returns `false` if one has exited.
    pub(super) async fn beat(&self) -> bool {
        let mut all = Vec::new();
        for core in &self.cores {
            let (sender, receiver) = oneshot::channel();
            if core.messages.send(WorkerMessage::Pulse(sender)).is_err() {
                return false;
            }
            all.push(receiver);
        }
        for receiver in all {
            // guard: pulse-of-each-worker
            if receiver.await.is_err() {
                return false;
            }
        }
        true
    }

    /// Ends all workers and closes their connections. The log reports each request in flight as cut
    /// off.
    pub(super) async fn end(&self) {
        for core in &self.cores {
            // If this fails, the worker has already exited.
            let _ = core.messages.send(WorkerMessage::End);
        }
        // A second call, after the first was cancelled, waits for the remaining workers.
        let all_gone = poll_fn(|cx| {
            let mut all = self.gone.lock();
            // guard: end-of-all-workers
            all.retain_mut(|gone| Pin::new(gone).poll(cx).is_pending());
            if all.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        let _ = tokio::time::timeout(EXIT_TIMEOUT, all_gone).await;
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
    drain: DrainSignal,
    settings: ServerSettings,
    load: Arc<AtomicUsize>,
    ended: watch::Sender<()>,
}

impl WorkerThread {
    async fn run(mut self, make_core: MakeCore) {
        // The listeners arrive in a message before the first connection.
        let setup = WorkerConfig::new(make_core(None), self.settings, &[]);
        // It holds the state of the first configuration, which later ones replace.
        drop(make_core);
        let current = Rc::new(WorkerState::new(setup));
        spawn_local(sweep(Rc::clone(&current)));
        while let Some(message) = self.inbox.recv().await {
            match message {
                WorkerMessage::Arrival(arrival) => self.serve(arrival, &current),
                // The caller may have stopped waiting.
                WorkerMessage::Pulse(sender) => drop(sender.send(())),
                WorkerMessage::End => {
                    current.get().core.cut();
                    return;
                }
                WorkerMessage::Renewal { config, entries } => {
                    let before = current.get();
                    let core = (config.make_core)(Some(&before.core));
                    current.renew(WorkerConfig::new(core, config.settings, &entries).after(&before));
                }
            }
        }
    }

    fn serve(&self, NewConnection { accepted, listener, permit }: NewConnection, current: &Rc<WorkerState>) {
        let setup = current.get();
        let counters = Arc::clone(&setup.core.state().counters);
        counters.opened();
        let open = OpenConnection { load: Arc::clone(&self.load), ended: self.ended.clone(), counters };
        let Some(context) = setup.listener_of_arrival(listener) else { return };
        let ListenerContext { id, rules, tls, tls_requirements, trusted_proxies } = context;
        let mut host = ConnectionContext {
            current: Rc::clone(current),
            listener: *id,
            rules: Rc::clone(rules),
            address: accepted.address(),
            client: accepted.peer(),
            trusted_proxies: trusted_proxies.clone(),
            tls_requirements: Arc::clone(tls_requirements),
            tls: tls.clone(),
            settings: setup.settings,
            drain: self.drain.clone(),
        };
        spawn_local(async move {
            host.serve(accepted).await;
            drop((permit, open));
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
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);
