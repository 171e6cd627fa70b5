//! What a configuration comes to: sources of credentials that have been asked, certificates that were read, sockets that are
//! taken. All of it is made before any of it is used, so that a configuration with a mistake changes nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use super::sockets::Sockets;
use super::trusts::Trusts;
use crate::address::{Scheme, UpstreamId};
use crate::admin;
use crate::config::{self, Config, Fact, Timeouts, UpstreamSettings};
use crate::credentials::{Edge, ProvideError, Source, Sources, Spec, each};
use crate::proxy::{Core, Limits, State, Upstream};
use crate::server::{self, Address, BadTls, BindError, Bound, Held, Inherited, Listen, Listener, TlsFiles};
use crate::telemetry::{self, Counters};
use crate::time::Clock;
use crate::transport::{self, BadRoots, Transport, Trust, TrustId};

/// Why a configuration cannot be used. Nothing here can heal while it stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A certificate file cannot be used.
    #[error(transparent)]
    Roots(#[from] BadRoots),
    /// What a listener needs for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] BadTls),
    /// Sources of credentials are set up wrongly.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Credentials(Vec<BadSource>),
    /// An upstream signs with a source that does not exist.
    #[error("an upstream names the credentials {0:?}, which are not configured")]
    NoSource(String),
}

/// A source of credentials that is set up wrongly.
#[derive(Debug, thiserror::Error)]
#[error("credentials {name:?}: {failure}")]
pub struct BadSource {
    pub(super) name: String,
    pub(super) failure: String,
}

/// What outlives a configuration.
pub(super) struct Workshop {
    pub(super) edge: Arc<dyn Edge>,
    pub(super) counters: Arc<Counters>,
    inherited: Inherited,
    /// The number of the next trust that is like none before.
    next_trust: usize,
}

/// What a configuration came to.
pub(super) struct Assembled {
    pub(super) state: Arc<State>,
    pub(super) sources: Sources,
    pub(super) server: server::Settings,
    pub(super) transport: transport::Settings,
    pub(super) trusts: Vec<(TrustId, Trust)>,
    /// Taken when it begins to serve.
    pub(super) listeners: Vec<Listener>,
    pub(super) admin: Option<Admin>,
    pub(super) log: telemetry::Settings,
    pub(super) drain_delay: Duration,
    pub(super) facts: Vec<Fact>,
    pub(super) routes: Vec<admin::Route>,
    specs: Vec<(String, Spec)>,
}

/// The admin listener of a configuration.
pub(super) struct Admin {
    pub(super) configured: Address,
    pub(super) settings: admin::Settings,
    /// Its socket; none if the one that is there is to go on.
    pub(super) bound: Option<Bound>,
}

/// What is in force when another configuration is assembled.
pub(super) struct Before<'a> {
    pub(super) assembled: &'a Assembled,
    /// The sockets that are listened on, each with the address of its listener as configured.
    pub(super) listening: Vec<(Address, Held)>,
    /// That of the admin listener, in the same way.
    pub(super) admin: Option<(Address, Held)>,
}

impl Workshop {
    pub(super) fn new(edge: Arc<dyn Edge>) -> Self {
        let inherited = Inherited::from_environment(edge.variable("LISTEN_FDNAMES").as_deref());
        Self { edge, counters: Arc::default(), inherited, next_trust: 0 }
    }

    /// Makes everything that the configuration needs. What `before` has and is described as it was goes on.
    pub(super) async fn assemble(
        &mut self,
        config: Config,
        before: Option<Before<'_>>,
    ) -> Result<Assembled, StartError> {
        let sources = self.sources(&config, before.as_ref()).await?;
        let known = before.as_ref().map_or(&[][..], |before| &before.assembled.trusts);
        let mut trusts = Trusts::new(known, &mut self.next_trust);
        let upstreams = signers(&config, &sources, &mut trusts)?;
        let trusts = trusts.into_all();
        let sockets = Sockets::of(before.as_ref(), &config);
        let listeners = self.listeners(config.listen, &sockets)?;
        let admin = config.admin.map(|admin| self.admin(admin, &sockets)).transpose()?;
        let routes = routes(&config.directory, &config.upstreams, &sources);
        let state = State {
            directory: config.directory,
            upstreams,
            limits: Limits { requests: config.limits.requests, body: config.limits.body },
            access_log: config.log.access,
            counters: Arc::clone(&self.counters),
        };
        let timeouts = config.timeouts;
        Ok(Assembled {
            state: Arc::new(state),
            sources,
            server: server::Settings {
                cores: std::thread::available_parallelism().map_or(1, usize::from),
                connections: config.limits.client_connections,
                header_bytes: config.limits.header_bytes,
                header_read: timeouts.header_read,
                idle: timeouts.idle,
                stall: timeouts.stall,
                drain: timeouts.drain,
            },
            transport: to_upstreams(&timeouts, &config.limits),
            trusts,
            listeners,
            admin,
            log: config.log,
            drain_delay: timeouts.drain_delay,
            facts: config.facts,
            routes,
            specs: config.credentials,
        })
    }

    /// The sources, each of which has been asked.
    async fn sources(&self, config: &Config, before: Option<&Before<'_>>) -> Result<Sources, StartError> {
        let Some(Before { assembled, .. }) = before else {
            let sources = Spec::build_all(&config.credentials);
            for BadSource { name, failure } in self.ask(&sources).await? {
                error!(
                    source = name,
                    error = failure,
                    "no credentials: requests are answered 503 until there are"
                );
            }
            return Ok(sources);
        };
        let sources = Spec::build_anew(&config.credentials, (&assembled.specs, &assembled.sources));
        // One that was there before, and is in trouble, is no reason to refuse another configuration.
        let is_new = |(name, source): &(&String, &Arc<Source>)| {
            !assembled.sources.get(*name).is_some_and(|before| Arc::ptr_eq(before, source))
        };
        let fresh = sources.iter().filter(is_new).map(|(name, source)| (name.clone(), Arc::clone(source)));
        let bad = self.ask(&fresh.collect()).await?;
        if bad.is_empty() { Ok(sources) } else { Err(StartError::Credentials(bad)) }
    }

    /// Asks each source once; those that give nothing yet are returned, those that are configured wrongly are all told.
    async fn ask(&self, sources: &Sources) -> Result<Vec<BadSource>, StartError> {
        let (bad, unavailable) = ask(sources, &*self.edge, Some(START_WITHIN)).await;
        if bad.is_empty() { Ok(unavailable) } else { Err(StartError::Credentials(bad)) }
    }

    /// The listeners, with the sockets that they do not have yet.
    fn listeners(&mut self, listen: Vec<Listen>, sockets: &Sockets) -> Result<Vec<Listener>, StartError> {
        let mut listeners = Vec::new();
        for listen in listen {
            let tls = listen.tls.as_ref().map(TlsFiles::load).transpose()?;
            let bound = sockets.listen(&listen, &mut self.inherited)?;
            listeners.push(Listener { listen, tls, bound });
        }
        Ok(listeners)
    }

    fn admin(&mut self, admin: config::Admin, sockets: &Sockets) -> Result<Admin, StartError> {
        let bound = sockets.administer(&admin.address, &mut self.inherited)?;
        Ok(Admin { configured: admin.address, settings: admin.settings, bound })
    }
}

/// A core as the configuration has it, without a socket: for who wants to know what would become of a request.
pub(super) fn rehearse(
    config: &Config,
    sources: &Sources,
    clock: Arc<dyn Clock>,
) -> Result<Core, StartError> {
    let mut next = 0;
    let mut trusts = Trusts::new(&[], &mut next);
    let state = State {
        directory: config.directory.clone(),
        upstreams: signers(config, sources, &mut trusts)?,
        limits: Limits { requests: config.limits.requests, body: config.limits.body },
        access_log: telemetry::Logged::No,
        counters: Arc::default(),
    };
    let settings = to_upstreams(&config.timeouts, &config.limits);
    Ok(Core::new(Arc::new(state), clock, Transport::new(settings, trusts.into_all(), Arc::default())))
}

/// What came of asking each source once.
pub(super) struct Asked {
    /// All of them.
    pub(super) sources: Sources,
    /// Those that are configured wrongly.
    pub(super) bad: Vec<BadSource>,
    /// Those that give nothing yet, and may later.
    pub(super) unavailable: Vec<BadSource>,
}

/// Asks each source that is described once. One that does not answer within `limit`, which counts for all of them together, gives
/// nothing yet.
pub(super) async fn ask_all(specs: &[(String, Spec)], edge: &dyn Edge, limit: Option<Duration>) -> Asked {
    let sources = Spec::build_all(specs);
    let (bad, unavailable) = ask(&sources, edge, limit).await;
    Asked { sources, bad, unavailable }
}

/// Asks each of these once. Returns those that are configured wrongly, and those that give nothing yet. One that nobody configured
/// is neither: it leaves the proxy running and unready.
async fn ask(
    sources: &Sources,
    edge: &dyn Edge,
    limit: Option<Duration>,
) -> (Vec<BadSource>, Vec<BadSource>) {
    let until = limit.map(|limit| Instant::now() + limit);
    let (mut bad, mut unavailable) = (Vec::new(), Vec::new());
    for (name, source) in each(sources) {
        let known = source.get(edge.now()).is_ok();
        let asked = match until {
            Some(until) => timeout_at(until, source.obtain(edge)).await,
            None => Ok(source.obtain(edge).await),
        };
        let late = || Err(ProvideError::Unavailable("it has not answered yet".to_owned()));
        match asked.unwrap_or_else(|_| late()) {
            Ok(_) if known => {}
            Ok(credentials) => info!(source = name, provider = &*credentials.provider, "credentials"),
            Err(ProvideError::NotConfigured(reason)) => warn!(
                source = name,
                reason,
                "no credentials: requests are answered 503; set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or configure [credentials], and start again"
            ),
            Err(ProvideError::Failed(failure)) => {
                bad.push(BadSource { name: name.to_owned(), failure: failure.to_string() });
            }
            Err(ProvideError::Unavailable(failure) | ProvideError::Refused(failure)) => {
                unavailable.push(BadSource { name: name.to_owned(), failure });
            }
        }
    }
    (bad, unavailable)
}

/// The settings of connections to upstreams.
pub(super) fn to_upstreams(timeouts: &Timeouts, limits: &config::Limits) -> transport::Settings {
    transport::Settings {
        connect: timeouts.connect,
        idle: timeouts.idle,
        first_byte: timeouts.first_byte,
        stall: timeouts.stall,
        connections: limits.upstream_connections,
        dials: limits.upstream_dials,
        queue: timeouts.queue,
    }
}

/// How requests for each upstream are signed, and whom TLS trusts there.
fn signers(config: &Config, sources: &Sources, trusts: &mut Trusts<'_>) -> Result<Vec<Upstream>, StartError> {
    let anonymous = config.credentials.iter().filter(|(_, spec)| matches!(spec, Spec::Anonymous));
    let anonymous: HashSet<&str> = anonymous.map(|(name, _)| name.as_str()).collect();
    let signer = |(index, settings): (usize, &UpstreamSettings)| {
        let name = &settings.credentials;
        let source: Option<Arc<Source>> = match sources.get(name) {
            Some(source) => Some(Arc::clone(source)),
            None if anonymous.contains(name.as_str()) => None,
            None => return Err(StartError::NoSource(name.clone())),
        };
        let trust = match config.directory.get(UpstreamId(index)).endpoint.scheme {
            Scheme::Https => trusts.get(settings.ca_file.as_ref())?,
            Scheme::Http => TrustId(usize::MAX),
        };
        Ok(Upstream { signature: settings.signature, source, trust })
    };
    config.upstreams.iter().enumerate().map(signer).collect()
}

fn routes(
    directory: &crate::address::Directory,
    upstreams: &[UpstreamSettings],
    sources: &Sources,
) -> Vec<admin::Route> {
    let route = |(index, settings): (usize, &UpstreamSettings)| {
        let id = UpstreamId(index);
        let upstream = directory.get(id);
        let endpoint = &upstream.endpoint;
        admin::Route {
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

/// How long the start waits for sources; what takes longer goes on in the background.
const START_WITHIN: Duration = Duration::from_millis(1_500);
