//! `[[listen]]` and `[admin]`: listeners and the requests that they accept.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::admin_config::AdminConfig;
use super::callers::ServedClients;
use super::credentials::SecretResolver;
use super::diagnostics::ConfigReport;
use super::error::{ConfigErrorKind, ConfigWarning};
use super::hand_out::HandOutSection;
use super::origin::{SpannedValue, ValueOrigin};
use super::proxy_protocol;
use super::section::{ConfigSection, parsed};
use super::settings::{ADMIN, LISTEN, TLS};
use crate::address::{Endpoint, Host, Port};
use crate::admin::{self, ReadinessRule};
use crate::caller::IdentityKinds;
use crate::policy::{AccessPolicy, AllowedOperations, CrossSiteReads, UnsignedForms};
use crate::server::{ListenAddress, ListenSettings, TlsFiles};

/// The listeners of the file, and its admin interface unless that is off.
pub(super) struct ListenSections {
    pub(super) listen: Vec<ListenSettings>,
    pub(super) admin: Option<AdminConfig>,
}

/// Returns the sections of the listeners: at least one, and only one if its address is replaced.
fn sections<'a>(root: &ConfigSection<'a>, report: &mut ConfigReport) -> Vec<ConfigSection<'a>> {
    let mut sections = match root.alone("listen") {
        Some(section) => vec![section],
        None => root.children("listen", report),
    };
    if sections.is_empty() {
        sections.push(root.absent("listen"));
    }
    let replaced = sections[0].at("address");
    if sections.len() > 1 && !matches!(replaced, ValueOrigin::File { .. }) {
        report.error(&replaced, ConfigErrorKind::WhichListener(sections.len()));
        // All of them would have this address.
        for section in sections.drain(1..) {
            section.check(&LISTEN, report);
        }
    }
    sections
}

/// Reads the listeners, which serve these clients, and the admin interface.
pub(super) fn read(
    root: &ConfigSection<'_>,
    clients: ServedClients,
    hand_out: &HandOutSection,
    secrets: &SecretResolver<'_>,
    report: &mut ConfigReport,
) -> ListenSections {
    let sections = sections(root, report);
    let mut claimed = ClaimedAddresses(Vec::new());
    let mut listeners = Vec::new();
    for section in &sections {
        section.check(&LISTEN, report);
        let unsafe_open = section.is_true("unsafe_open", report);
        let address = address(section, unsafe_open, clients, report);
        let identify = identify(section, clients, report);
        let content = hand_out.content(section, identify, clients, report);
        let policy = policy(section, identify, report);
        let domains = section.texts("domains", report);
        let domains = domains.iter().filter_map(|given| parsed(given, domain, report));
        let domains = domains.map(|given| given.value).collect();
        let tls = tls(section, secrets, report);
        let unsafe_plain = section.is_true("unsafe_plain", report);
        if identify.certificate && tls.as_ref().is_none_or(|tls| tls.client_ca_file.is_none()) {
            report.error(&section.at("identify"), ConfigErrorKind::NoClientCa);
        }
        let trusted_proxies =
            proxy_protocol::trusted_proxies(section, address.as_ref().map(|given| &given.value), report);
        let Some(address) = address else { continue };
        if identify.uid && address.value.socket().is_some() {
            report.error(&section.at("identify"), ConfigErrorKind::UidBeyondUnix);
        }
        claimed.claim(&address, "a listener", report);
        let accepts_handed_out = identify.key && hand_out.keys.is_some();
        if let Some(socket) = address.value.socket()
            && !is_local(section, socket)
            && tls.is_none()
            && !unsafe_plain
        {
            if identify.accepts_bearer() {
                report.error(&address.at, ConfigErrorKind::PlainTokens(socket));
            } else if content.is_credentials() || accepts_handed_out {
                report.error(&address.at, ConfigErrorKind::PlainKeys(socket));
            }
        }
        listeners.push(ListenSettings {
            address: address.value,
            number: 0,
            is_open: clients.includes_unidentified(),
            unsafe_open,
            unsafe_plain,
            identify,
            accepts_handed_out,
            content,
            domains,
            policy,
            tls,
            trusted_proxies,
        });
    }
    if root.alone("listen").is_some() {
        listeners.extend(hand_out.local_listener());
    }
    let section = root.alone("admin").unwrap_or_else(|| root.child("admin", report));
    let admin = admin(&section, secrets, report);
    if let Some(admin) = &admin {
        claimed.claim(&admin.with(admin.value.address.clone()), "the admin listener", report);
    }
    ListenSections { listen: listeners, admin: admin.map(|admin| admin.value) }
}

/// Reads the admin interface alone.
pub(super) fn read_admin(
    root: &ConfigSection<'_>,
    secrets: &SecretResolver<'_>,
    report: &mut ConfigReport,
) -> Option<AdminConfig> {
    admin(&root.child("admin", report), secrets, report).map(|admin| admin.value)
}

fn address(
    section: &ConfigSection<'_>,
    unsafe_open: bool,
    clients: ServedClients,
    report: &mut ConfigReport,
) -> Option<SpannedValue<ListenAddress>> {
    let given = if section.has("address") {
        section.parsed("address", address_of, report)?
    } else {
        section.default("address", address_of)
    };
    // The addresses of sockets from systemd are unknown until startup.
    if let Some(address) = given.value.socket()
        && !is_local(section, address)
        && clients.includes_unidentified()
    {
        match (unsafe_open, is_loopback(address)) {
            (true, true) => report.warn(&given.at, &ConfigWarning::OpenToProxies(address)),
            (true, false) => report.warn(&given.at, &ConfigWarning::Open(address)),
            (false, true) => report.error(&given.at, ConfigErrorKind::OpenToProxies(address)),
            (false, false) => report.error(&given.at, ConfigErrorKind::Open(address)),
        }
    }
    Some(given)
}

/// Reads the kinds of identity that a listener accepts.
fn identify(section: &ConfigSection<'_>, clients: ServedClients, report: &mut ConfigReport) -> IdentityKinds {
    let before = report.count();
    let mut kinds = IdentityKinds::default();
    for given in section.texts("identify", report) {
        let kind = match given.value.as_str() {
            "key" => Ok(&mut kinds.key),
            "certificate" => Ok(&mut kinds.certificate),
            "uid" => Ok(&mut kinds.uid),
            "token" => Ok(&mut kinds.token),
            "jwt" => Ok(&mut kinds.jwt),
            _ => Err(ConfigErrorKind::Word(
                given.value.clone(),
                "key, token, jwt, certificate, uid".to_owned(),
            )),
        };
        match kind {
            Ok(kind) if *kind => report.error(&given.at, ConfigErrorKind::RepeatedIdentity(given.value)),
            Ok(kind) => *kind = true,
            Err(problem) => report.error(&given.at, problem),
        }
    }
    let is_valid = report.count() == before;
    match (kinds.accepts_any(), clients) {
        (true, ServedClients::All) => report.error(&section.at("identify"), ConfigErrorKind::NoCallers),
        (false, ServedClients::CallersOnly) if is_valid => {
            report.error(&section.at("identify"), ConfigErrorKind::UnusableListener);
        }
        (true | false, _) => {}
    }
    kinds
}

/// Reads the files of a TLS listener. Their contents are parsed when the listener starts, and by
/// `check`.
fn tls(
    section: &ConfigSection<'_>,
    secrets: &SecretResolver<'_>,
    report: &mut ConfigReport,
) -> Option<TlsFiles> {
    let section = section.child("tls", report);
    if !section.exists() {
        return None;
    }
    section.check(&TLS, report);
    let readable = |text: &str| {
        let unreadable = |error: std::io::Error| ConfigErrorKind::TlsFile(text.to_owned(), error.to_string());
        secrets.env.check_readable(Path::new(text)).map(|()| PathBuf::from(text)).map_err(unreadable)
    };
    let certificate = section.parsed("cert_file", readable, report);
    let client_ca = section.parsed("client_ca_file", readable, report);
    let client_crl = section.parsed("client_crl_file", readable, report);
    if section.has("client_crl_file") && !section.has("client_ca_file") {
        report.error(&section.at("client_crl_file"), ConfigErrorKind::Missing(NO_CLIENT_CA));
    }
    let key = section.text("key_file", report);
    for (name, missing) in [("cert_file", NO_CERTIFICATE), ("key_file", NO_KEY)] {
        if !section.has(name) {
            report.error(&section.here(), ConfigErrorKind::Missing(missing));
        }
    }
    let key = key?;
    if let Err(problem) = secrets.file(Path::new(&key.value), &key, report) {
        report.error(&key.at, problem);
    }
    Some(TlsFiles {
        cert_file: certificate?.value,
        key_file: PathBuf::from(key.value),
        client_ca_file: client_ca.map(|given| given.value),
        client_crl_file: client_crl.map(|given| given.value),
    })
}

const NO_CLIENT_CA: &str = "set client_ca_file to a PEM file with the authorities of the clients";
const NO_CERTIFICATE: &str = "set cert_file to a PEM file with the certificate of this listener";
const NO_KEY: &str = "set key_file to a PEM file with the private key of the certificate";

fn policy(section: &ConfigSection<'_>, identify: IdentityKinds, report: &mut ConfigReport) -> AccessPolicy {
    let operations = if section.is_true("read_only", report) {
        AllowedOperations::ReadOnly
    } else {
        AllowedOperations::All
    };
    let unsigned =
        if section.is_true("unsigned_forms", report) { UnsignedForms::Pass } else { UnsignedForms::Refuse };
    let cross_site_reads = if section.is_true("cross_site_reads", report) {
        CrossSiteReads::AllowByName
    } else {
        CrossSiteReads::Reject
    };
    let origins = section.texts("allowed_origins", report);
    let origins = origins.iter().filter_map(|given| parsed(given, web_origin, report));
    let allowed_origins = origins.map(|given| given.value).collect();
    let verified_forms = section.is_true("verified_forms", report);
    if verified_forms && !identify.key {
        report.error(&section.at("verified_forms"), ConfigErrorKind::FormsWithoutKeys);
    }
    AccessPolicy { operations, allowed_origins, unsigned, verified_forms, cross_site_reads }
}

fn admin(
    section: &ConfigSection<'_>,
    secrets: &SecretResolver<'_>,
    report: &mut ConfigReport,
) -> Option<SpannedValue<AdminConfig>> {
    section.check(&ADMIN, report);
    let words = [("any", ReadinessRule::Any), ("all", ReadinessRule::All)];
    let settings = admin::AdminSettings {
        token: secrets.confidential(section, "token", report).map(Arc::new),
        ready_when: section.word_or_default("ready_when", &words, report).value,
        quit: section.is_true("quit", report),
    };
    if !section.has("address") {
        let address = section.default("address", address_of);
        return Some(SpannedValue {
            value: AdminConfig { address: address.value, settings },
            at: address.at,
        });
    }
    let text = section.text("address", report)?;
    if text.value == "off" {
        return None;
    }
    let address = parsed(&text, address_of, report)?;
    match address.value {
        ListenAddress::Tcp(socket) if !is_loopback(socket) && !section.has("token") => {
            report.error(&address.at, ConfigErrorKind::OpenAdmin(socket));
        }
        ListenAddress::Inherited(_) => report.error(&address.at, ConfigErrorKind::InheritedAdmin),
        ListenAddress::Tcp(_) | ListenAddress::Unix(_) => {}
    }
    Some(SpannedValue { value: AdminConfig { address: address.value, settings }, at: address.at })
}

/// The addresses of the listeners that have been read.
struct ClaimedAddresses(Vec<ClaimedAddress>);

struct ClaimedAddress {
    address: ListenAddress,
    /// The listener and the origin of its address, for an error.
    owner: String,
}

impl ClaimedAddresses {
    /// Records the owner of an address, and reports an address that overlaps one already recorded.
    fn claim(&mut self, given: &SpannedValue<ListenAddress>, owner: &str, report: &mut ConfigReport) {
        if let Some(other) = self.0.iter().find(|claimed| claimed.address.overlaps(&given.value)) {
            let problem = ConfigErrorKind::Taken(given.value.clone(), other.owner.clone());
            report.error(&given.at, problem);
        }
        let owner = format!("{owner} ({})", given.at);
        self.0.push(ClaimedAddress { address: given.value.clone(), owner });
    }
}

/// Returns whether a connection to `host` and `port` reaches `listener`.
pub(super) fn reaches(listener: SocketAddr, host: &Host, port: u16) -> bool {
    let ours = listener.ip().to_canonical();
    let same = match host.address().map(|address| address.to_canonical()) {
        Some(address) => {
            address == ours || address.is_unspecified() || (ours.is_unspecified() && address.is_loopback())
        }
        None => host.as_str() == "localhost" && (ours.is_loopback() || ours.is_unspecified()),
    };
    same && port == listener.port()
}

/// Returns whether only this machine can reach a listener. A load balancer in front of it may pass on
/// any client.
fn is_local(section: &ConfigSection<'_>, address: SocketAddr) -> bool {
    // Errors of the setting are reported where it is read.
    let is_proxied = section.truth("proxy_protocol", &mut ConfigReport::default());
    is_loopback(address) && !is_proxied.is_some_and(|given| given.value)
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Parses `ADDRESS:PORT`, `unix:PATH` or `systemd:NAME`.
fn address_of(text: &str) -> Result<ListenAddress, ConfigErrorKind> {
    let bad = || ConfigErrorKind::Address(text.to_owned());
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() { Err(bad()) } else { Ok(ListenAddress::Unix(PathBuf::from(path))) };
    }
    if let Some(name) = text.strip_prefix("systemd:") {
        // systemd passes the names in one variable, separated by colons.
        let fits = !name.is_empty() && !name.contains(':');
        return if fits { Ok(ListenAddress::Inherited(name.to_owned())) } else { Err(bad()) };
    }
    // `localhost` is the only name that needs no resolver.
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => &format!("{}:{port}", Ipv4Addr::LOCALHOST),
        None => text,
    };
    numeric.parse().map(ListenAddress::Tcp).map_err(|_| bad())
}

fn domain(text: &str) -> Result<String, ConfigErrorKind> {
    let bad = || ConfigErrorKind::Domain(text.to_owned());
    let Ok((host, Port::Implied)) = Host::parse(text) else {
        return Err(bad());
    };
    let name = host.as_str();
    if host.is_own() {
        return Err(ConfigErrorKind::OwnDomain(text.to_owned()));
    }
    if name == "aliyuncs.com" || name.ends_with(".aliyuncs.com") {
        return Err(ConfigErrorKind::OssDomain(text.to_owned()));
    }
    let is_label = |label: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(fits)
    };
    if name.len() > 253 || !name.split('.').all(is_label) || text.contains(':') {
        return Err(bad());
    }
    Ok(name.to_owned())
}

/// Parses an origin and normalizes it as browsers do: lower case, without the default port.
fn web_origin(text: &str) -> Result<String, ConfigErrorKind> {
    let lower = text.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://").ok_or(ConfigErrorKind::WebOrigin)?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let (host, port) = Host::parse(authority).map_err(|_| ConfigErrorKind::WebOrigin)?;
    if !is_scheme || authority.ends_with([':', '.']) {
        return Err(ConfigErrorKind::WebOrigin);
    }
    let host = host.bracketed();
    let implied = Endpoint::parse(&format!("{scheme}://{host}")).map(|endpoint| Port::Given(endpoint.port));
    Ok(match port {
        Port::Given(number) if implied != Ok(port) => format!("{scheme}://{host}:{number}"),
        Port::Given(_) | Port::Implied => format!("{scheme}://{host}"),
    })
}
