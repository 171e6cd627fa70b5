//! A request as a user describes it on the command line, and the listener that would receive it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::explain::target;
use super::output::line;
use crate::address::Host;
use crate::caller::ConnectionPeer;
use crate::proxy::{AcceptingListener, DryRunRequest, ListenerRules};
use crate::server::{ListenAddress, ListenSettings};

/// A request as a user describes it.
pub(super) struct RequestDescription<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a str,
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
    /// The file with the body.
    pub(super) body: Option<&'a Path>,
}

/// A reason why a described request cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidDescription {
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
    /// The file with the body cannot be read.
    #[error("cannot read the body in {path}: {error}; name a file that this user may read", path = .path.display())]
    Body {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
}

impl RequestDescription<'_> {
    /// Parses the URL.
    ///
    /// # Errors
    /// [`InvalidDescription`] if it is invalid.
    pub(super) fn uri(&self) -> Result<Uri, InvalidDescription> {
        if self.url.contains('#') {
            return Err(InvalidDescription::Fragment);
        }
        self.url.parse().map_err(|error| InvalidDescription::Url(target(self.url), error))
    }

    /// Returns the request as the listener receives it, and prints both.
    ///
    /// # Errors
    /// [`InvalidDescription`], the first part of the description that is invalid.
    pub(super) fn received(
        &self,
        uri: Uri,
        listen: &ListenSettings,
    ) -> Result<DryRunRequest, InvalidDescription> {
        let body = self.body.map(|path| {
            std::fs::read(path).map_err(|error| InvalidDescription::Body { path: path.to_owned(), error })
        });
        let body = body.transpose()?.map(Into::into);
        let head = self.head(uri, listen)?;
        let is_tls = listen.tls.is_some();
        let protocol = if is_tls { "TLS" } else { "plain HTTP" };
        line(format_args!("{:12}{} {}", "request", self.method, target(self.url)));
        let content = if listen.content.is_credentials() { ", for keys" } else { "" };
        line(format_args!("{:12}{} ({protocol}{content})", "listener", listen.address));
        if self.url.starts_with("https:") && !is_tls {
            line(format_args!(
                "{:12}for https:// clients open a tunnel, which cannot be signed; use http://",
                "note"
            ));
        }
        Ok(DryRunRequest { head, body })
    }

    /// Returns the head as the listener receives it. A URL of the listener itself becomes a path.
    /// Any other URL is sent unchanged, by a client that uses the listener as its HTTP proxy.
    pub(super) fn head(&self, uri: Uri, listen: &ListenSettings) -> Result<Parts, InvalidDescription> {
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
            head.headers.insert(HOST, host.try_into().map_err(|_| InvalidDescription::Host)?);
        }
        let is_length =
            |value: &HeaderValue| value.to_str().is_ok_and(|text| text.trim().parse::<u64>().is_ok());
        if !head.headers.get_all(CONTENT_LENGTH).iter().all(is_length) {
            return Err(InvalidDescription::Length);
        }
        Ok(head)
    }
}

/// Returns the listener as a client on this host reaches it.
pub(super) fn accepting(
    listen: &ListenSettings,
    rules: ListenerRules,
    peer: ConnectionPeer,
) -> AcceptingListener {
    let address = listen.address.socket().map(connected_to);
    // A client on this host has the address to which it connects.
    let client = address.map(|address| address.ip());
    AcceptingListener { rules: Rc::new(rules), address, peer: Rc::new(peer), client }
}

/// Returns the rules of a listener.
pub(super) fn rules(listen: &ListenSettings) -> ListenerRules {
    ListenerRules {
        domains: listen.domains.clone(),
        identify: listen.identify,
        content: listen.content.clone(),
        policy: listen.policy.clone(),
        tls: listen.tls.is_some(),
        unnamed: matches!(listen.address, ListenAddress::Unix(_)),
    }
}

/// Returns the listener with the address or one of the domains in the URL. Otherwise returns the
/// first listener for objects with the scheme of the URL, or else the first. A listener for keys is
/// found by its port only.
pub(super) fn listener<'a>(uri: &Uri, all: &'a [ListenSettings]) -> Option<&'a ListenSettings> {
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
