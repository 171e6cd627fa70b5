//! The proxy, put together from its configuration.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tracing::{error, info, warn};

use crate::address::{Scheme, UpstreamId};
use crate::admin::{self, Health, Reach};
use crate::config::{Config, UpstreamSettings};
use crate::credentials::{Edge, ProvideError, Source, Sources, Spec, Status, each};
use crate::proxy::{Core, Limits, State, Upstream};
use crate::server::{
    self, Accepted, Address, BadTls, BindError, Bound, Drain, Drained, Inherited, Listen, MakeCore, TlsFiles,
};
use crate::telemetry::{Counters, Logged};
use crate::time::{Clock, Timestamp};
use crate::transport::{self, BadRoots, Reachability, Transport, Trust, TrustId};

/// A proxy with its sockets, not yet serving.
pub struct App {
    listeners: Vec<(Bound, Option<TlsAcceptor>)>,
    admin: Option<Bound>,
    state: Arc<State>,
    sources: Vec<Arc<Source>>,
    trusts: Vec<Trust>,
    server: server::Settings,
    transport: transport::Settings,
    edge: Arc<dyn Edge>,
}

/// Why a proxy cannot start. Nothing here can heal while it runs.
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
    name: String,
    failure: String,
}

impl App {
    /// Asks each source once and takes the sockets. The upstream is not asked: it may come later than we do.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn assemble(config: Config, edge: Arc<dyn Edge>) -> Result<Self, StartError> {
        let Asked { sources, bad, unavailable } =
            ask_all(&config.credentials, &*edge, Some(START_WITHIN)).await;
        if !bad.is_empty() {
            return Err(StartError::Credentials(bad));
        }
        for BadSource { name, failure } in unavailable {
            error!(
                source = name,
                error = failure,
                "no credentials: requests are answered 503 until there are"
            );
        }
        let mut trusts = Trusts::default();
        let upstreams = signers(&config, &sources, &mut trusts)?;
        let mut inherited = Inherited::from_environment(edge.variable("LISTEN_FDNAMES").as_deref());
        let mut listeners = Vec::new();
        for listen in &config.listen {
            let tls = listen.tls.as_ref().map(TlsFiles::load).transpose()?;
            let bound = Bound::bind(listen, &mut inherited)?;
            listeners.extend(bound.into_iter().map(|bound| (bound, tls.clone())));
        }
        let admin = match config.admin {
            Some(address) => Bound::bind(&Listen::plain(address), &mut inherited)?.pop(),
            None => None,
        };
        let state = State {
            directory: config.directory,
            upstreams,
            limits: Limits { requests: config.limits.requests, body: config.limits.body },
            access_log: if config.log.access { Logged::Yes } else { Logged::No },
            counters: Counters::default(),
        };
        let timeouts = config.timeouts;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            listeners,
            admin,
            state: Arc::new(state),
            sources: each(&sources).map(|(_, source)| Arc::clone(source)).collect(),
            trusts: trusts.loaded,
            server: server::Settings {
                cores,
                connections: config.limits.client_connections,
                header_bytes: config.limits.header_bytes,
                header_read: timeouts.header_read,
                idle: timeouts.idle,
                stall: timeouts.stall,
                drain: timeouts.drain,
            },
            transport: transport::Settings {
                connect: timeouts.connect,
                idle: timeouts.idle,
                first_byte: timeouts.first_byte,
                stall: timeouts.stall,
                connections: config.limits.upstream_connections,
                dials: config.limits.upstream_dials,
                queue: timeouts.queue,
            },
            edge,
        })
    }

    /// Where clients connect, in the order of the configuration; ports are real ones.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.listeners.iter().map(|(bound, _)| bound.address.clone()).collect()
    }

    /// Where health is asked.
    #[must_use]
    pub fn admin_address(&self) -> Option<Address> {
        self.admin.as_ref().map(|bound| bound.address.clone())
    }

    /// What all cores share, for who wants to look at the counters.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// Serves until `drain` says stop. Must run inside a `LocalSet`.
    ///
    /// # Errors
    /// If the system refuses threads or sockets.
    pub async fn run(self, drain: Drain) -> io::Result<Drained> {
        for source in &self.sources {
            let (source, edge) = (Arc::clone(source), Arc::clone(&self.edge));
            spawn_local(async move { source.follow(&*edge).await });
        }
        let (addresses, admin_address) = (self.addresses(), self.admin_address());
        for address in &addresses {
            info!(address = %address, "listening");
        }
        if let Some(bound) = self.admin {
            info!(address = %bound.address, "admin listening");
            let (state, edge) = (Arc::clone(&self.state), Arc::clone(&self.edge));
            let health = Ready { drain: drain.clone(), sources: self.sources, state, edge };
            spawn_local(serve_admin(bound, Rc::new(health)));
        }
        let ours = addresses.iter().chain(&admin_address).filter_map(Address::socket).collect();
        let reachability = Arc::new(Reachability::new(ours));
        let (state, edge) = (Arc::clone(&self.state), self.edge);
        let (settings, trusts) = (self.transport, self.trusts);
        let make_core: MakeCore = Arc::new(move || {
            let transport = Transport::new(settings, trusts.clone(), Arc::clone(&reachability));
            Core::new(Arc::clone(&state), Arc::clone(&edge) as Arc<dyn Clock>, transport)
        });
        let drained = server::serve(self.listeners, self.server, make_core, drain).await?;
        let [requests, refused, malformed, unframed] = self.state.counters.snapshot().map(|(_, count)| count);
        info!(requests, refused, malformed, unframed, "drained");
        Ok(drained)
    }
}

/// Answers all who ask about health.
async fn serve_admin(bound: Bound, health: Rc<dyn Health>) {
    let each = async |accepted| {
        let health = Rc::clone(&health);
        match accepted {
            Accepted::Tcp(stream) => {
                if let Ok(stream) = TcpStream::from_std(stream) {
                    spawn_local(admin::serve(stream, Reach::ByName, health));
                }
            }
            Accepted::Unix(stream) => {
                if let Ok(stream) = UnixStream::from_std(stream) {
                    spawn_local(admin::serve(stream, Reach::Unnamed, health));
                }
            }
        }
    };
    let Err(error) = bound.accept(each).await;
    error!(%error, "health cannot be asked");
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

/// Asks each source once. One that nobody configured leaves the proxy running and unready; one that does not answer within
/// `limit`, which counts for all of them together, gives nothing yet.
pub(super) async fn ask_all(specs: &[(String, Spec)], edge: &dyn Edge, limit: Option<Duration>) -> Asked {
    let sources = Spec::build_all(specs);
    let until = limit.map(|limit| Instant::now() + limit);
    let (mut bad, mut unavailable) = (Vec::new(), Vec::new());
    for (name, source) in each(&sources) {
        let asked = match until {
            Some(until) => timeout_at(until, source.obtain(edge)).await,
            None => Ok(source.obtain(edge).await),
        };
        let late = || Err(ProvideError::Unavailable("it has not answered yet".to_owned()));
        match asked.unwrap_or_else(|_| late()) {
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
    Asked { sources, bad, unavailable }
}

/// How requests for each upstream are signed, and whom TLS trusts there.
fn signers(config: &Config, sources: &Sources, trusts: &mut Trusts) -> Result<Vec<Upstream>, StartError> {
    let signer = |(index, settings): (usize, &UpstreamSettings)| {
        let name = &settings.credentials;
        let is_nobody = |(known, spec): &(String, Spec)| known == name && matches!(spec, Spec::Anonymous);
        let source = match sources.get(name) {
            Some(source) => Some(Arc::clone(source)),
            None if config.credentials.iter().any(is_nobody) => None,
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

/// How long the start waits for sources; what takes longer goes on in the background.
const START_WITHIN: Duration = Duration::from_millis(1_500);

/// One trust for each certificate file, and one for the host's roots.
#[derive(Default)]
struct Trusts {
    files: Vec<Option<PathBuf>>,
    loaded: Vec<Trust>,
}

impl Trusts {
    fn get(&mut self, file: Option<&PathBuf>) -> Result<TrustId, BadRoots> {
        if let Some(index) = self.files.iter().position(|known| known.as_ref() == file) {
            return Ok(TrustId(index));
        }
        self.loaded.push(match file {
            Some(path) => Trust::file(path)?,
            None => Trust::host()?,
        });
        self.files.push(file.cloned());
        Ok(TrustId(self.loaded.len() - 1))
    }
}

/// What `/readyz` says.
struct Ready {
    drain: Drain,
    sources: Vec<Arc<Source>>,
    state: Arc<State>,
    edge: Arc<dyn Edge>,
}

impl Health for Ready {
    fn ready(&self) -> Result<(), String> {
        if self.drain.is_begun() {
            return Err("draining".to_owned());
        }
        let now = self.edge.now();
        // A source that only assumes a role for another one signs nothing.
        let signs =
            |upstream: &Upstream| upstream.source.as_ref().is_none_or(|source| source.get(now).is_ok());
        if self.state.upstreams.iter().any(signs) {
            return Ok(());
        }
        Err("no source of credentials is usable".to_owned())
    }

    fn sources(&self) -> Vec<Status> {
        self.sources.iter().map(|source| source.status(&*self.edge)).collect()
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        self.state.counters.snapshot().to_vec()
    }

    fn now(&self) -> Timestamp {
        self.edge.now()
    }
}
