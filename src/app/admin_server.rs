//! The admin listener on a separate thread, so that admin requests do not delay proxied requests.
//! Includes the view of the process that it serves.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::timeout;
use tracing::{error, info};

use super::admin_connections::AdminConnections;
use super::build::BuiltApp;
use super::reload::{ReloadHandle, SharedPoolStats};
use crate::admin::{
    self, AdminProcess, AdminRoute, AdminService, ListenerCertificate, LivenessFuture, ReadinessRule,
    ReloadFuture, ShownSetting,
};
use crate::caller::CallerSettings;
use crate::config::EffectiveSetting;
use crate::credentials::{CredentialServices, CredentialSource, SourceEnv, SourceStatus, each};
use crate::jwks::KeySetStatus;
use crate::offload::BlockingLane;
use crate::proxy::ProxyState;
use crate::server::{AcceptSocket, BoundListener, DrainSignal, ServerWatchdog, SharedListener};
use crate::telemetry::{
    AuditLog, AuditNotice, AuditStatus, DroppedLineCount, LogControl, LogLevel, ProcessCounters,
};
use crate::time::Timestamp;
use crate::transport::PoolStatsSnapshot;

/// The state of the process, for the admin listener.
pub(crate) struct AdminConsole {
    pub(super) view: ArcSwap<ConsoleView>,
    pub(super) env: Arc<dyn SourceEnv>,
    pub(super) counters: Arc<ProcessCounters>,
    pub(super) pool_stats: SharedPoolStats,
    pub(super) drain: DrainSignal,
    pub(super) watchdog: ServerWatchdog,
    pub(super) reloads: ReloadHandle,
    pub(super) log: Option<Arc<LogControl>>,
    pub(super) audit: Option<Arc<AuditLog>>,
}

/// The parts of a configuration that the admin listener shows.
pub(crate) struct ConsoleView {
    settings: admin::AdminSettings,
    state: Arc<ProxyState>,
    sources: Vec<Arc<CredentialSource>>,
    routes: Vec<AdminRoute>,
    certificates: Vec<ListenerCertificate>,
    effective_settings: Arc<[EffectiveSetting]>,
    callers: Arc<[Arc<CallerSettings>]>,
}

/// An admin listener with its thread. Dropping it stops both.
pub(crate) struct AdminThread {
    pub(crate) listener: SharedListener,
    /// The settings of this listener. A replacement listener has separate ones.
    settings: Arc<ArcSwap<admin::AdminSettings>>,
    end: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl ConsoleView {
    pub(crate) fn new(built: &BuiltApp) -> Self {
        Self {
            settings: built.admin.as_ref().map(|admin| admin.settings.clone()).unwrap_or_default(),
            state: Arc::clone(&built.state),
            sources: each(&built.sources).map(|(_, source)| Arc::clone(source)).collect(),
            routes: built.routes.clone(),
            certificates: built.certificates.clone(),
            effective_settings: Arc::clone(&built.effective_settings),
            callers: Arc::clone(&built.callers),
        }
    }
}

impl AdminConsole {
    /// Returns the sources that requests need but that have no credentials, each with its state.
    fn down(&self, view: &ConsoleView) -> Vec<String> {
        let now = self.env.now();
        let mut seen = HashSet::new();
        let signers = view.state.upstreams.iter().filter_map(|upstream| upstream.source.as_ref());
        let down = signers.filter(|source| source.get(now).is_err() && seen.insert(source.name()));
        let state = |source: &Arc<CredentialSource>| match (source.has_answered(), source.get(now)) {
            (false, _) => format!("{} (no response yet)", source.name()),
            (true, Err(nothing)) => format!("{} ({nothing})", source.name()),
            (true, Ok(_)) => source.name().to_owned(),
        };
        down.map(state).collect()
    }

    /// Records an action of the admin listener in the audit log.
    fn record_action(&self, action: &'static str) {
        if let Some(audit) = &self.audit {
            audit.record_notice(&AuditNotice::Admin(action));
        }
    }

    /// Replaces the view after a new configuration was applied.
    pub(crate) fn show(&self, view: ConsoleView) {
        self.view.store(Arc::new(view));
    }
}

impl AdminProcess for AdminConsole {
    fn live(&self) -> LivenessFuture {
        let watchdog = self.watchdog.clone();
        Box::pin(async move {
            match timeout(PULSE_LIMIT, watchdog.beat()).await {
                Ok(true) => Ok(()),
                Ok(false) => Err("an accept or worker thread has exited".to_owned()),
                Err(_) => Err(format!("an accept or worker thread has not responded within {PULSE_LIMIT:?}")),
            }
        })
    }

    fn ready(&self) -> Result<(), String> {
        // guard: readiness-goes-first
        if self.drain.is_leaving() {
            return Err("stopping".to_owned());
        }
        if self.audit.as_ref().is_some_and(|audit| audit.is_blocked()) {
            return Err("the audit log cannot be written".to_owned());
        }
        let view = self.view.load();
        let now = self.env.now();
        let signers = view.state.upstreams.iter().map(|upstream| upstream.source.as_ref());
        let mut usable = signers.map(|source| source.is_none_or(|source| source.get(now).is_ok()));
        match view.settings.ready_when {
            ReadinessRule::Any if usable.any(|usable| usable) => Ok(()),
            ReadinessRule::Any => {
                Err(format!("no credentials source is usable: {}", self.down(&view).join(", ")))
            }
            ReadinessRule::All if usable.all(|usable| usable) => Ok(()),
            ReadinessRule::All => {
                Err(format!("unusable credentials sources: {}", self.down(&view).join(", ")))
            }
        }
    }

    fn started(&self) -> Result<(), String> {
        let view = self.view.load();
        match view.sources.iter().find(|source| !source.has_answered()) {
            Some(source) => Err(format!("credentials {:?}: no response yet", source.name())),
            None => Ok(()),
        }
    }

    fn sources(&self) -> Vec<SourceStatus> {
        self.view.load().sources.iter().map(|source| source.status(&*self.env)).collect()
    }

    fn key_sets(&self) -> Vec<KeySetStatus> {
        self.view.load().state.callers.key_sets.statuses()
    }

    fn routes(&self) -> Vec<AdminRoute> {
        self.view.load().routes.clone()
    }

    fn certificates(&self) -> Vec<ListenerCertificate> {
        self.view.load().certificates.clone()
    }

    fn configuration(&self) -> Vec<ShownSetting> {
        let setting = |setting: &EffectiveSetting| {
            let EffectiveSetting { key, value, .. } = setting.clone();
            let origin = setting.shown_origin();
            ShownSetting { key, value, origin }
        };
        let caller = |caller: &Arc<CallerSettings>| {
            let setting = |key: &str, value: String| ShownSetting {
                key: format!("caller.{}.{key}", caller.name),
                value,
                origin: caller.origin.to_string(),
            };
            let ids: Vec<&str> = caller.keys.iter().map(|key| key.id.as_str()).collect();
            let ids = (!ids.is_empty()).then(|| setting("key.id", format!("{ids:?}")));
            [setting("allow", format!("{:?}", caller.rights.as_str()))].into_iter().chain(ids)
        };
        let view = self.view.load();
        view.effective_settings.iter().map(setting).chain(view.callers.iter().flat_map(caller)).collect()
    }

    fn counters(&self) -> Arc<ProcessCounters> {
        Arc::clone(&self.counters)
    }

    fn services(&self) -> Arc<CredentialServices> {
        Arc::clone(&self.view.load().state.services)
    }

    fn upstream(&self) -> Vec<PoolStatsSnapshot> {
        let all = self.pool_stats.lock();
        all.iter().map(|stats| stats.read()).collect()
    }

    fn now(&self) -> Timestamp {
        self.env.now()
    }

    fn reload(&self) -> ReloadFuture {
        self.record_action("reload");
        let reloads = self.reloads.clone();
        Box::pin(async move { reloads.reload().await })
    }

    fn quit(&self) {
        self.record_action("quit");
        info!("shutdown requested via the admin API");
        self.drain.leave();
    }

    fn audit(&self) -> Option<AuditStatus> {
        self.audit.as_ref().map(|audit| audit.status())
    }

    fn log_losses(&self) -> Vec<DroppedLineCount> {
        self.log.iter().flat_map(|log| log.losses()).collect()
    }

    fn log_level(&self) -> &'static str {
        self.log.as_ref().map_or("off", |log| log.level().as_str())
    }

    fn set_log_level(&self, name: &str) -> bool {
        let level = LogLevel::ALL.into_iter().find(|level| level.as_str() == name);
        match (level, &self.log) {
            (Some(level), Some(log)) => {
                self.record_action("set-log-level");
                log.set_level(level);
                info!(level = name, "log level set via the admin API");
                true
            }
            (_, _) => false,
        }
    }
}

impl AdminThread {
    /// Starts a thread that serves connections from this socket.
    pub(crate) fn start(
        bound: BoundListener,
        settings: admin::AdminSettings,
        console: &Arc<AdminConsole>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, wanted) = oneshot::channel();
        let (sender, ended) = oneshot::channel();
        let (socket, listener) = bound.into_parts();
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let process: Arc<dyn AdminProcess> = Arc::<AdminConsole>::clone(console);
        let service = AdminService { settings: Arc::clone(&settings), process };
        info!(address = %socket.address, "admin listening");
        std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            LocalSet::new().block_on(&runtime, async move {
                let mut connections = AdminConnections::new();
                tokio::select! {
                    () = accept(socket, &service, &mut connections) => {}
                    _ = wanted => {}
                }
                connections.end().await;
            });
            // The receiver may have been dropped already.
            let _ = sender.send(());
        })?;
        Ok(Self { listener, settings, end, ended })
    }

    /// Applies new settings.
    pub(crate) fn renew(&self, settings: admin::AdminSettings) {
        self.settings.store(Arc::new(settings));
    }

    /// Stops the listener, and waits briefly for pending responses.
    pub(crate) async fn end(self) {
        let Self { listener, end, ended, .. } = self;
        drop(end);
        let _ = timeout(MOMENT, ended).await;
        // If the directory does not respond, the socket file is left behind.
        let _ = BlockingLane::default().run(MOMENT, move || listener.unlink()).await;
    }
}

async fn accept(socket: AcceptSocket, service: &AdminService, connections: &mut AdminConnections) {
    let serve = |accepted, ()| connections.admit(accepted, service.clone());
    let Err(error) = socket.accept(|| Some(()), async || {}, serve).await;
    error!(%error, "admin listener failed; restart the process");
}

/// The limit on the response time of threads. They normally respond within microseconds.
const PULSE_LIMIT: Duration = Duration::from_secs(3);
/// The time that shutdown waits for the listener.
const MOMENT: Duration = Duration::from_millis(300);
