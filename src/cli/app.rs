//! The proxy, put together from its configuration, and from another one while it runs.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, error, info, warn};

use super::assembly::{AppBuilder, BuiltApp, PreviousApp, StartError};
use super::console::{AdminConsole, AdminThread, ConsoleView};
use super::notify::ServiceNotifier;
use super::watch::{ConfigWatcher, FileSnapshot, ReloadError, ReloadReason, WatchedFiles};
use crate::admin::AdminReloadError;
use crate::config::{ProxyConfig, SettingChange, changes};
use crate::credentials::SourceEnv;
use crate::offload::BlockingLane;
use crate::proxy::{ProxyState, WorkerCore};
use crate::server::{DrainOutcome, DrainSignal, ListenAddress, MakeCore, Server, ServerPlan};
use crate::telemetry::LogControl;
use crate::time::Clock;
use crate::transport::{PoolStats, UpstreamReachability, UpstreamTransport};

/// A proxy with its sockets, not yet serving.
pub struct App {
    workshop: AppBuilder,
    assembled: BuiltApp,
    watch: ConfigWatcher,
    reloads: (ReloadHandle, mpsc::Receiver<ReloadRequest>),
    load: Option<LoadConfig>,
    log: Option<Arc<LogControl>>,
}

/// Reads the configuration again, as it was read at the start. It is called on a thread for blocking work.
pub type LoadConfig = Arc<dyn Fn() -> Result<ProxyConfig, ReloadError> + Send + Sync>;

/// Asks a running proxy to read its configuration again.
#[derive(Clone, Debug)]
pub struct ReloadHandle(mpsc::Sender<ReloadRequest>);

/// What is counted of the upstream connections of each core.
pub(super) type SharedPoolStats = Arc<Mutex<Vec<Arc<PoolStats>>>>;

/// Somebody wants the configuration to be read again, and may want to know what came of it.
type ReloadRequest = Option<oneshot::Sender<Result<Vec<String>, String>>>;

/// A proxy that serves.
struct RunningApp {
    workshop: AppBuilder,
    assembled: BuiltApp,
    server: Server,
    console: Arc<AdminConsole>,
    admin: Option<AdminThread>,
    notifier: ServiceNotifier,
    tallies: SharedPoolStats,
    load: Option<LoadConfig>,
    /// For reading the configuration.
    lane: BlockingLane,
    log: Option<Arc<LogControl>>,
    watch: ConfigWatcher,
}

impl ReloadHandle {
    /// Has the configuration read again. Returns what has changed, or why it was not taken.
    ///
    /// # Errors
    /// [`AdminReloadError`].
    pub async fn reload(&self) -> Result<Vec<String>, AdminReloadError> {
        let (tell, told) = oneshot::channel();
        self.0.send(Some(tell)).await.map_err(|_| AdminReloadError::Stopping)?;
        told.await.map_err(|_| AdminReloadError::Stopping)?.map_err(AdminReloadError::Wrong)
    }

    /// The same, for who does not wait for it. If there are many such wishes already, one more changes nothing.
    pub fn request_reload(&self) {
        let _ = self.0.try_send(None);
    }
}

impl App {
    /// Asks each source once and takes the sockets. The upstream is not asked: it may come later than we do.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn assemble(config: ProxyConfig, edge: Arc<dyn SourceEnv>) -> Result<Self, StartError> {
        let mut workshop = AppBuilder::new(edge)?;
        let lane = BlockingLane::default();
        let (files, config) = lane.run(LOAD_LIMIT, move || (WatchedFiles::of(&config), config)).await?;
        let watch = ConfigWatcher::new(files);
        let assembled = workshop.assemble(config, None).await?;
        warn_of_certificates(&assembled, &*workshop.edge);
        let (wish, wishes) = mpsc::channel(WISHES_MAX);
        let reloads = (ReloadHandle(wish), wishes);
        Ok(Self { workshop, assembled, watch, reloads, load: None, log: None })
    }

    /// Reads the configuration again in this way, when it is asked to or a file of it changes.
    #[must_use]
    pub fn reloading(self, load: LoadConfig) -> Self {
        Self { load: Some(load), ..self }
    }

    /// Changes the log through this.
    #[must_use]
    pub fn logging(self, control: Arc<LogControl>) -> Self {
        Self { log: Some(control), ..self }
    }

    /// Asks for the configuration to be read again.
    #[must_use]
    pub fn reloads(&self) -> ReloadHandle {
        self.reloads.0.clone()
    }

    /// Where clients connect, in the order of the configuration; ports are real ones.
    #[must_use]
    pub fn addresses(&self) -> Vec<ListenAddress> {
        let bound = self.assembled.listeners.iter().flat_map(|listener| &listener.bound);
        bound.map(|bound| bound.address.clone()).collect()
    }

    /// Where health is asked.
    #[must_use]
    pub fn admin_address(&self) -> Option<ListenAddress> {
        Some(self.assembled.admin.as_ref()?.bound.as_ref()?.address.clone())
    }

    /// What all cores share, for who wants to look at the counters.
    #[must_use]
    pub fn state(&self) -> Arc<ProxyState> {
        Arc::clone(&self.assembled.state)
    }

    /// Serves until `drain` says stop. Must run inside a `LocalSet`.
    ///
    /// # Errors
    /// If the system refuses threads or sockets.
    pub async fn run(self, drain: DrainSignal) -> io::Result<DrainOutcome> {
        let Self { workshop, mut assembled, watch, reloads: (reloads, mut wishes), load, log } = self;
        let tallies = SharedPoolStats::default();
        let mut listeners = std::mem::take(&mut assembled.listeners);
        let own = listeners.iter().flat_map(|listener| &listener.bound).map(|bound| bound.address.clone());
        let own = own.chain(assembled.admin.iter().flat_map(|admin| &admin.bound).map(|b| b.address.clone()));
        let own: Vec<ListenAddress> = own.collect();
        let plan = plan(&assembled, &workshop.edge, &own, &tallies);
        let server = Server::start(std::mem::take(&mut listeners), &plan, drain.clone())?;
        let console = Arc::new(AdminConsole::new(
            ConsoleView::of(&assembled),
            (Arc::clone(&workshop.edge), Arc::clone(&workshop.counters), Arc::clone(&tallies)),
            (drain.clone(), server.pulse(), reloads, log.clone()),
        ));
        let admin = start_admin(&mut assembled, &console)?;
        let notifier = ServiceNotifier::start(&*workshop.edge);
        let mut running = RunningApp {
            workshop,
            assembled,
            server,
            console,
            admin,
            notifier,
            tallies,
            load,
            lane: BlockingLane::default(),
            log,
            watch,
        };
        running.notifier.ready();
        let watchdog = spawn_local(running.notifier.clone().feed_watchdog(running.server.pulse()));
        tokio::select! {
            () = drain.leaving() => {}
            () = running.run_reload_loop(&mut wishes) => {}
        }
        drop(wishes);
        let drained = running.end(&drain).await;
        watchdog.abort();
        drained
    }
}

impl RunningApp {
    /// Reads the configuration again whenever it is wanted.
    async fn run_reload_loop(&mut self, wishes: &mut mpsc::Receiver<ReloadRequest>) {
        let mut looks = interval(LOOK_EVERY);
        // Two looks in a row are worth nothing if they follow on each other's heels.
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A look at files on a disk that does not answer delays no other wish.
        let mut look: Option<FileCheck> = None;
        loop {
            let (reason, wanted) = tokio::select! {
                wanted = wishes.recv() => (ReloadReason::Asked, wanted.flatten()),
                _ = looks.tick(), if self.load.is_some() && look.is_none() => {
                    look = Some(Box::pin(self.watch.find()));
                    continue;
                }
                found = async { look.as_mut()?.await }, if look.is_some() => {
                    look = None;
                    match found.and_then(|found| self.watch.look(found, Instant::now())) {
                        Some(reason) => (reason, None),
                        None => continue,
                    }
                }
            };
            // It looks at what was known before.
            look = None;
            self.notifier.reloading();
            let outcome = self.reload(reason).await;
            self.notifier.ready();
            if let Some(report) = wanted {
                // The caller may have left.
                let _ = report.send(outcome);
            }
        }
    }

    async fn reload(&mut self, reason: ReloadReason) -> Result<Vec<String>, String> {
        let reloaded = self.take_another().await;
        self.workshop.counters.reloaded(reloaded.is_ok(), self.workshop.edge.now());
        match &reloaded {
            Ok(changes) if changes.is_empty() => {
                info!("the configuration was read again; nothing has changed")
            }
            Ok(changes) => {
                for change in changes {
                    info!(change, "the configuration has changed");
                }
            }
            Err(refused) if self.watch.refused(reason, refused, Instant::now()) => {
                for line in refused.why.lines() {
                    error!(error = line, "the configuration was not taken, the old one stays");
                }
            }
            Err(_) => debug!("the configuration is still not taken"),
        }
        reloaded.map_err(|refused| refused.why)
    }

    /// Everything that can fail comes first; then all of it changes at once.
    async fn take_another(&mut self) -> Result<Vec<String>, ReloadError> {
        let nowhere = || ReloadError::from("there is no configuration file to read again".to_owned());
        let load = Arc::clone(self.load.as_ref().ok_or_else(nowhere)?);
        let known = self.watch.known();
        let loaded = self.lane.run(LOAD_LIMIT, move || {
            // Before the configuration is read: what changes meanwhile is seen later.
            let found = known.now();
            (found, load().map(|config| (WatchedFiles::of(&config), config)))
        });
        let (found, loaded) =
            loaded.await.map_err(|no_answer| ReloadError::from(format!("the configuration: {no_answer}")))?;
        self.watch.reading(found);
        let (files, mut config) = loaded?;
        let warnings = std::mem::take(&mut config.warnings);
        let configured = self.assembled.admin.as_ref().map(|admin| admin.configured.clone());
        let admin = self.admin.as_ref().map(|thread| thread.held.clone());
        let before = PreviousApp {
            assembled: &self.assembled,
            listening: self.server.sockets(),
            admin: configured.zip(admin),
        };
        let mut assembled =
            self.workshop.assemble(config, Some(before)).await.map_err(|error| files.refused(&error))?;
        let admin = start_admin(&mut assembled, &self.console);
        let admin = admin
            .map_err(|error| files.refused(&format_args!("no thread for the admin listener: {error}")))?;
        // Only now: one that is refused is tried again and again.
        for warning in warnings {
            warn!("{warning}");
        }
        warn_of_certificates(&assembled, &*self.workshop.edge);
        let settings =
            changes(&self.assembled.facts, &assembled.facts).iter().map(with_its_time).collect::<Vec<_>>();
        let changes = settings.into_iter().chain(self.watch.taken(files)).collect();

        let listeners = std::mem::take(&mut assembled.listeners);
        let fresh = listeners.iter().flat_map(|listener| &listener.bound).map(|bound| bound.address.clone());
        let admins = admin.iter().chain(&self.admin).map(|thread| thread.held.address.clone());
        let own: Vec<ListenAddress> =
            self.server.addresses().into_iter().chain(fresh).chain(admins).collect();
        let plan = plan(&assembled, &self.workshop.edge, &own, &self.tallies);
        self.server.renew(listeners, &plan);
        match (&self.admin, &assembled.admin) {
            (Some(thread), Some(settings)) if admin.is_none() => thread.renew(settings.settings.clone()),
            (_, _) => self.admin = admin,
        }
        // A level that was set while it ran stays, unless the configuration has another word for it now.
        if let Some(log) = &self.log
            && assembled.log != self.assembled.log
        {
            log.renew(&assembled.log);
        }
        self.console.show(ConsoleView::of(&assembled));
        self.assembled = assembled;
        Ok(changes)
    }

    /// Readiness is gone by now. Requests are taken for a while, so that whoever sends them can notice; then those in flight end.
    async fn end(self, drain: &DrainSignal) -> io::Result<DrainOutcome> {
        self.notifier.stopping();
        let delay = self.assembled.drain_delay;
        if !delay.is_zero() {
            info!(?delay, "stopping; requests are still taken for drain_delay");
        }
        tokio::select! {
            // guard: drain-delay
            () = sleep(delay) => {}
            () = drain.forced() => {}
        }
        drain.close();
        info!("draining");
        let drained = self.server.end().await;
        if let Some(admin) = self.admin {
            admin.end().await;
        }
        let notifier = self.notifier.clone();
        let _ = self.lane.run(FLUSH_LIMIT, move || notifier.flush()).await;
        let counts = self.workshop.counters.requests();
        info!(
            requests = counts.read,
            refused = counts.rejected,
            malformed = counts.malformed,
            unframed = counts.unframed,
            "drained"
        );
        Ok(drained)
    }
}

/// Describes a change, and whether it takes effect only at the next start.
fn with_its_time(change: &SettingChange) -> String {
    if change.needs_restart() {
        format!("{change}; it holds from the next start on")
    } else {
        change.to_string()
    }
}

/// Logs which certificates of listeners have to be replaced.
fn warn_of_certificates(assembled: &BuiltApp, clock: &dyn SourceEnv) {
    let now = clock.now();
    for warning in assembled.certificates.iter().filter_map(|certificate| certificate.warning(now)) {
        warn!("{warning}");
    }
}

/// Starts the admin listener of a configuration, if that has a socket of its own to take.
fn start_admin(assembled: &mut BuiltApp, console: &Arc<AdminConsole>) -> io::Result<Option<AdminThread>> {
    let Some(admin) = &mut assembled.admin else { return Ok(None) };
    let settings = admin.settings.clone();
    admin.bound.take().map(|bound| AdminThread::start(bound, settings, console)).transpose()
}

/// How everything is served under a configuration.
fn plan(
    assembled: &BuiltApp,
    edge: &Arc<dyn SourceEnv>,
    own: &[ListenAddress],
    tallies: &SharedPoolStats,
) -> ServerPlan {
    let reachability =
        Arc::new(UpstreamReachability::new(own.iter().filter_map(ListenAddress::socket).collect()));
    let (state, edge, tallies) = (Arc::clone(&assembled.state), Arc::clone(edge), Arc::clone(tallies));
    let (settings, trusts) = (assembled.transport, assembled.trusts.clone());
    let make_core: MakeCore = Arc::new(move |before| {
        let (state, reachability) = (Arc::clone(&state), Arc::clone(&reachability));
        match before {
            Some(core) => {
                core.renewed(state, |transport| transport.renewed(settings, trusts.clone(), reachability))
            }
            None => {
                let transport = UpstreamTransport::new(settings, trusts.clone(), reachability);
                tallies.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(transport.tally());
                WorkerCore::new(state, Arc::clone(&edge) as Arc<dyn Clock>, transport)
            }
        }
    });
    ServerPlan { settings: assembled.server, make_core }
}

/// A look at the files of the configuration.
type FileCheck = Pin<Box<dyn Future<Output = Option<FileSnapshot>>>>;

/// How long it may take to read the configuration.
const LOAD_LIMIT: Duration = Duration::from_secs(5);
/// How long the end waits for the last notification.
const FLUSH_LIMIT: Duration = Duration::from_millis(300);
/// How often the files of the configuration are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Wishes to read the configuration that may wait.
const WISHES_MAX: usize = 16;
