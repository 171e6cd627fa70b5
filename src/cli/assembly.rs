//! What a configuration comes to: sources of credentials that have been asked, certificates that were read, sockets that are
//! taken. All of it is made before any of it is used, so that a configuration with a mistake changes nothing.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::keeper::SourceKeeper;
use super::sockets::BoundSockets;
use super::trusts::TrustStores;
use crate::address::{UpstreamId, UrlScheme};
use crate::admin::{self, ListenerCertificate};
use crate::config::{self, EffectiveSetting, ProxyConfig, TimeoutConfig, UpstreamSettings};
use crate::credentials::{CredentialSource, ProvideError, ProviderSpec, SourceEnv, SourceMap, each};
use crate::offload::{BlockingLane, BlockingTimeout};
use crate::proxy::{ProxyState, RequestLimits, UpstreamSigning, WorkerCore};
use crate::server::{
    self, ActivatedSockets, BindError, BoundListener, InvalidTls, ListenAddress, ListenerPlan,
    SharedListener, TlsFiles,
};
use crate::telemetry::{self, LogFile, ProcessCounters};
use crate::time::Clock;
use crate::transport::{self, InvalidRoots, TrustStore, TrustStoreId, UpstreamTransport};

/// Why a configuration cannot be used. Nothing here can heal while it stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A certificate file cannot be used.
    #[error(transparent)]
    Roots(#[from] InvalidRoots),
    /// What a listener needs for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] InvalidTls),
    /// Sources of credentials are set up wrongly.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Credentials(Vec<BadSource>),
    /// The files that the configuration names cannot be read in time.
    #[error("the files that the configuration names: {0}")]
    Files(#[from] BlockingTimeout),
    /// The system refuses a thread.
    #[error("no thread for the credentials: {0}")]
    Thread(#[from] io::Error),
    /// An upstream signs with a source that does not exist.
    #[error("an upstream names the credentials {0:?}, which are not configured")]
    NoSource(String),
    /// The file of the log cannot be written.
    #[error("the log cannot be written: {}: {error}", .path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Several of these.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Self>),
}

impl StartError {
    /// Whether the configuration, or what it names, must change.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Bind(error) => error.is_configuration(),
            Self::Several(all) => all.iter().any(Self::is_configuration),
            Self::Thread(_) => false,
            Self::Roots(_)
            | Self::Tls(_)
            | Self::Credentials(_)
            | Self::Files(_)
            | Self::NoSource(_)
            | Self::Log { .. } => true,
        }
    }

    /// Whether all that is wrong are addresses that other processes use.
    pub(super) fn is_in_use(&self) -> bool {
        if let Self::Several(all) = self {
            return all.iter().all(Self::is_in_use);
        }
        matches!(self, Self::Bind(BindError::InUse(_)))
    }

    /// Joins errors into one. The same error is kept once.
    fn join(all: Vec<Self>) -> Result<(), Self> {
        let mut seen = HashSet::new();
        let mut all: Vec<Self> = all.into_iter().filter(|error| seen.insert(error.to_string())).collect();
        match all.pop() {
            None => Ok(()),
            Some(only) if all.is_empty() => Err(only),
            Some(last) => {
                all.push(last);
                Err(Self::Several(all))
            }
        }
    }
}

/// A source of credentials that is set up wrongly.
#[derive(Debug, thiserror::Error)]
#[error("credentials {name:?}: {failure}")]
pub struct BadSource {
    pub(super) name: String,
    pub(super) failure: String,
}

/// What outlives a configuration.
pub(super) struct AppBuilder {
    pub(super) edge: Arc<dyn SourceEnv>,
    pub(super) counters: Arc<ProcessCounters>,
    fixtures: Arc<Mutex<SharedResources>>,
    /// For the files that a configuration names, and the paths at which it listens.
    lane: BlockingLane,
    keeper: SourceKeeper,
    /// The sources of the configuration that was rejected last: it may be tried again, and they have been asked meanwhile.
    rejected: Option<(Vec<(String, ProviderSpec)>, SourceMap)>,
}

/// What changes hands between configurations, used where it may block.
struct SharedResources {
    inherited: ActivatedSockets,
    /// The number of the next trust that is like none before.
    next_trust: usize,
}

/// What a configuration came to.
pub(super) struct BuiltApp {
    pub(super) state: Arc<ProxyState>,
    pub(super) sources: SourceMap,
    pub(super) server: server::ServerSettings,
    pub(super) transport: transport::TransportSettings,
    pub(super) trusts: Vec<(TrustStoreId, TrustStore)>,
    /// Taken when it begins to serve.
    pub(super) listeners: Vec<ListenerPlan>,
    pub(super) admin: Option<AdminListener>,
    pub(super) log: telemetry::LogSettings,
    pub(super) drain_delay: Duration,
    pub(super) facts: Vec<EffectiveSetting>,
    pub(super) routes: Vec<admin::AdminRoute>,
    pub(super) certificates: Vec<ListenerCertificate>,
    specs: Vec<(String, ProviderSpec)>,
}

/// The admin listener of a configuration.
pub(super) struct AdminListener {
    pub(super) configured: ListenAddress,
    pub(super) settings: admin::AdminSettings,
    /// Its socket; none if the one that is there is to go on.
    pub(super) bound: Option<BoundListener>,
}

/// What is in force when another configuration is assembled.
pub(super) struct PreviousApp<'a> {
    pub(super) assembled: &'a BuiltApp,
    /// The sockets that are listened on, each with the address of its listener as configured.
    pub(super) listening: Vec<(ListenAddress, SharedListener)>,
    /// That of the admin listener, in the same way.
    pub(super) admin: Option<(ListenAddress, SharedListener)>,
}

impl AppBuilder {
    pub(super) fn new(edge: Arc<dyn SourceEnv>) -> io::Result<Self> {
        let inherited = ActivatedSockets::from_environment(edge.variable("LISTEN_FDNAMES").as_deref());
        Ok(Self {
            keeper: SourceKeeper::start(Arc::clone(&edge))?,
            edge,
            counters: Arc::default(),
            fixtures: Arc::new(Mutex::new(SharedResources { inherited, next_trust: 0 })),
            lane: BlockingLane::default(),
            rejected: None,
        })
    }

    /// Makes everything that the configuration needs. What `before` has and is described as it was goes on. Sources that are
    /// new are kept if the configuration is rejected, and used when it is tried again.
    pub(super) async fn assemble(
        &mut self,
        mut config: ProxyConfig,
        before: Option<PreviousApp<'_>>,
    ) -> Result<BuiltApp, StartError> {
        let specs = std::mem::take(&mut config.credentials);
        let sources = self.sources(&specs, before.as_ref());
        match self.put_together(config, (&specs, &sources), before.as_ref()).await {
            Ok(assembled) => {
                self.keeper.retain([&sources]);
                self.rejected = None;
                Ok(BuiltApp { sources, specs, ..assembled })
            }
            Err(error) => {
                let running = before.as_ref().map(|before| &before.assembled.sources);
                self.keeper.retain(running.into_iter().chain([&sources]));
                self.rejected = Some((specs, sources));
                Err(error)
            }
        }
    }

    /// All but the sources and their descriptions.
    async fn put_together(
        &self,
        config: ProxyConfig,
        (specs, sources): (&[(String, ProviderSpec)], &SourceMap),
        before: Option<&PreviousApp<'_>>,
    ) -> Result<BuiltApp, StartError> {
        let (config, draft) = self.draft(config, sources, before).await?;
        let ProxyConfig { directory, upstreams, limits, timeouts, log, facts, .. } = config;
        let routes = routes(&directory, &upstreams, sources);
        let upstreams = signers(&upstreams, draft.upstream_trusts, specs, sources)?;
        let state = ProxyState {
            directory,
            upstreams,
            limits: RequestLimits { requests: limits.requests, head: limits.header_bytes, body: limits.body },
            access_log: log.access,
            counters: Arc::clone(&self.counters),
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
            trusts: draft.trusts,
            listeners: draft.listeners,
            admin: draft.admin,
            log,
            drain_delay: timeouts.drain_delay,
            facts,
            routes,
            specs: Vec::new(),
        })
    }

    /// The sources, each of which is being asked from now on.
    fn sources(&self, specs: &[(String, ProviderSpec)], before: Option<&PreviousApp<'_>>) -> SourceMap {
        let running = before.map(|PreviousApp { assembled, .. }| (&assembled.specs[..], &assembled.sources));
        let rejected = self.rejected.as_ref().map(|(specs, sources)| (&specs[..], sources));
        let known: Vec<_> = running.into_iter().chain(rejected).collect();
        let sources = ProviderSpec::build_anew(specs, &known);
        self.keeper.keep(&sources);
        sources
    }

    /// Waits for the first answers of the sources, then reads the files of the configuration and takes its sockets.
    async fn draft(
        &self,
        config: ProxyConfig,
        sources: &SourceMap,
        before: Option<&PreviousApp<'_>>,
    ) -> Result<(ProxyConfig, AppDraft), StartError> {
        let FirstAnswers { bad, unavailable, late } = self.first_answers(sources, before).await;
        if !bad.is_empty() {
            return Err(StartError::Credentials(bad));
        }
        if before.is_none() {
            for source in late {
                warn!(
                    source,
                    "the source has not answered yet and is still being asked; requests are answered 503 until it gives credentials"
                );
            }
        } else if !unavailable.is_empty() || !late.is_empty() {
            let failure = "it has not answered yet; it is still being asked".to_owned();
            let late = late.into_iter().map(|name| BadSource { name, failure: failure.clone() });
            // guard: sources-without-credentials
            return Err(StartError::Credentials(unavailable.into_iter().chain(late).collect()));
        }
        let trusts = before.map_or_else(Vec::new, |before| before.assembled.trusts.clone());
        let (sockets, fixtures) = (BoundSockets::of(before, &config), Arc::clone(&self.fixtures));
        let draft = self.lane.run(FILES_LIMIT, move || {
            let mut fixtures = fixtures.lock().unwrap_or_else(PoisonError::into_inner);
            AppDraft::make(config, &trusts, &sockets, &mut fixtures)
        });
        draft.await?
    }

    /// What new sources have answered within a moment. One that was there before, and is in trouble, is no reason to reject
    /// another configuration.
    async fn first_answers(&self, sources: &SourceMap, before: Option<&PreviousApp<'_>>) -> FirstAnswers {
        let known = |name: &str, source: &Arc<CredentialSource>| {
            let before = before.and_then(|before| before.assembled.sources.get(name));
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

/// What was read and taken for a configuration.
struct AppDraft {
    trusts: Vec<(TrustStoreId, TrustStore)>,
    /// One for each upstream.
    upstream_trusts: Vec<TrustStoreId>,
    listeners: Vec<ListenerPlan>,
    admin: Option<AdminListener>,
}

impl AppDraft {
    /// Reads files and takes sockets, and may block. What cannot be used is reported together.
    fn make(
        mut config: ProxyConfig,
        known: &[(TrustStoreId, TrustStore)],
        sockets: &BoundSockets,
        fixtures: &mut SharedResources,
    ) -> Result<(ProxyConfig, Self), StartError> {
        let SharedResources { inherited, next_trust } = fixtures;
        let mut trusts = TrustStores::new(known, next_trust);
        let mut problems = Vec::new();
        let upstream_trusts = upstream_trusts(&config, &mut trusts, &mut problems);
        let trusts = trusts.into_all();
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
        Ok((config, Self { trusts, upstream_trusts, listeners, admin }))
    }
}

/// What sources have answered to the first question.
#[derive(Default)]
struct FirstAnswers {
    /// Those that are configured wrongly.
    bad: Vec<BadSource>,
    /// Those that give nothing yet, and may later.
    unavailable: Vec<BadSource>,
    /// Those that have not answered.
    late: Vec<String>,
}

impl FirstAnswers {
    /// A source that nobody configured is none of these: it leaves the proxy running and unready.
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

/// A core as the configuration has it, without a socket: for who wants to know what would become of a request.
pub(super) fn try_start(
    config: &ProxyConfig,
    sources: &SourceMap,
    clock: Arc<dyn Clock>,
) -> Result<WorkerCore, StartError> {
    let mut next = 0;
    let mut trusts = TrustStores::new(&[], &mut next);
    let mut problems = Vec::new();
    let upstream_trusts = upstream_trusts(config, &mut trusts, &mut problems);
    StartError::join(problems)?;
    let upstreams = config.upstreams.iter().zip(upstream_trusts);
    let upstream = |(settings, trust): (&UpstreamSettings, TrustStoreId)| UpstreamSigning {
        signature: settings.signature,
        source: sources.get(&settings.credentials).map(Arc::clone),
        trust,
    };
    let state = ProxyState {
        directory: config.directory.clone(),
        upstreams: upstreams.map(upstream).collect(),
        limits: RequestLimits {
            requests: config.limits.requests,
            head: config.limits.header_bytes,
            body: config.limits.body,
        },
        access_log: telemetry::AccessLogging::No,
        counters: Arc::default(),
    };
    let settings = to_upstreams(&config.timeouts, &config.limits);
    Ok(WorkerCore::new(
        Arc::new(state),
        clock,
        UpstreamTransport::new(settings, trusts.into_all(), Arc::default()),
    ))
}

/// What came of asking each source once.
pub(super) struct SourceResults {
    /// All of them.
    pub(super) sources: SourceMap,
    /// Those that are configured wrongly.
    pub(super) bad: Vec<BadSource>,
    /// Those that give nothing yet, and may later.
    pub(super) unavailable: Vec<BadSource>,
}

/// Asks each source that is described once, side by side, as many at once as the limit allows. One that does not answer in time
/// gives nothing yet.
pub(super) async fn ask_all(specs: &[(String, ProviderSpec)], edge: &dyn SourceEnv) -> SourceResults {
    let sources = ProviderSpec::build_all(specs);
    let until = Instant::now() + ASK_LIMIT;
    let asked = each(&sources).map(|(name, source)| async move {
        let obtained = timeout_at(until, source.obtain(edge)).await;
        let late = ProvideError::Unavailable(format!("it has not answered within {ASK_LIMIT:?}"));
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

/// The settings of connections to upstreams.
pub(super) fn to_upstreams(
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

/// Whom TLS trusts at each upstream. Reads files; one that cannot be used is added to the problems.
fn upstream_trusts(
    config: &ProxyConfig,
    trusts: &mut TrustStores<'_>,
    problems: &mut Vec<StartError>,
) -> Vec<TrustStoreId> {
    let mut trust = |(index, settings): (usize, &UpstreamSettings)| match config
        .directory
        .get(UpstreamId(index))
        .endpoint
        .scheme
    {
        UrlScheme::Https => trusts.get(settings.ca_file.as_ref()).unwrap_or_else(|error| {
            problems.push(error.into());
            NO_TRUST
        }),
        UrlScheme::Http => NO_TRUST,
    };
    config.upstreams.iter().enumerate().map(&mut trust).collect()
}

/// The certificates that listeners show, as far as their end is known.
fn certificates(listeners: &[ListenerPlan]) -> Vec<ListenerCertificate> {
    let certificate = |listener: &ListenerPlan| {
        let expires = listener.tls.as_ref()?.expires()?;
        Some(ListenerCertificate { listener: listener.listen.address.to_string(), expires })
    };
    listeners.iter().filter_map(certificate).collect()
}

/// What a start with a configuration would come to.
pub(super) struct StartTrial {
    /// Whether the start would fail.
    pub(super) result: Result<(), StartError>,
    /// What would work now and may not later, or elsewhere.
    pub(super) warnings: Vec<String>,
}

/// Assembles a configuration as a start does, but for its sources, without taking a socket or making a file.
pub(super) async fn try_out(config: ProxyConfig, edge: &dyn SourceEnv) -> StartTrial {
    let inherited = ActivatedSockets::from_environment(edge.variable("LISTEN_FDNAMES").as_deref());
    let log = config.log.file.clone();
    let lane = BlockingLane::default();
    let drafted = lane.run(FILES_LIMIT, move || {
        let mut problems = Vec::new();
        if let Some(path) = log
            && let Err(error) = LogFile::probe(&path)
        {
            problems.push(StartError::Log { path, error });
        }
        let sockets = BoundSockets::trial();
        let mut fixtures = SharedResources { inherited, next_trust: 0 };
        let mut expiring = Vec::new();
        match AppDraft::make(config, &[], &sockets, &mut fixtures) {
            Ok((_, draft)) => expiring = certificates(&draft.listeners),
            Err(error) => problems.push(error),
        }
        (StartError::join(problems), expiring, sockets.into_warnings())
    });
    match drafted.await {
        Ok((result, expiring, warnings)) => {
            let now = edge.now();
            let expiring = expiring.iter().filter_map(|certificate| certificate.warning(now));
            StartTrial { result, warnings: warnings.into_iter().chain(expiring).collect() }
        }
        Err(no_answer) => StartTrial { result: Err(no_answer.into()), warnings: Vec::new() },
    }
}

/// How requests for each upstream are signed.
fn signers(
    settings: &[UpstreamSettings],
    trusts: Vec<TrustStoreId>,
    specs: &[(String, ProviderSpec)],
    sources: &SourceMap,
) -> Result<Vec<UpstreamSigning>, StartError> {
    let anonymous: HashSet<&str> = specs
        .iter()
        .filter(|(_, spec)| matches!(spec, ProviderSpec::Anonymous))
        .map(|(name, _)| name.as_str())
        .collect();
    let signer = |(settings, trust): (&UpstreamSettings, TrustStoreId)| {
        let name = settings.credentials.as_str();
        let source = match sources.get(name) {
            Some(source) => Some(Arc::clone(source)),
            None if anonymous.contains(name) => None,
            None => return Err(StartError::NoSource(name.to_owned())),
        };
        Ok(UpstreamSigning { signature: settings.signature, source, trust })
    };
    settings.iter().zip(trusts).map(signer).collect()
}

fn routes(
    directory: &crate::address::RoutingTable,
    upstreams: &[UpstreamSettings],
    sources: &SourceMap,
) -> Vec<admin::AdminRoute> {
    let route = |(index, settings): (usize, &UpstreamSettings)| {
        let id = UpstreamId(index);
        let upstream = directory.get(id);
        let endpoint = &upstream.endpoint;
        admin::AdminRoute {
            name: id.to_string(),
            wanted: directory.wanted(id).map(ToString::to_string),
            endpoint: format!(
                "{}://{}:{}",
                endpoint.scheme.as_str(),
                endpoint.host.bracketed(),
                endpoint.port
            ),
            region: upstream.region.as_ref().map_or("-", |region| region.as_str()).to_owned(),
            signature: settings.signature.as_str(),
            source: sources.get(&settings.credentials).map(|source| source.name().to_owned()),
        }
    };
    upstreams.iter().enumerate().map(route).collect()
}

/// How many sources a command asks at the same time: each may be a process, or a connection.
const ASKED_AT_ONCE_MAX: usize = 32;
/// How long a command asks all sources.
const ASK_LIMIT: Duration = Duration::from_secs(60);
/// The trust of an upstream without TLS.
const NO_TRUST: TrustStoreId = TrustStoreId(usize::MAX);
/// How long the start waits for the first answers of sources; what takes longer goes on in the background.
const START_WAIT: Duration = Duration::from_millis(1_500);
/// The same for new sources of a reload, which is rejected, and tried again, if they take longer.
const RELOAD_WAIT: Duration = Duration::from_secs(5);
/// How long it may take to read the files that a configuration names, and to take its sockets.
const FILES_LIMIT: Duration = Duration::from_secs(10);
