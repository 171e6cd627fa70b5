//! Builds everything that a configuration needs: credential sources, certificates and sockets. All
//! of it is built before any of it is used, so that an invalid configuration changes nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::caller_credentials::CallerCredentialSources;
use super::listeners::{BoundSockets, PreviousSockets, number_listeners};
use super::signers;
use super::source_refresher::SourceKeeper;
use super::start_error::{BadSource, StartError};
use super::trust_stores::TrustStores;
use crate::address::{UpstreamId, UrlScheme};
use crate::admin::{self, ListenerCertificate};
use crate::caller::CallerSettings;
use crate::config::{self, CallerSources, EffectiveSetting, ProxyConfig, TimeoutConfig};
use crate::credentials::{
    ConfiguredSources, CredentialServices, CredentialSource, NamedSpec, ProvideError, SourceEnv, SourceMap,
    build_sources, each, rebuild_sources,
};
use crate::jwks::FetchedKeySets;
use crate::offload::BlockingLane;
use crate::proxy::{
    ProxyState, RequestLimits, ServedCallerSettings, ServedCallers, UpstreamSigning, WorkerCore,
};
use crate::server::{
    self, ActivatedSockets, BoundListener, ListenAddress, ListenSettings, ListenerPlan, TlsFiles,
};
use crate::telemetry::{self, AuditLog, AuditSettings, AuditSinkAddress, LogFile, ProcessCounters};
use crate::time::Clock;
use crate::transport::{self, TrustStore, TrustStoreEntry, TrustStoreId, UpstreamTransport};

/// The builder of a [`BuiltApp`], with the resources that outlive a configuration.
pub(crate) struct AppBuilder {
    pub(crate) env: Arc<dyn SourceEnv>,
    pub(crate) counters: Arc<ProcessCounters>,
    /// The audit log of the process, if there is one.
    pub(crate) audit: Option<Arc<AuditLog>>,
    services: Arc<CredentialServices>,
    fixtures: Arc<Mutex<SharedResources>>,
    /// Runs blocking work: reading the files that a configuration names, and binding its sockets.
    lane: BlockingLane,
    refresher: SourceKeeper,
    /// The sources of the last rejected configuration. A retry reuses them, because they may have
    /// responded in the meantime.
    rejected: Option<RejectedSources>,
}

/// The sources of a rejected configuration.
struct RejectedSources {
    specs: Vec<NamedSpec>,
    sources: SourceMap,
}

/// Resources handed over between configurations, used where blocking is allowed.
struct SharedResources {
    inherited: ActivatedSockets,
    /// The id of the next trust store that differs from all known ones.
    next_trust: usize,
}

/// The parts of a proxy, built from one configuration.
pub(crate) struct BuiltApp {
    pub(crate) state: Arc<ProxyState>,
    pub(crate) sources: SourceMap,
    pub(crate) server: server::ServerSettings,
    pub(crate) transport: transport::TransportSettings,
    pub(crate) trust_stores: Vec<TrustStoreEntry>,
    /// Taken when serving starts.
    pub(crate) listeners: Vec<ListenerPlan>,
    /// The listeners, for a comparison with those of the next configuration.
    pub(crate) listen: Vec<ListenSettings>,
    pub(crate) admin: Option<AdminListener>,
    pub(crate) log: telemetry::LogSettings,
    pub(crate) drain_delay: Duration,
    pub(crate) effective_settings: Arc<[EffectiveSetting]>,
    /// The callers, for a comparison with those of the next configuration.
    pub(crate) callers: Arc<[Arc<CallerSettings>]>,
    pub(crate) caller_sources: Arc<CallerSources>,
    pub(crate) routes: Vec<admin::AdminRoute>,
    pub(crate) certificates: Vec<ListenerCertificate>,
    specs: Vec<NamedSpec>,
}

/// The admin listener of a configuration.
pub(crate) struct AdminListener {
    pub(crate) configured: ListenAddress,
    pub(crate) settings: admin::AdminSettings,
    /// The new socket; `None` if the current one is kept.
    pub(crate) bound: Option<BoundListener>,
}

/// The current state while another configuration is assembled.
pub(crate) struct PreviousApp<'a> {
    pub(crate) built: &'a BuiltApp,
    pub(crate) sockets: PreviousSockets,
}

impl AppBuilder {
    pub(crate) fn new(env: Arc<dyn SourceEnv>) -> io::Result<Self> {
        let inherited = ActivatedSockets::from_environment(env.variable("LISTEN_FDNAMES").as_deref());
        Ok(Self {
            refresher: SourceKeeper::start(Arc::clone(&env))?,
            env,
            counters: Arc::default(),
            audit: None,
            services: Arc::default(),
            fixtures: Arc::new(Mutex::new(SharedResources { inherited, next_trust: 0 })),
            lane: BlockingLane::default(),
            rejected: None,
        })
    }

    /// Starts the audit log of the first configuration. It outlives all configurations.
    ///
    /// # Errors
    /// [`StartError::Audit`] if the destination cannot be opened.
    pub(crate) async fn start_audit(&mut self, settings: AuditSettings) -> Result<(), StartError> {
        let sink = settings.sink.to_string();
        let clock = Arc::clone(&self.env) as Arc<dyn Clock>;
        let started = self.lane.run(FILES_LIMIT, move || AuditLog::start(settings, clock)).await?;
        self.audit = Some(Arc::new(started.map_err(|error| StartError::Audit { sink, error })?));
        Ok(())
    }

    /// Builds everything that the configuration needs. Parts of `before` with an unchanged
    /// description are kept. If the configuration is rejected, its new sources are kept for the
    /// retry.
    pub(crate) async fn assemble(
        &mut self,
        mut config: ProxyConfig,
        before: Option<PreviousApp<'_>>,
    ) -> Result<BuiltApp, StartError> {
        number_listeners(&mut config.listen, before.as_ref().map_or(&[], |before| &before.built.listen));
        let specs = std::mem::take(&mut config.credentials);
        let sources = self.sources(&specs, before.as_ref());
        let configured = ConfiguredSources { specs: &specs, sources: &sources };
        match self.put_together(config, configured, before.as_ref()).await {
            Ok(built) => {
                self.refresher.retain([&sources]);
                self.refresher.keep_keys(&built.state.callers.key_sets);
                self.rejected = None;
                Ok(BuiltApp { sources, specs, ..built })
            }
            Err(error) => {
                let running = before.as_ref().map(|before| &before.built.sources);
                self.refresher.retain(running.into_iter().chain([&sources]));
                self.rejected = Some(RejectedSources { specs, sources });
                Err(error)
            }
        }
    }

    /// Builds everything except the sources and their descriptions.
    async fn put_together(
        &self,
        config: ProxyConfig,
        configured: ConfiguredSources<'_>,
        before: Option<&PreviousApp<'_>>,
    ) -> Result<BuiltApp, StartError> {
        let ConfiguredSources { specs, sources } = configured;
        let draft = self.draft(config, sources, before).await?;
        let ProxyConfig {
            callers,
            hand_out,
            caller_sources,
            key_sets,
            routing_table,
            upstreams,
            limits,
            timeouts,
            log,
            effective_settings,
            ..
        } = draft.config;
        let known = before.map(|before| &before.built.state.callers.key_sets);
        let key_sets = FetchedKeySets::new(key_sets, known);
        let routes = signers::routes(&routing_table, &upstreams, sources);
        let upstreams = signers::signers(&upstreams, draft.upstream_trusts, specs, sources)?;
        let state = ProxyState {
            routing_table,
            upstreams,
            limits: RequestLimits { requests: limits.requests, head: limits.header_bytes, body: limits.body },
            callers: ServedCallers::new(
                ServedCallerSettings {
                    callers: callers.as_deref(),
                    limits: limits.caller,
                    hand_out,
                    key_sets,
                },
                &self.counters,
                before.map(|before| &before.built.state.callers),
            ),
            passed_on: signers::passed_on(draft.listeners.iter().map(|listener| &listener.listen), sources),
            access_log: log.access,
            audit: self.audit.clone(),
            number: before.map_or(1, |before| before.built.state.number + 1),
            counters: Arc::clone(&self.counters),
            services: Arc::clone(&self.services),
        };
        Ok(BuiltApp {
            state: Arc::new(state),
            sources: SourceMap::new(),
            server: server::ServerSettings {
                cores: std::thread::available_parallelism().map_or(1, usize::from),
                connections: limits.client_connections,
                header_bytes: limits.header_bytes,
                header_read: timeouts.header_read,
                idle: timeouts.idle,
                stall: timeouts.stall,
                drain: timeouts.drain,
            },
            transport: to_upstreams(&timeouts, &limits),
            certificates: certificates(&draft.listeners),
            trust_stores: draft.trust_stores,
            listen: draft.listeners.iter().map(|listener| listener.listen.clone()).collect(),
            listeners: draft.listeners,
            admin: draft.admin,
            log,
            drain_delay: timeouts.drain_delay,
            effective_settings: effective_settings.into(),
            callers: callers.unwrap_or_default().into(),
            caller_sources: Arc::new(caller_sources),
            routes,
            specs: Vec::new(),
        })
    }

    /// Builds the sources, and starts to refresh each of them.
    fn sources(&self, specs: &[NamedSpec], before: Option<&PreviousApp<'_>>) -> SourceMap {
        let running = before
            .map(|before| ConfiguredSources { specs: &before.built.specs, sources: &before.built.sources });
        let rejected = self
            .rejected
            .as_ref()
            .map(|rejected| ConfiguredSources { specs: &rejected.specs, sources: &rejected.sources });
        let previous: Vec<_> = running.into_iter().chain(rejected).collect();
        let sources = rebuild_sources(specs, &previous, &self.services);
        self.refresher.keep(&sources);
        sources
    }

    /// Waits for the first results of the sources, then reads the files of the configuration and
    /// binds its sockets.
    async fn draft(
        &self,
        config: ProxyConfig,
        sources: &SourceMap,
        before: Option<&PreviousApp<'_>>,
    ) -> Result<AppDraft, StartError> {
        let FirstAnswers { bad, unavailable, late } = self.first_answers(sources, before).await;
        if !bad.is_empty() {
            return Err(StartError::Credentials(bad));
        }
        if before.is_none() {
            for source in late {
                warn!(
                    source,
                    "no response from the credentials source yet, still waiting; requests get 503 until it returns credentials"
                );
            }
        } else if !unavailable.is_empty() || !late.is_empty() {
            let failure = "no response yet; still waiting for it".to_owned();
            let late = late.into_iter().map(|name| BadSource { name, failure: failure.clone() });
            // guard: sources-without-credentials
            return Err(StartError::Credentials(unavailable.into_iter().chain(late).collect()));
        }
        let trust_stores = before.map_or_else(Vec::new, |before| before.built.trust_stores.clone());
        let (sockets, fixtures) = (
            BoundSockets::from_previous(before.map(|before| &before.sockets), &config),
            Arc::clone(&self.fixtures),
        );
        let draft = self.lane.run(FILES_LIMIT, move || {
            let mut fixtures = fixtures.lock();
            AppDraft::make(config, &trust_stores, &sockets, &mut fixtures)
        });
        draft.await?
    }

    /// Collects the results that new sources give within a time limit. Existing sources are
    /// skipped: if one fails, the new configuration must not be rejected for that.
    async fn first_answers(&self, sources: &SourceMap, before: Option<&PreviousApp<'_>>) -> FirstAnswers {
        let known = |name: &str, source: &Arc<CredentialSource>| {
            let before = before.and_then(|before| before.built.sources.get(name));
            before.is_some_and(|before| Arc::ptr_eq(before, source))
        };
        let until = Instant::now() + if before.is_some() { RELOAD_WAIT } else { START_WAIT };
        let mut answers = FirstAnswers::default();
        for (name, source) in each(sources).filter(|(name, source)| !known(name, source)) {
            if timeout_at(until, source.answered()).await.is_err() {
                answers.late.push(name.to_owned());
            } else if let Some(error) = source.last_error() {
                answers.sort(name, error);
            }
        }
        answers
    }
}

/// The files read and the sockets bound for a configuration.
struct AppDraft {
    /// The configuration without its listeners.
    config: ProxyConfig,
    trust_stores: Vec<TrustStoreEntry>,
    /// One id for each upstream.
    upstream_trusts: Vec<TrustStoreId>,
    listeners: Vec<ListenerPlan>,
    admin: Option<AdminListener>,
}

impl AppDraft {
    /// Reads files and binds sockets; may block. All problems are reported together.
    fn make(
        mut config: ProxyConfig,
        known: &[TrustStoreEntry],
        sockets: &BoundSockets,
        fixtures: &mut SharedResources,
    ) -> Result<Self, StartError> {
        let SharedResources { inherited, next_trust } = fixtures;
        let mut trust_stores = TrustStores::new(known, next_trust);
        let mut problems = Vec::new();
        let upstream_trusts = upstream_trusts(&config, &mut trust_stores, &mut problems);
        let trust_stores = trust_stores.into_all();
        // They are read again for each fetch of keys.
        let key_set_files = config.key_sets.iter().filter_map(|keys| keys.ca_file.as_ref());
        problems.extend(key_set_files.filter_map(|path| TrustStore::file(path).err()).map(StartError::from));
        let mut listeners = Vec::new();
        for listen in std::mem::take(&mut config.listen) {
            let tls = listen.tls.as_ref().map(TlsFiles::load).transpose();
            let bound = sockets.listen(&listen, inherited);
            match (tls, bound) {
                (Ok(tls), Ok(bound)) => listeners.push(ListenerPlan { listen, tls, bound }),
                (tls, bound) => {
                    problems.extend(tls.err().map(StartError::from));
                    problems.extend(bound.err().map(StartError::from));
                }
            }
        }
        let mut admin = None;
        if let Some(config::AdminConfig { address, settings }) = config.admin.take() {
            match sockets.administer(&address, inherited) {
                Ok(bound) => admin = Some(AdminListener { configured: address, settings, bound }),
                Err(error) => problems.push(error.into()),
            }
        }
        StartError::join(problems)?;
        Ok(Self { config, trust_stores, upstream_trusts, listeners, admin })
    }
}

/// The first results of sources.
#[derive(Default)]
struct FirstAnswers {
    /// Misconfigured sources.
    bad: Vec<BadSource>,
    /// Sources without credentials that may provide them later.
    unavailable: Vec<BadSource>,
    /// Sources that have not responded.
    late: Vec<String>,
}

impl FirstAnswers {
    /// Adds a failed source to its category. A source that is not configured is ignored: it leaves
    /// the proxy running but not ready.
    fn sort(&mut self, name: &str, error: ProvideError) {
        let bad = |failure| BadSource { name: name.to_owned(), failure };
        match error {
            ProvideError::NotConfigured(_) => {}
            ProvideError::Failed(failure) => self.bad.push(bad(failure.to_string())),
            ProvideError::Unavailable(failure) | ProvideError::Refused(failure) => {
                self.unavailable.push(bad(failure));
            }
        }
    }
}

/// Builds a worker for a configuration, without a socket, for a dry run of a request.
pub(crate) fn try_start(
    config: &ProxyConfig,
    sources: &SourceMap,
    clock: Arc<dyn Clock>,
) -> Result<WorkerCore, StartError> {
    let mut next = 0;
    let mut trust_stores = TrustStores::new(&[], &mut next);
    let mut problems = Vec::new();
    let upstream_trusts = upstream_trusts(config, &mut trust_stores, &mut problems);
    StartError::join(problems)?;
    let mut caller_credentials = CallerCredentialSources::new(sources);
    let upstreams = config.upstreams.iter().zip(upstream_trusts).map(|(settings, trust)| UpstreamSigning {
        signature: settings.signature,
        tell_upstream: settings.tell_upstream,
        source: sources.get(&settings.credentials).map(Arc::clone),
        caller_sources: caller_credentials.of_upstream(settings),
        trust,
    });
    let state = ProxyState {
        routing_table: config.routing_table.clone(),
        upstreams: upstreams.collect(),
        limits: RequestLimits {
            requests: config.limits.requests,
            head: config.limits.header_bytes,
            body: config.limits.body,
        },
        callers: ServedCallers::new(
            ServedCallerSettings {
                callers: config.callers.as_deref(),
                limits: config.limits.caller,
                hand_out: config.hand_out.clone(),
                key_sets: FetchedKeySets::new(config.key_sets.clone(), None),
            },
            &ProcessCounters::default(),
            None,
        ),
        passed_on: signers::passed_on(config.listen.iter(), sources),
        access_log: telemetry::AccessLogging::No,
        audit: None,
        number: 0,
        counters: Arc::default(),
        services: Arc::default(),
    };
    let settings = to_upstreams(&config.timeouts, &config.limits);
    Ok(WorkerCore::new(
        Arc::new(state),
        clock,
        UpstreamTransport::new(settings, trust_stores.into_all(), Arc::default()),
    ))
}

/// The results of one fetch from each source.
pub(crate) struct SourceResults {
    /// All sources.
    pub(crate) sources: SourceMap,
    /// Misconfigured sources.
    pub(crate) bad: Vec<BadSource>,
    /// Sources without credentials that may provide them later.
    pub(crate) unavailable: Vec<BadSource>,
}

/// Fetches credentials once from each described source, concurrently up to a limit. A source that
/// does not respond in time counts as unavailable.
pub(crate) async fn ask_all(specs: &[NamedSpec], env: &dyn SourceEnv) -> SourceResults {
    let sources = build_sources(specs, &Arc::default());
    let until = Instant::now() + REFRESH_TIMEOUT;
    let asked = each(&sources).map(|(name, source)| async move {
        let obtained = timeout_at(until, source.obtain(env)).await;
        let late = ProvideError::Unavailable(format!("no response within {REFRESH_TIMEOUT:?}"));
        (name, obtained.map_or(Some(late), Result::err))
    });
    let asked: Vec<_> = stream::iter(asked).buffered(ASKED_AT_ONCE_MAX).collect().await;
    let mut answers = FirstAnswers::default();
    for (name, error) in asked {
        error.into_iter().for_each(|error| answers.sort(name, error));
    }
    let FirstAnswers { bad, unavailable, .. } = answers;
    SourceResults { sources, bad, unavailable }
}

/// Returns the settings of connections to upstreams.
pub(crate) fn to_upstreams(
    timeouts: &TimeoutConfig,
    limits: &config::LimitConfig,
) -> transport::TransportSettings {
    transport::TransportSettings {
        connect: timeouts.connect,
        idle: timeouts.idle,
        first_byte: timeouts.first_byte,
        stall: timeouts.stall,
        connections: limits.upstream_connections,
        dials: limits.upstream_dials,
        queue: timeouts.queue,
    }
}

/// Returns the trust store of each upstream. Reads files, and adds a problem for each file that
/// cannot be used.
fn upstream_trusts(
    config: &ProxyConfig,
    trust_stores: &mut TrustStores<'_>,
    problems: &mut Vec<StartError>,
) -> Vec<TrustStoreId> {
    let mut ids = Vec::with_capacity(config.upstreams.len());
    for (index, settings) in config.upstreams.iter().enumerate() {
        let id = match config.routing_table.get(UpstreamId(index)).endpoint.scheme {
            UrlScheme::Https => trust_stores.get(settings.ca_file.as_ref()).unwrap_or_else(|error| {
                problems.push(error.into());
                NO_TRUST
            }),
            UrlScheme::Http => NO_TRUST,
        };
        ids.push(id);
    }
    ids
}

/// Returns the listener certificates with a known expiry.
fn certificates(listeners: &[ListenerPlan]) -> Vec<ListenerCertificate> {
    let certificate = |listener: &ListenerPlan| {
        let expires = listener.tls.as_ref()?.expires()?;
        Some(ListenerCertificate { listener: listener.listen.address.to_string(), expires })
    };
    listeners.iter().filter_map(certificate).collect()
}

/// The result of a trial start with a configuration.
pub(crate) struct StartTrial {
    /// The error with which a start would fail, if any.
    pub(crate) result: Result<(), StartError>,
    /// Warnings about settings that work now but may fail later or elsewhere.
    pub(crate) warnings: Vec<String>,
}

/// Assembles a configuration as a start does, but without its sources. Binds no socket and creates
/// no file.
pub(crate) async fn try_out(config: ProxyConfig, env: &dyn SourceEnv) -> StartTrial {
    let inherited = ActivatedSockets::from_environment(env.variable("LISTEN_FDNAMES").as_deref());
    let log = config.log.file.clone();
    let audit = config.audit.as_ref().map(|audit| audit.sink.clone());
    let lane = BlockingLane::default();
    let drafted = lane.run(FILES_LIMIT, move || {
        let mut problems = Vec::new();
        if let Some(path) = log
            && let Err(error) = LogFile::probe(&path)
        {
            problems.push(StartError::Log { path, error });
        }
        if let Some(AuditSinkAddress::File(path)) = audit
            && let Err(error) = LogFile::probe(&path)
        {
            problems.push(StartError::Audit { sink: path.display().to_string(), error });
        }
        let sockets = BoundSockets::trial();
        let mut fixtures = SharedResources { inherited, next_trust: 0 };
        let mut expiring = Vec::new();
        match AppDraft::make(config, &[], &sockets, &mut fixtures) {
            Ok(draft) => expiring = certificates(&draft.listeners),
            Err(error) => problems.push(error),
        }
        (StartError::join(problems), expiring, sockets.into_warnings())
    });
    match drafted.await {
        Ok((result, expiring, warnings)) => {
            let now = env.now();
            let expiring = expiring.iter().filter_map(|certificate| certificate.warning(now));
            StartTrial { result, warnings: warnings.into_iter().chain(expiring).collect() }
        }
        Err(timeout) => StartTrial { result: Err(timeout.into()), warnings: Vec::new() },
    }
}

/// The limit on concurrent fetches of a command. Each may be a process or a connection.
const ASKED_AT_ONCE_MAX: usize = 32;
/// The limit on the time in which a command fetches from all sources.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(60);
/// The trust store id of an upstream without TLS.
const NO_TRUST: TrustStoreId = TrustStoreId(usize::MAX);
/// The time that the start waits for the first results of sources. Slower sources continue in the
/// background.
const START_WAIT: Duration = Duration::from_millis(1_500);
/// The time that a reload waits for new sources. If they take longer, the reload is rejected and
/// retried. It is shorter than the timeout of a credentials URI, so that a slow one is reported as
/// slow, and not as failed.
const RELOAD_WAIT: Duration = Duration::from_secs(4);
/// The limit on the time to read the files that a configuration names, and to bind its sockets.
const FILES_LIMIT: Duration = Duration::from_secs(10);
