//! Checks names, addresses and connections, and names a remedy for each failure.

use std::net::{IpAddr, SocketAddr};

use tokio::net::lookup_host;

use super::super::exit::CommandExit;
use super::fault::FaultKind;
use super::report::Finding;
use crate::address::{EndpointKind, ResolvedEndpoint, UpstreamAddress};
use crate::transport::{CertificateFault, ConnectFailure, DialError, DialPhase, SendError};

/// Resolves the name to dial. Reports loops and public addresses of internal names. The connection
/// shows whether the addresses are reachable.
pub(super) async fn names(
    endpoint: &ResolvedEndpoint,
    upstream: &UpstreamAddress,
    own: &[SocketAddr],
) -> Finding {
    let (name, port) = &endpoint.dial;
    let kind = kind(upstream);
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, lookup_host((name.as_str(), *port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return unresolved(name, &error.to_string(), upstream),
        Err(_) => return unresolved(name, "the DNS server does not respond", upstream),
    };
    let mut ips: Vec<IpAddr> = addresses.iter().map(|address| address.ip().to_canonical()).collect();
    ips.dedup();
    let shown: Vec<String> =
        ips.iter().map(|ip| format!("{ip} ({})", AddressReach::find(*ip).name())).collect();
    let text = format!("{name} ({kind}) resolves to {}", shown.join(", "));
    let is_here = |ip: &IpAddr| ip.is_loopback() || ip.is_unspecified();
    if endpoint.dials_oss_name && ips.iter().any(is_here)
        || addresses.iter().any(|address| own.contains(address))
    {
        return looped(text);
    }
    if upstream.endpoint.is_internal()
        && upstream.connect.is_none()
        && ips.iter().any(|ip| AddressReach::find(*ip) == AddressReach::Public)
    {
        return Finding::warn(
            "dns",
            FaultKind::InternalNamePublicAddress,
            text,
            "an internal endpoint has private addresses; check the DNS configuration of this host",
        );
    }
    Finding::ok("dns", text)
}

/// Interprets a failure to connect or to receive a response.
pub(super) fn unanswered(
    error: &SendError,
    endpoint: &ResolvedEndpoint,
    upstream: &UpstreamAddress,
) -> Finding {
    let fault = match error {
        SendError::Dial(DialError::Unreachable { failure, .. }) => obstructed(*failure, endpoint, upstream),
        SendError::Dial(DialError::Loop { .. }) => return looped(error.to_string()),
        SendError::Invalid(_) if endpoint.scheme == crate::address::UrlScheme::Http => ConnectFault::new(
            FaultKind::NoHttp,
            "the server does not speak plain HTTP; write https:// in `endpoint`, or correct the port",
        ),
        SendError::Reset(_) | SendError::Invalid(_) => ConnectFault::new(
            FaultKind::NoHttp,
            "the server is not OSS, or a proxy in between closes the connection; correct `endpoint` or `connect`",
        ),
        SendError::Stalled(_) => ConnectFault::new(
            FaultKind::NoAnswer,
            "connected, but no response arrived: check the status of OSS and proxies in between; `[timeouts] first_byte` sets the timeout",
        ),
        SendError::Client(_)
        | SendError::TooLarge(_)
        | SendError::ClientStalled(_)
        | SendError::Silent { .. }
        | SendError::Busy { .. } => ConnectFault::new(FaultKind::NoAnswer, "run doctor again"),
    };
    Finding::fail("connect", fault.kind, CommandExit::Unavailable, error.to_string(), fault.remedy)
}

/// The reason why a connection failed.
struct ConnectFault {
    kind: FaultKind,
    remedy: String,
}

impl ConnectFault {
    fn new(kind: FaultKind, remedy: impl Into<String>) -> Self {
        Self { kind, remedy: remedy.into() }
    }
}

fn obstructed(
    failure: ConnectFailure,
    endpoint: &ResolvedEndpoint,
    upstream: &UpstreamAddress,
) -> ConnectFault {
    let at = format!("{}:{}", endpoint.dial.0, endpoint.dial.1);
    let is_public = upstream
        .endpoint
        .oss_endpoint()
        .is_some_and(|oss_endpoint| oss_endpoint.kind() == EndpointKind::Public);
    let internal = if upstream.endpoint.is_internal() {
        "; an internal endpoint is reachable only inside Alibaba Cloud, in the same region: remove `internal` elsewhere"
    } else if is_public {
        "; inside a VPC without internet access, use --internal"
    } else {
        ""
    };
    match failure {
        ConnectFailure::NoAddress | ConnectFailure::Silence(DialPhase::Name) => {
            ConnectFault::new(FaultKind::Unresolved, no_name(&endpoint.dial.0, upstream))
        }
        ConnectFailure::Refused => ConnectFault::new(
            FaultKind::Refused,
            format!(
                "nothing listens at {at}: correct `endpoint` or `connect`, or start the server{internal}"
            ),
        ),
        ConnectFailure::Silence(DialPhase::Connect) => ConnectFault::new(
            FaultKind::Unreachable,
            format!("packets to {at} are dropped: check security groups, firewalls and routes{internal}"),
        ),
        ConnectFailure::Network => ConnectFault::new(
            FaultKind::Unreachable,
            format!("no route to {at}: check the routes of this host{internal}"),
        ),
        ConnectFailure::Silence(DialPhase::Tls) => ConnectFault::new(
            FaultKind::TlsSilent,
            format!(
                "{at} accepts the connection, but not the TLS handshake: write http:// if it does not speak TLS; otherwise something in between drops the handshake"
            ),
        ),
        ConnectFailure::Tls => ConnectFault::new(
            FaultKind::Tls,
            format!(
                "the TLS handshake with {at} failed: write http:// in `endpoint` for a plain port; TLS 1.2 or later is required"
            ),
        ),
        ConnectFailure::Certificate(flaw) => distrusted(flaw, endpoint),
    }
}

fn distrusted(flaw: CertificateFault, endpoint: &ResolvedEndpoint) -> ConnectFault {
    let name = &endpoint.name;
    match flaw {
        CertificateFault::UnknownIssuer => ConnectFault::new(
            FaultKind::UnknownIssuer,
            "the certificate is signed by an unknown authority: set `ca_file` (--ca-file) to the certificate of the authority; if the server should be OSS, a proxy may be intercepting TLS",
        ),
        CertificateFault::WrongName => ConnectFault::new(
            FaultKind::WrongName,
            format!(
                "the certificate is not valid for {name}: correct the name in `endpoint`, and set the address in `connect`"
            ),
        ),
        CertificateFault::Expired => ConnectFault::new(
            FaultKind::CertificateExpired,
            "renew the certificate; if it is that of OSS, the clock of this host is wrong",
        ),
        CertificateFault::NotYetValid => ConnectFault::new(
            FaultKind::CertificateNotYetValid,
            "the clock of this host is behind, or the certificate is not valid yet",
        ),
        CertificateFault::Unusable => {
            ConnectFault::new(FaultKind::CertificateUnusable, "the certificate is malformed; issue a new one")
        }
    }
}

fn unresolved(name: &str, reason: &str, upstream: &UpstreamAddress) -> Finding {
    let text = format!("{name} does not resolve: {reason}");
    Finding::fail("dns", FaultKind::Unresolved, CommandExit::Unavailable, text, no_name(name, upstream))
}

fn no_name(name: &str, upstream: &UpstreamAddress) -> String {
    let which = if upstream.connect.is_some() { "connect" } else { "endpoint" };
    let region = if upstream.endpoint.oss_endpoint().is_some() { "`region`, " } else { "" };
    format!("correct {region}`{which}` or the DNS configuration of this host: the name {name} is unknown")
}

fn looped(text: String) -> Finding {
    Finding::fail(
        "dns",
        FaultKind::Loop,
        CommandExit::Config,
        text,
        "the address is on this host, so requests would loop: set `connect` of the upstream to the real address, or correct the DNS configuration",
    )
}

/// Returns the kind of the endpoint, judged by its name.
fn kind(upstream: &UpstreamAddress) -> &'static str {
    if upstream.connect.is_some() {
        return "`connect`, dialled instead of the endpoint";
    }
    match upstream.endpoint.oss_endpoint().map(|oss_endpoint| oss_endpoint.kind()) {
        Some(EndpointKind::Public | EndpointKind::Legacy) => "public endpoint",
        Some(EndpointKind::Internal | EndpointKind::LegacyInternal | EndpointKind::FirstVpc) => {
            "internal endpoint"
        }
        Some(EndpointKind::DualStack) => "dual-stack endpoint",
        Some(EndpointKind::Accelerate | EndpointKind::AccelerateOverseas) => "accelerated endpoint",
        None => "custom endpoint",
    }
}

/// The network from which an address is reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressReach {
    ThisHost,
    Private,
    Public,
}

impl AddressReach {
    fn find(ip: IpAddr) -> Self {
        let shared = |ip: std::net::Ipv4Addr| ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
        match ip {
            ip if ip.is_loopback() || ip.is_unspecified() => Self::ThisHost,
            IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() || shared(ip) => Self::Private,
            IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Self::Private,
            IpAddr::V4(_) | IpAddr::V6(_) => Self::Public,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ThisHost => "this host",
            Self::Private => "private",
            Self::Public => "public",
        }
    }
}

/// The limit on a name lookup. A slower DNS server counts as unusable.
const LOOKUP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::AddressReach;

    #[test]
    fn an_address_is_of_this_machine_private_or_public() {
        for (address, expected) in [
            ("127.0.0.1", "this host"),
            ("0.0.0.0", "this host"),
            ("::1", "this host"),
            ("10.1.2.3", "private"),
            ("100.64.0.1", "private"),
            ("100.127.255.254", "private"),
            ("fd00::1", "private"),
            ("100.128.0.1", "public"),
            ("118.31.219.1", "public"),
            ("2408::1", "public"),
        ] {
            let reach = AddressReach::find(address.parse().expect("an address"));
            assert_eq!(reach.name(), expected, "{address}");
        }
    }
}
