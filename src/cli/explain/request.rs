//! Explains a request that a user describes: as a listener would receive it, through the steps that
//! would serve it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use super::super::exit::CommandExit;
use super::super::flags::CommonFlags;
use super::super::output::{complain, line};
use super::super::serve::block_on;
use super::client::{self, InvalidClientCertificate};
use super::{print, redact};
use crate::address::Host;
use crate::app::build::{self, ask_all, try_start};
use crate::app::system_env::SystemEnv;
use crate::config::ProxyConfig;
use crate::credentials::SourceMap;
use crate::proxy::{self, AcceptingListener, DryRunReport, ListenerRules};
use crate::server::{ListenAddress, ListenSettings};
use crate::sign::SigningTime;
use crate::telemetry::RejectionCode;
use crate::time::{Clock as _, Timestamp};

/// The request to explain, as given on the command line.
pub(super) struct ExplainedRequest<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a str,
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
    /// The file with the certificate of the client.
    pub(super) certificate: Option<&'a Path>,
}

/// A reason why a request cannot be explained.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExplainError {
    /// The URL is invalid.
    #[error("{0:?} is not a valid URL ({1}); percent-encode all characters but letters, digits and -._~/")]
    Url(String, http::uri::InvalidUri),
    /// The URL has a fragment, which is never sent.
    #[error("the URL has a fragment (#), which is never sent; write %23 if the # is part of the key")]
    Fragment,
    /// The host cannot be sent in a header.
    #[error("the host of the URL cannot be sent in a header")]
    Host,
    /// The length is invalid, and the server would not accept the request as HTTP.
    #[error("Content-Length is not a number")]
    Length,
    /// The certificate of the client cannot be read.
    #[error(transparent)]
    Certificate(#[from] InvalidClientCertificate),
    /// There is no listener to send the request to.
    #[error("no listener is configured")]
    NoListener,
    /// A source is misconfigured, so the proxy would not start.
    #[error(transparent)]
    Source(#[from] crate::app::BadSource),
    /// Another error prevents the start of the proxy.
    #[error(transparent)]
    Start(#[from] crate::app::StartError),
}

impl ExplainError {
    pub(super) fn exit(&self) -> CommandExit {
        match self {
            Self::Url(..) | Self::Fragment | Self::Host | Self::Length | Self::Certificate(_) => {
                CommandExit::Usage
            }
            Self::NoListener | Self::Source(_) | Self::Start(_) => CommandExit::Config,
        }
    }
}

/// A configuration whose sources have been queried.
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
        show(asked, config).await.unwrap_or_else(|error| {
            complain(format_args!("cannot explain: {error}"));
            error.exit()
        })
    })
}

/// Explains a request and prints the report.
async fn show(asked: &ExplainedRequest<'_>, config: ProxyConfig) -> Result<CommandExit, ExplainError> {
    let ready = ReadyConfig::new(config).await?;
    let explained = ready.explain(asked, SystemEnv.now()).await?;
    print::head(&explained, &ready.config);
    print::outbound(&explained);
    Ok(exit(&explained))
}

/// Returns the exit code of a command that has printed this report.
pub(super) fn exit(explained: &DryRunReport) -> CommandExit {
    match &explained.refused {
        None => CommandExit::Ok,
        Some(reason)
            if reason.code == RejectionCode::CredentialsUnavailable && explained.credentials.is_none() =>
        {
            CommandExit::Credentials
        }
        Some(_) => CommandExit::Failure,
    }
}

impl ReadyConfig {
    /// Queries the sources, as the start does.
    pub(super) async fn new(config: ProxyConfig) -> Result<Self, ExplainError> {
        let build::SourceResults { sources, bad, .. } = ask_all(&config.credentials, &SystemEnv).await;
        match bad.into_iter().next() {
            Some(bad) => Err(bad.into()),
            None => Ok(Self { config, sources }),
        }
    }

    /// Returns the headers of the request, as a listener receives them.
    pub(super) fn headers(&self, asked: &ExplainedRequest<'_>) -> Result<HeaderMap, ExplainError> {
        let uri = asked.uri()?;
        let listen = listener(&uri, &self.config.listen).ok_or(ExplainError::NoListener)?;
        Ok(asked.head(uri, listen)?.headers)
    }

    /// Runs the request through all steps, signed at this time.
    pub(super) async fn explain(
        &self,
        asked: &ExplainedRequest<'_>,
        at: Timestamp,
    ) -> Result<DryRunReport, ExplainError> {
        let uri = asked.uri()?;
        let listen = listener(&uri, &self.config.listen).ok_or(ExplainError::NoListener)?;
        let rules = ListenerRules {
            domains: listen.domains.clone(),
            identify: listen.identify,
            content: listen.content.clone(),
            policy: listen.policy.clone(),
            tls: listen.tls.is_some(),
            unnamed: matches!(listen.address, ListenAddress::Unix(_)),
        };
        let head = asked.head(uri, listen)?;
        let protocol = if rules.tls { "TLS" } else { "plain HTTP" };
        line(format_args!("{:12}{} {}", "request", asked.method, redact::target(asked.url)));
        let content = if rules.content.is_credentials() { ", for keys" } else { "" };
        line(format_args!("{:12}{} ({protocol}{content})", "listener", listen.address));
        if asked.url.starts_with("https:") && !rules.tls {
            line(format_args!(
                "{:12}for https:// clients open a tunnel, which cannot be signed; use http://",
                "note"
            ));
        }
        let core = try_start(&self.config, &self.sources, Arc::new(SystemEnv))?;
        if listen.identify.jwt {
            core.state().callers.key_sets.fetch().await;
        }
        let address = listen.address.socket().map(connected_to);
        let peer = client::peer(asked.certificate, &rules)?;
        // A client on this host has the address to which it connects.
        let client = address.map(|address| address.ip());
        let listener = AcceptingListener { rules: Rc::new(rules), address, peer: Rc::new(peer), client };
        Ok(proxy::explain(&core, &listener, head, &Rc::new(SigningTime::new(at))).await)
    }
}

impl ExplainedRequest<'_> {
    fn uri(&self) -> Result<Uri, ExplainError> {
        if self.url.contains('#') {
            return Err(ExplainError::Fragment);
        }
        self.url.parse().map_err(|error| ExplainError::Url(redact::target(self.url), error))
    }

    /// Returns the head as the listener receives it. A URL of the listener itself becomes a path.
    /// Any other URL is sent unchanged, by a client that uses the listener as its HTTP proxy.
    fn head(&self, uri: Uri, listen: &ListenSettings) -> Result<Parts, ExplainError> {
        let host = match uri.authority() {
            Some(authority) => authority.as_str().to_owned(),
            None => own_host(&listen.address),
        };
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = self.method.clone();
        head.uri = match uri.path_and_query() {
            Some(target) if leads_to(&uri, &listen.address) || listen.content.is_credentials() => {
                Uri::from(target.clone())
            }
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

/// Returns the listener with the address or one of the domains in the URL. Otherwise returns the
/// first listener for objects with the scheme of the URL, or else the first. A listener for keys is
/// found by its port only.
fn listener<'a>(uri: &Uri, all: &'a [ListenSettings]) -> Option<&'a ListenSettings> {
    if let Some(listen) = all.iter().find(|listen| listen.content.is_credentials() && is_for(uri, listen)) {
        return Some(listen);
    }
    let all = || all.iter().filter(|listen| !listen.content.is_credentials());
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
    let by_name = || all().find(is_named).or_else(|| all().find(has_domain));
    let by_url = named.and_then(|_| by_name().or_else(|| all().find(speaks)));
    by_url.or_else(|| all().next())
}

/// Returns whether a URL has the port of the listener, and this host or one of its domains.
fn is_for(uri: &Uri, listen: &ListenSettings) -> bool {
    let implied = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(implied);
    let is_served = |authority: &Authority| {
        let host = authority.host();
        let is_own = Host::parse(host).is_ok_and(|(host, _)| host.is_own());
        is_own || listen.domains.iter().any(|domain| domain.eq_ignore_ascii_case(host))
    };
    listen.address.socket().is_some_and(|address| address.port() == port)
        && uri.authority().is_some_and(is_served)
}

/// Returns whether a client with this URL connects to the listener: by its path, or by its port at
/// any address.
fn leads_to(uri: &Uri, address: &ListenAddress) -> bool {
    let Some(socket) = address.socket() else { return uri.authority().is_some() };
    let is_own = |authority: &Authority| Host::parse(authority.as_str()).is_ok_and(|(host, _)| host.is_own());
    uri.authority().is_some_and(is_own) && uri.port_u16() == Some(socket.port())
}

/// Returns the address that a client on this machine connects to for a listener.
fn connected_to(address: SocketAddr) -> SocketAddr {
    let local: IpAddr =
        if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let ip = if address.ip().is_unspecified() { local } else { address.ip() };
    SocketAddr::new(ip, address.port())
}

/// Returns the `Host` that a client sends to address the listener itself.
fn own_host(address: &ListenAddress) -> String {
    match address.socket() {
        Some(address) if !address.ip().is_unspecified() => address.to_string(),
        Some(_) | None => "localhost".to_owned(),
    }
}

pub(super) fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME:VALUE")?;
    let name = name.trim().parse().map_err(|_| "invalid header name".to_owned())?;
    let value = HeaderValue::from_bytes(value.trim().as_bytes());
    Ok((name, value.map_err(|_| "invalid header value".to_owned())?))
}
