//! A request that a person asks about: as a listener would get it, through the steps that would serve it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::super::assembly::{self, ask_all, try_start};
use super::super::exit::CommandExit;
use super::super::flags::CommonFlags;
use super::super::output::{complain, line};
use super::super::serve::block_on;
use super::super::system::SystemEnv;
use super::{print, redact};
use crate::address::Host;
use crate::config::ProxyConfig;
use crate::credentials::SourceMap;
use crate::proxy::{self, DryRunReport, ListenerRules};
use crate::server::{ListenAddress, ListenSettings};
use crate::sign::SigningTime;
use crate::time::{Clock as _, Timestamp};

/// What is asked about, as it stands on the command line.
pub(super) struct ExplainedRequest<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a str,
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
}

/// Why nothing can be said of a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExplainError {
    /// The target is none.
    #[error("{0:?} is no URL ({1}); percent-encode what is not a letter, a digit or one of -._~/")]
    Url(String, http::uri::InvalidUri),
    /// What is behind it is never sent.
    #[error("the URL has a #, behind which nothing is sent; write %23 if it is in the key")]
    Fragment,
    /// Nobody could send that.
    #[error("the URL names no host that could stand in a header")]
    Host,
    /// The server would not even take it for HTTP.
    #[error("Content-Length is no number")]
    Length,
    /// There is nowhere to send it to.
    #[error("no listener is configured")]
    NoListener,
    /// A source is set up wrongly, and the proxy would not start.
    #[error(transparent)]
    Source(#[from] assembly::BadSource),
    /// Something else is, and it would not either.
    #[error(transparent)]
    Start(#[from] assembly::StartError),
}

impl ExplainError {
    pub(super) fn exit(&self) -> CommandExit {
        match self {
            Self::Url(..) | Self::Fragment | Self::Host | Self::Length => CommandExit::Usage,
            Self::NoListener | Self::Source(_) | Self::Start(_) => CommandExit::Config,
        }
    }
}

/// A configuration whose sources have been asked.
pub(super) struct ReadyConfig {
    pub(super) config: ProxyConfig,
    sources: SourceMap,
}

pub(super) fn run(asked: &ExplainedRequest<'_>, flags: &CommonFlags) -> CommandExit {
    let config = match flags.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    block_on(async {
        let explained = match ReadyConfig::new(config).await {
            Ok(ready) => ready.explain(asked, SystemEnv.now()).map(|explained| (ready, explained)),
            Err(error) => Err(error),
        };
        match explained {
            Ok((ready, explained)) => {
                print::head(&explained, &ready.config);
                print::outbound(&explained);
                exit(&explained)
            }
            Err(error) => {
                complain(format_args!("nothing to explain: {error}"));
                error.exit()
            }
        }
    })
}

/// How the command ends that has shown this.
pub(super) fn exit(explained: &DryRunReport) -> CommandExit {
    match &explained.refused {
        None => CommandExit::Ok,
        Some(reason) if reason.code == NO_CREDENTIALS && explained.credentials.is_none() => {
            CommandExit::Credentials
        }
        Some(_) => CommandExit::Failure,
    }
}

impl ReadyConfig {
    /// Asks the sources, as the start does.
    pub(super) async fn new(config: ProxyConfig) -> Result<Self, ExplainError> {
        let assembly::SourceResults { sources, bad, .. } = ask_all(&config.credentials, &SystemEnv).await;
        match bad.into_iter().next() {
            Some(bad) => Err(bad.into()),
            None => Ok(Self { config, sources }),
        }
    }

    /// Takes the request through the walk, signed at this time.
    pub(super) fn explain(
        &self,
        asked: &ExplainedRequest<'_>,
        at: Timestamp,
    ) -> Result<DryRunReport, ExplainError> {
        let uri = asked.uri()?;
        let listen = listener(&uri, &self.config.listen).ok_or(ExplainError::NoListener)?;
        let gate = ListenerRules {
            domains: listen.domains.clone(),
            policy: listen.policy.clone(),
            tls: listen.tls.is_some(),
            unnamed: matches!(listen.address, ListenAddress::Unix(_)),
        };
        let address = listen.address.socket().map(connected_to);
        let head = asked.head(uri, listen)?;
        let protocol = if gate.tls { "TLS" } else { "plain HTTP" };
        line(format_args!("{:12}{} {}", "request", asked.method, redact::target(asked.url)));
        line(format_args!("{:12}{} ({protocol})", "listener", listen.address));
        if asked.url.starts_with("https:") && !gate.tls {
            line(format_args!(
                "{:12}for https:// a client opens a tunnel, which cannot be signed; write http://",
                "note"
            ));
        }
        let core = try_start(&self.config, &self.sources, Arc::new(SystemEnv))?;
        Ok(proxy::explain(&core, (&gate, address), head, &SigningTime::new(at)))
    }
}

impl ExplainedRequest<'_> {
    fn uri(&self) -> Result<Uri, ExplainError> {
        if self.url.contains('#') {
            return Err(ExplainError::Fragment);
        }
        self.url.parse().map_err(|error| ExplainError::Url(redact::target(self.url), error))
    }

    /// The head as it comes to the listener. A URL that leads to the listener itself is a path there. Any other is sent as it is,
    /// by a client that takes the listener for its HTTP proxy.
    fn head(&self, uri: Uri, listen: &ListenSettings) -> Result<Parts, ExplainError> {
        let host = match uri.authority() {
            Some(authority) => authority.as_str().to_owned(),
            None => own_host(&listen.address),
        };
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = self.method.clone();
        head.uri = match uri.path_and_query() {
            Some(target) if leads_to(&uri, &listen.address) => Uri::from(target.clone()),
            Some(_) | None => uri,
        };
        for (name, value) in self.headers {
            head.headers.append(name.clone(), value.clone());
        }
        if !head.headers.contains_key(HOST) {
            head.headers.insert(HOST, host.try_into().map_err(|_| ExplainError::Host)?);
        }
        let is_length =
            |value: &HeaderValue| value.to_str().is_ok_and(|text| text.trim().parse::<u64>().is_ok());
        if !head.headers.get_all(CONTENT_LENGTH).iter().all(is_length) {
            return Err(ExplainError::Length);
        }
        Ok(head)
    }
}

/// The listener whose address the URL names, or one of whose domains; else the first that speaks its scheme, else the first.
fn listener<'a>(uri: &Uri, all: &'a [ListenSettings]) -> Option<&'a ListenSettings> {
    let named = uri.authority().map(Authority::as_str);
    let is_named = |listen: &&ListenSettings| {
        listen.address.socket().is_some_and(|address| named == Some(&address.to_string()))
    };
    let speaks = |listen: &&ListenSettings| listen.tls.is_some() == (uri.scheme_str() == Some("https"));
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let is_below = |domain: &String| {
        let front = host.strip_suffix(domain.as_str());
        front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
    };
    let has_domain = |listen: &&ListenSettings| listen.domains.iter().any(is_below) && speaks(listen);
    let by_name = || all.iter().find(is_named).or_else(|| all.iter().find(has_domain));
    let by_url = named.and_then(|_| by_name().or_else(|| all.iter().find(speaks)));
    by_url.or_else(|| all.first())
}

/// Whether a client that asks for this URL connects to the listener: by its path, or by its port at any address.
fn leads_to(uri: &Uri, address: &ListenAddress) -> bool {
    let Some(socket) = address.socket() else { return uri.authority().is_some() };
    let is_own = |authority: &Authority| Host::parse(authority.as_str()).is_ok_and(|(host, _)| host.is_own());
    uri.authority().is_some_and(is_own) && uri.port_u16() == Some(socket.port())
}

/// The address that a client connects to that asks a listener of this machine.
fn connected_to(address: SocketAddr) -> SocketAddr {
    let local: IpAddr =
        if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let ip = if address.ip().is_unspecified() { local } else { address.ip() };
    SocketAddr::new(ip, address.port())
}

/// What a client writes into Host that asks the listener itself.
fn own_host(address: &ListenAddress) -> String {
    match address.socket() {
        Some(address) if !address.ip().is_unspecified() => address.to_string(),
        Some(_) | None => "localhost".to_owned(),
    }
}

pub(super) fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME:VALUE")?;
    let name = name.trim().parse().map_err(|_| "that is no header name".to_owned())?;
    let value = HeaderValue::from_bytes(value.trim().as_bytes());
    Ok((name, value.map_err(|_| "that is no header value".to_owned())?))
}

/// Our code for requests that find nothing to sign with.
const NO_CREDENTIALS: &str = "credentials-unavailable";
