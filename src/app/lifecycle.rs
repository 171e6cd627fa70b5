//! Assembles the proxy from its configuration, runs it, and reloads the configuration.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, error, info, warn};

use super::admin_server::{AdminConsole, AdminThread, ConsoleView};
use super::audit_reports::report_configuration;
use super::build::{AppBuilder, BuiltApp, PreviousApp};
use super::callers_report::report_callers_files;
use super::config_watcher::{ConfigWatcher, FileSnapshot, ReloadError, ReloadReason, WatchedFiles};
use super::listeners::PreviousSockets;
use super::reload::{ReloadHandle, ReloadRequest, SharedPoolStats};
use super::start_error::StartError;
use super::systemd::ServiceNotifier;
use crate::config::{ProxyConfig, SettingChange, caller_changes, changes};
use crate::credentials::SourceEnv;
use crate::offload::BlockingLane;
use crate::proxy::WorkerCore;
use crate::server::{
    ConfiguredSocket, DrainOutcome, DrainSignal, ListenAddress, MakeCore, Server, ServerPlan,
};
use crate::telemetry::{AuditLog, AuditNotice, LogControl};
use crate::time::Clock;
use crate::transport::{UpstreamReachability, UpstreamTransport};

/// A proxy with bound sockets that does not serve yet.
pub struct App {
    builder: AppBuilder,
    built: BuiltApp,
    watch: ConfigWatcher,
    reloads: (ReloadHandle, mpsc::Receiver<ReloadRequest>),
    load: Option<LoadConfig>,
    log: Option<Arc<LogControl>>,
}

/// Reads the configuration again, in the same way as at the start. Called on a thread for blocking
/// work.
pub type LoadConfig = Arc<dyn Fn() -> Result<ProxyConfig, ReloadError> + Send + Sync>;

/// A serving proxy.
struct RunningApp {
    builder: AppBuilder,
    built: BuiltApp,
    server: Server,
    console: Arc<AdminConsole>,
    admin: Option<AdminThread>,
    notifier: ServiceNotifier,
    pool_stats: SharedPoolStats,
    load: Option<LoadConfig>,
    /// Runs blocking work: reading the configuration, and flushing notifications at shutdown.
    lane: BlockingLane,
    log: Option<Arc<LogControl>>,
    watch: ConfigWatcher,
}

impl App {
    /// Starts each credential source, waits briefly for its first result, and binds the sockets.
    /// Does not connect to the upstream, which may start later than the proxy.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn assemble(mut config: ProxyConfig, env: Arc<dyn SourceEnv>) -> Result<Self, StartError> {
        let mut builder = AppBuilder::new(env)?;
        if let Some(settings) = config.audit.take() {
            builder.start_audit(settings).await?;
        }
        let lane = BlockingLane::default();
        let (files, config) =
            lane.run(LOAD_LIMIT, move || (WatchedFiles::from_config(&config), config)).await?;
        let watch = ConfigWatcher::new(files);
        let built = builder.assemble(config, None).await?;
        warn_of_certificates(&built, &*builder.env);
        report_callers_files(&built.caller_sources, None, &builder.counters);
        report_configuration(builder.audit.as_deref(), built.state.number, &[], &built.callers);
        let reloads = ReloadHandle::channel();
        Ok(Self { builder, built, watch, reloads, load: None, log: None })
    }

    /// Reloads the configuration with `load`, on request or when one of its files changes.
    #[must_use]
    pub fn reloading(self, load: LoadConfig) -> Self {
        Self { load: Some(load), ..self }
    }

    /// Changes the log of the process through `control`.
    #[must_use]
    pub(crate) fn logging(self, control: Arc<LogControl>) -> Self {
        Self { log: Some(control), ..self }
    }

    /// Returns the audit log, if there is one.
    #[must_use]
    pub(crate) fn audit(&self) -> Option<Arc<AuditLog>> {
        self.builder.audit.clone()
    }

    /// Returns a handle to request reloads.
    #[must_use]
    pub fn reloads(&self) -> ReloadHandle {
        self.reloads.0.clone()
    }

    /// Returns the addresses of the listeners, in the order of the configuration. Ports are the
    /// bound ones.
    #[must_use]
    pub fn addresses(&self) -> Vec<ListenAddress> {
        let bound = self.built.listeners.iter().flat_map(|listener| &listener.bound);
        bound.map(|bound| bound.address.clone()).collect()
    }

    /// Returns the address of the admin listener, if there is one.
    #[must_use]
    pub fn admin_address(&self) -> Option<ListenAddress> {
        Some(self.built.admin.as_ref()?.bound.as_ref()?.address.clone())
    }

    /// Returns the state that all workers share, for access to the counters.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    #[must_use]
    pub fn state(&self) -> Arc<crate::proxy::ProxyState> {
        Arc::clone(&self.built.state)
    }

    /// Serves until `drain` is triggered, then shuts down. Must run inside a `LocalSet`.
    ///
    /// # Errors
    /// If the operating system provides no thread or socket.
    pub async fn run(self, drain: DrainSignal) -> io::Result<DrainOutcome> {
        let Self { builder, mut built, watch, reloads: (reloads, mut wishes), load, log } = self;
        let pool_stats = SharedPoolStats::default();
        let listeners = std::mem::take(&mut built.listeners);
        let own = listeners.iter().flat_map(|listener| &listener.bound).map(|bound| bound.address.clone());
        let own = own.chain(built.admin.iter().flat_map(|admin| &admin.bound).map(|b| b.address.clone()));
        let own: Vec<ListenAddress> = own.collect();
        // The plan holds the state of this configuration, so it ends with the statement.
        let server =
            Server::start(listeners, &server_config(&built, &builder.env, &own, &pool_stats), drain.clone())?;
        let console = Arc::new(AdminConsole {
            view: ArcSwap::from_pointee(ConsoleView::new(&built)),
            env: Arc::clone(&builder.env),
            counters: Arc::clone(&builder.counters),
            pool_stats: Arc::clone(&pool_stats),
            drain: drain.clone(),
            watchdog: server.watchdog(),
            reloads,
            log: log.clone(),
            audit: builder.audit.clone(),
        });
        let admin = start_admin(&mut built, &console)?;
        let notifier = ServiceNotifier::start(&*builder.env);
        let mut running = RunningApp {
            builder,
            built,
            server,
            console,
            admin,
            notifier,
            pool_stats,
            load,
            lane: BlockingLane::default(),
            log,
            watch,
        };
        running.notifier.ready();
        let watchdog = spawn_local(running.notifier.clone().feed_watchdog(running.server.watchdog()));
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
    /// Reloads the configuration on every request, and on every change of its files.
    async fn run_reload_loop(&mut self, wishes: &mut mpsc::Receiver<ReloadRequest>) {
        let mut ticks = interval(CHECK_INTERVAL);
        // Two checks in quick succession would not show that a file is stable.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A check of files on a disk that does not respond does not delay reload requests.
        let mut check: Option<FileCheck> = None;
        loop {
            let (reason, wanted) = tokio::select! {
                wanted = wishes.recv() => (ReloadReason::Asked, wanted.flatten()),
                _ = ticks.tick(), if self.load.is_some() && check.is_none() => {
                    check = Some(Box::pin(self.watch.find()));
                    continue;
                }
                found = async { check.as_mut()?.await }, if check.is_some() => {
                    check = None;
                    match found.and_then(|found| self.watch.reload_reason(found, Instant::now())) {
                        Some(reason) => (reason, None),
                        None => continue,
                    }
                }
            };
            // A check in progress compares with the content known before, so it is discarded.
            check = None;
            self.notifier.reloading();
            let outcome = self.reload(reason).await;
            self.notifier.ready();
            if let Some(report) = wanted {
                // The caller may have stopped waiting.
                let _ = report.send(outcome);
            }
        }
    }

    async fn reload(&mut self, reason: ReloadReason) -> Result<Vec<String>, String> {
        let reloaded = self.take_another().await;
        self.builder.counters.reloaded(reloaded.is_ok(), self.builder.env.now());
        match &reloaded {
            Ok(changes) if changes.is_empty() => {
                info!("configuration reloaded; no changes")
            }
            Ok(changes) => {
                for change in changes {
                    info!(change, "configuration changed");
                }
            }
            Err(refused) if self.watch.refused(reason, refused, Instant::now()) => {
                // Like the log, it names a fault once, and not with each retry.
                if let Some(audit) = &self.builder.audit {
                    audit.record_notice(&AuditNotice::RejectedConfiguration(&refused.why));
                }
                for line in refused.why.lines() {
                    error!(error = line, "reload failed; keeping the current configuration");
                }
            }
            Err(_) => debug!("reload still fails; keeping the current configuration"),
        }
        // A reload that succeeds may still leave files of callers out.
        let unused = self.built.caller_sources.broken();
        let unused =
            unused.iter().flat_map(|file| file.fault.lines()).map(|line| format!("not used: {line}"));
        reloaded.map(|changes| changes.into_iter().chain(unused).collect()).map_err(|refused| refused.why)
    }

    /// Reads and applies a new configuration. All steps that can fail come first. Then all changes
    /// are applied at once.
    async fn take_another(&mut self) -> Result<Vec<String>, ReloadError> {
        let nowhere = || ReloadError::from("no configuration file to reload".to_owned());
        let load = Arc::clone(self.load.as_ref().ok_or_else(nowhere)?);
        let known = self.watch.known();
        let running = Arc::clone(&self.built.caller_sources);
        let loaded = self.lane.run(LOAD_LIMIT, move || {
            // Taken before the configuration is read, so that changes during the read are noticed
            // later.
            let found = known.now();
            let loaded = load().and_then(|config| {
                let files = WatchedFiles::from_config(&config);
                match config.after(&running) {
                    Ok(config) => Ok((files, config)),
                    Err(errors) => Err(files.refused(&errors)),
                }
            });
            (found, loaded)
        });
        let (found, loaded) = loaded
            .await
            .map_err(|timeout| ReloadError::from(format!("cannot read the configuration: {timeout}")))?;
        self.watch.reading(found);
        let (files, mut config) = loaded?;
        let warnings = std::mem::take(&mut config.warnings);
        let configured = self.built.admin.as_ref().map(|admin| admin.configured.clone());
        let listener = self.admin.as_ref().map(|thread| thread.listener.clone());
        let socket = |(configured, listener)| ConfiguredSocket { configured, number: 0, listener };
        let admin = configured.zip(listener).map(socket);
        let before = PreviousApp {
            built: &self.built,
            sockets: PreviousSockets { listening: self.server.sockets(), admin },
        };
        let mut built =
            self.builder.assemble(config, Some(before)).await.map_err(|error| files.refused(&error))?;
        let admin = start_admin(&mut built, &self.console);
        let admin = admin.map_err(|error| {
            files.refused(&format_args!("cannot start the admin listener thread: {error}"))
        })?;
        // Logged only now, because a rejected configuration is retried repeatedly.
        for warning in warnings {
            warn!("{warning}");
        }
        warn_of_certificates(&built, &*self.builder.env);
        let before = Some(&*self.built.caller_sources);
        report_callers_files(&built.caller_sources, before, &self.builder.counters);
        let settings = changes(&self.built.effective_settings, &built.effective_settings)
            .iter()
            .map(with_its_time)
            .collect::<Vec<_>>();
        let callers = caller_changes(&self.built.callers, &built.callers);
        let changes: Vec<String> =
            settings.into_iter().chain(callers).chain(self.watch.taken(files)).collect();
        report_configuration(self.builder.audit.as_deref(), built.state.number, &changes, &built.callers);

        let listeners = std::mem::take(&mut built.listeners);
        let fresh = listeners.iter().flat_map(|listener| &listener.bound).map(|bound| bound.address.clone());
        let admins = admin.iter().chain(&self.admin).map(|thread| thread.listener.address.clone());
        let own: Vec<ListenAddress> =
            self.server.addresses().into_iter().chain(fresh).chain(admins).collect();
        let server_config = server_config(&built, &self.builder.env, &own, &self.pool_stats);
        self.server.renew(listeners, &server_config);
        match (&self.admin, &built.admin) {
            (Some(thread), Some(settings)) if admin.is_none() => thread.renew(settings.settings.clone()),
            (_, _) => self.admin = admin,
        }
        // A level that was set at run time is kept, unless the configuration changes the log
        // settings.
        if let Some(log) = &self.log
            && built.log != self.built.log
        {
            log.renew(&built.log);
        }
        self.console.show(ConsoleView::new(&built));
        self.built = built;
        Ok(changes)
    }

    /// Shuts down. Readiness has already ended. Requests are accepted during `drain_delay`, so that
    /// clients can notice. Then the requests in flight finish.
    async fn end(self, drain: &DrainSignal) -> io::Result<DrainOutcome> {
        self.notifier.stopping();
        let delay = self.built.drain_delay;
        if !delay.is_zero() {
            info!(?delay, "stopping; still accepting requests during drain_delay");
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
        if let Some(audit) = self.builder.audit.clone() {
            let _ = BlockingLane::default().run(AUDIT_LIMIT, move || audit.close()).await;
        }
        let notifier = self.notifier.clone();
        let _ = self.lane.run(FLUSH_LIMIT, move || notifier.flush()).await;
        let counts = self.builder.counters.requests();
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

/// Returns the description of a change, including whether it takes effect only after a restart.
fn with_its_time(change: &SettingChange) -> String {
    if change.needs_restart { format!("{change}; takes effect after a restart") } else { change.to_string() }
}

/// Logs a warning for each listener certificate that must be replaced.
fn warn_of_certificates(built: &BuiltApp, clock: &dyn SourceEnv) {
    let now = clock.now();
    for warning in built.certificates.iter().filter_map(|certificate| certificate.warning(now)) {
        warn!("{warning}");
    }
}

/// Starts the admin listener of a configuration, if a new socket was bound for it.
fn start_admin(built: &mut BuiltApp, console: &Arc<AdminConsole>) -> io::Result<Option<AdminThread>> {
    let Some(admin) = &mut built.admin else { return Ok(None) };
    let settings = admin.settings.clone();
    admin.bound.take().map(|bound| AdminThread::start(bound, settings, console)).transpose()
}

/// Returns the server settings of a configuration, and the factory of its workers.
fn server_config(
    built: &BuiltApp,
    env: &Arc<dyn SourceEnv>,
    own: &[ListenAddress],
    pool_stats: &SharedPoolStats,
) -> ServerPlan {
    let reachability =
        Arc::new(UpstreamReachability::new(own.iter().filter_map(ListenAddress::socket).collect()));
    let state = Arc::clone(&built.state);
    let env = Arc::clone(env);
    let pool_stats = Arc::clone(pool_stats);
    let settings = built.transport;
    let trust_stores = built.trust_stores.clone();
    let make_core: MakeCore = Arc::new(move |before| {
        let state = Arc::clone(&state);
        let reachability = Arc::clone(&reachability);
        match before {
            Some(core) => core
                .renewed(state, |transport| transport.renewed(settings, trust_stores.clone(), reachability)),
            None => {
                let transport = UpstreamTransport::new(settings, trust_stores.clone(), reachability);
                pool_stats.lock().push(transport.stats());
                WorkerCore::new(state, Arc::clone(&env) as Arc<dyn Clock>, transport)
            }
        }
    });
    ServerPlan { settings: built.server, make_core }
}

/// A check of the configuration files in progress.
type FileCheck = Pin<Box<dyn Future<Output = Option<FileSnapshot>>>>;

/// The limit on the time to read the configuration.
const LOAD_LIMIT: Duration = Duration::from_secs(5);
/// The time that shutdown waits for the last notification.
const FLUSH_LIMIT: Duration = Duration::from_millis(300);
/// The time that shutdown waits for the last records of the audit log.
const AUDIT_LIMIT: Duration = Duration::from_secs(6);
/// The interval between checks of the configuration files.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
