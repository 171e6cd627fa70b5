//! All upstreams together: the default one, then those of the routes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::UpstreamSettings;
use super::credentials::{DEFAULT, Secrets, listing};
use super::problem::Problem;
use super::report::Report;
use super::route::{self, Route};
use super::schema::UPSTREAM;
use super::section::Section;
use super::tool_routes::{self, Implied};
use super::upstream::{Checks, Five, Shared};
use crate::address::Directory;
use crate::credentials::ProviderSpec;
use crate::server::ListenSettings;

/// What upstreams are checked against.
pub(super) struct Surroundings<'a> {
    pub(super) listeners: &'a [ListenSettings],
    /// The credentials that the file describes.
    pub(super) specs: &'a [(String, Option<ProviderSpec>)],
    pub(super) secrets: &'a Secrets<'a>,
}

/// Reads `[upstream]` and the routes. What is `None` has been reported.
pub(super) fn read(
    root: &Section<'_>,
    surroundings: &Surroundings<'_>,
    report: &mut Report,
) -> Option<(Directory, Vec<UpstreamSettings>)> {
    let section = root.child("upstream", report);
    section.check(&UPSTREAM, report);
    let shared = Shared::read(&section, report);
    let listeners = by_port(surroundings.listeners);
    let checks = Checks { shared: &shared, addressing: shared.addressing.as_ref(), listeners: &listeners };
    let known = Known::new(surroundings.specs);
    let five = Five::read(&section, report);
    let default = checks.resolve(&five, &section, report);
    let mut settings = vec![UpstreamSettings {
        signature: shared.signature(),
        credentials: known.credentials(&section, report).unwrap_or_else(|| DEFAULT.to_owned()),
        ca_file: surroundings.ca_file(&section, report),
    }];
    let mut routes = Vec::new();
    for section in root.children("route", report) {
        let route = route::read(&section, default.as_ref(), &checks, report);
        let credentials = known.credentials(&section, report);
        settings.push(UpstreamSettings {
            credentials: credentials.unwrap_or_else(|| settings[0].credentials.clone()),
            ..settings[0].clone()
        });
        routes.extend(route.map(|Route { wanted, upstream }| (wanted, upstream)));
    }
    let default = default?;
    for Implied { credentials, wanted, upstream } in
        tool_routes::read(root, surroundings, (&default, &checks), report)
    {
        settings.push(UpstreamSettings { credentials, ..settings[0].clone() });
        routes.push((wanted, upstream));
    }
    Some((Directory::new(default, routes), settings))
}

/// The listeners on sockets of the network, by their ports.
fn by_port(listeners: &[ListenSettings]) -> HashMap<u16, Vec<&ListenSettings>> {
    let mut all: HashMap<u16, Vec<&ListenSettings>> = HashMap::new();
    for listener in listeners {
        if let Some(socket) = listener.address.socket() {
            all.entry(socket.port()).or_default().push(listener);
        }
    }
    all
}

/// The names that credentials can be called by.
struct Known<'a> {
    names: HashSet<&'a str>,
    /// The same for an error.
    listing: String,
}

impl<'a> Known<'a> {
    fn new(specs: &'a [(String, Option<ProviderSpec>)]) -> Self {
        let described = specs.iter().map(|(name, _)| name.as_str());
        let mut names: HashSet<&str> = described.clone().collect();
        let implied = names.insert(DEFAULT).then_some(DEFAULT);
        Self { names, listing: listing(described.chain(implied)) }
    }

    /// The name of credentials, if there are such.
    fn credentials(&self, section: &Section<'_>, report: &mut Report) -> Option<String> {
        let name = section.text("credentials", report)?;
        if self.names.contains(name.value.as_str()) {
            return Some(name.value);
        }
        report.error(&name.at, Problem::UnknownCredentials(name.value, self.listing.clone()));
        None
    }
}

impl Surroundings<'_> {
    /// The path of a file of certificates, which can be read.
    fn ca_file(&self, section: &Section<'_>, report: &mut Report) -> Option<PathBuf> {
        let given = section.text("ca_file", report)?;
        if let Err(error) = self.secrets.outside.probe(Path::new(&given.value)) {
            let problem = Problem::CaFile(given.value.clone(), error.to_string());
            report.error(&given.at, problem);
        }
        Some(PathBuf::from(given.value))
    }
}
