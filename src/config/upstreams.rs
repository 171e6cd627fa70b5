//! All upstreams: the default one, followed by those of the routes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::ossutil_routes::{self, ImpliedRoute};
use super::route::{self, RouteConfig};
use super::section::ConfigSection;
use super::settings::UPSTREAM;
use super::source_names::{DEFAULT, DescribedSource, listing};
use super::upstream::{EndpointSettings, SharedSettings, UpstreamChecks};
use super::upstream_settings::UpstreamSettings;
use super::validation::ValidationContext;
use crate::address::RoutingTable;
use crate::server::ListenSettings;

/// The upstreams of `[upstream]` and of the routes.
pub(super) struct UpstreamSections {
    pub(super) routing_table: RoutingTable,
    /// The other settings of each upstream, by its [`UpstreamId`](crate::address::UpstreamId).
    pub(super) settings: Vec<UpstreamSettings>,
}

/// Reads `[upstream]` and the routes. Returns `None` only after an error has been reported.
pub(super) fn read(
    root: &ConfigSection<'_>,
    context: &ValidationContext<'_>,
    report: &mut ConfigReport,
) -> Option<UpstreamSections> {
    let section = root.child("upstream", report);
    section.check(&UPSTREAM, report);
    let shared = SharedSettings::read(&section, report);
    let listeners = by_port(context.listeners);
    let checks = UpstreamChecks {
        shared: &shared,
        addressing: shared.addressing.as_ref(),
        listeners: &listeners,
        caller_names: context.caller_names,
    };
    let known = KnownCredentials::new(context.described);
    let five = EndpointSettings::read(&section, report);
    let default = checks.resolve(&five, &section, report);
    let mut settings = vec![UpstreamSettings {
        signature: shared.signature(),
        tell_upstream: shared.tell_upstream(),
        credentials: known
            .credentials(&section, report)
            .unwrap_or_else(|| section.default("credentials", |name| Ok(name.to_owned())).value),
        caller_credentials: Arc::default(),
        ca_file: context.ca_file(&section, report),
    }];
    let mut routes = Vec::new();
    for section in root.children("route", report) {
        let route = route::read(&section, default.as_ref(), &checks, report);
        let credentials = known.credentials(&section, report);
        settings.push(UpstreamSettings {
            credentials: credentials.unwrap_or_else(|| settings[0].credentials.clone()),
            ..settings[0].clone()
        });
        routes.extend(route.map(|RouteConfig { wanted, upstream }| (wanted, upstream)));
    }
    let default = default?;
    for ImpliedRoute { credentials, wanted, upstream } in
        ossutil_routes::read(root, context, &default, &checks, report)
    {
        settings.push(UpstreamSettings { credentials, ..settings[0].clone() });
        routes.push((wanted, upstream));
    }
    Some(UpstreamSections { routing_table: RoutingTable::new(default, routes), settings })
}

/// Groups the listeners on TCP sockets by port.
fn by_port(listeners: &[ListenSettings]) -> HashMap<u16, Vec<&ListenSettings>> {
    let mut all: HashMap<u16, Vec<&ListenSettings>> = HashMap::new();
    for listener in listeners {
        if let Some(socket) = listener.address.socket() {
            all.entry(socket.port()).or_default().push(listener);
        }
    }
    all
}

/// The valid names of credentials.
struct KnownCredentials<'a> {
    names: HashSet<&'a str>,
    /// The list of names for an error.
    listing: String,
}

impl<'a> KnownCredentials<'a> {
    fn new(described: &'a [DescribedSource]) -> Self {
        let described = described.iter().map(|source| source.name.as_str());
        let mut names: HashSet<&str> = described.clone().collect();
        let implied = names.insert(DEFAULT).then_some(DEFAULT);
        Self { names, listing: listing(described.chain(implied)) }
    }

    /// Reads the name of credentials, and reports an unknown name.
    fn credentials(&self, section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<String> {
        let name = section.text("credentials", report)?;
        if self.names.contains(name.value.as_str()) {
            return Some(name.value);
        }
        report.error(&name.at, ConfigErrorKind::UnknownCredentials(name.value, self.listing.clone()));
        None
    }
}
