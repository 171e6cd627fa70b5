//! The requested host and the form of the request target. A client that uses this proxy as its HTTP
//! proxy sends an absolute target. Such a target is served only if it names an OSS endpoint, a
//! configured host or this listener.

use http::{HeaderMap, Uri, header};

use super::host::{Host, Port};
use super::locate_error::LocateError;
use super::routing_table::RoutingTable;
use super::served_host::{ListenerNames, ServedHost};

/// The host of a request, with the form of the target.
pub(super) struct AskedHost {
    pub(super) host: Host,
    form: TargetForm,
}

/// The form of a request target.
enum TargetForm {
    /// A path. The host is that of the Host header.
    Origin,
    /// A URL with this port, and the host of the Host header if there is one.
    Absolute(Port, Option<Host>),
}

impl AskedHost {
    /// Reads the authority of an absolute target, or otherwise the only Host header.
    pub(super) fn read(uri: &Uri, headers: &HeaderMap) -> Result<Self, LocateError> {
        // A scan of a few headers is cheaper than hashing the name.
        let mut lines = headers.iter().filter(|(name, _)| **name == header::HOST).map(|(_, value)| value);
        let line = lines.next().map(http::HeaderValue::as_bytes);
        // guard: one-host-header
        if lines.next().is_some() {
            return Err(LocateError::Malformed("the request has more than one Host header"));
        }
        match (uri.authority(), line) {
            (Some(authority), line) => {
                let (host, port) = parse(authority.as_str().as_bytes())?;
                let beside = line.filter(|line| !line.is_empty()).map(parse).transpose()?;
                Ok(Self { host, form: TargetForm::Absolute(port, beside.map(|(host, _)| host)) })
            }
            (None, Some(line)) => Ok(Self { host: parse(line)?.0, form: TargetForm::Origin }),
            (None, None) => Err(LocateError::Malformed("the request has no Host header")),
        }
    }

    /// Interprets the host for a listener. Returns an error if the listener does not serve it.
    pub(super) fn served(
        &self,
        listener: ListenerNames<'_>,
        table: &RoutingTable,
    ) -> Result<ServedHost<'_>, LocateError> {
        let host = &self.host;
        let TargetForm::Absolute(port, beside) = &self.form else {
            return ServedHost::interpret(host, listener, table);
        };
        // A listener without a name accepts any name, but only in a Host header.
        let by_name = ListenerNames { unnamed: false, ..listener };
        // guard: target-and-host-agree
        if let Some(other) = beside
            && other != host
            && !other.is_own()
            && ServedHost::interpret(other, by_name, table).is_ok()
        {
            return Err(LocateError::TwoHosts(host.as_str().to_owned(), other.as_str().to_owned()));
        }
        let not_forwarded = || LocateError::NotForwarded(host.as_str().to_owned());
        let mut served = ServedHost::interpret(host, by_name, table).map_err(|error| {
            if matches!(error, LocateError::OtherService(..)) { error } else { not_forwarded() }
        })?;
        // guard: absolute-target
        if !host.is_own() || table.has_exact_host(host) || is_listener(host, *port, listener) {
            return Ok(served);
        }
        served.upstream = Some(table.endpoint_at(host, *port).ok_or_else(not_forwarded)?);
        Ok(served)
    }
}

/// Returns whether an address or `localhost`, with this port, is the address that the client
/// connected to.
fn is_listener(host: &Host, port: Port, listener: ListenerNames<'_>) -> bool {
    let Some(address) = listener.address else { return false };
    let port = match port {
        Port::Implied => listener.scheme.default_port(),
        Port::Given(port) => port,
    };
    let ours = address.ip().to_canonical();
    let is_address = match host.address() {
        Some(asked) => asked.to_canonical() == ours,
        None => ours.is_loopback(),
    };
    is_address && port == address.port()
}

/// Parses a host. An error quotes the invalid text, except where it may contain a password.
fn parse(text: &[u8]) -> Result<(Host, Port), LocateError> {
    let unreadable = |reason| {
        if text.is_empty() || text.contains(&b'@') {
            return LocateError::Malformed(reason);
        }
        let shown = String::from_utf8_lossy(text).chars().take(QUOTED_CHARACTERS_MAX).collect();
        if text.contains(&b'/') { LocateError::HostWithPath(shown) } else { LocateError::Host(shown, reason) }
    };
    let name = std::str::from_utf8(text).map_err(|_| unreadable("the host is not a name or an address"))?;
    Host::parse(name).map_err(unreadable)
}

/// The maximum number of characters that an error quotes from an invalid host.
const QUOTED_CHARACTERS_MAX: usize = 200;
