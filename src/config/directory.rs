//! All upstreams together: the default one, then those of the routes.

use std::path::{Path, PathBuf};

use super::UpstreamSettings;
use super::credentials::{DEFAULT, Secrets};
use super::problem::Problem;
use super::report::Report;
use super::route::{self, Route};
use super::schema::UPSTREAM;
use super::section::Section;
use super::tool_routes::{self, Implied};
use super::upstream::{Checks, Five, Shared};
use crate::address::Directory;
use crate::credentials::Spec;
use crate::server::Listen;

/// What upstreams are checked against.
pub(super) struct Surroundings<'a> {
    pub(super) listeners: &'a [Listen],
    /// The credentials that the file describes.
    pub(super) specs: &'a [(String, Option<Spec>)],
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
    let checks =
        Checks { shared: &shared, addressing: shared.addressing.as_ref(), listeners: surroundings.listeners };
    let five = Five::read(&section, report);
    let default = checks.resolve(&five, &section, report);
    let mut settings = vec![UpstreamSettings {
        signature: shared.signature(),
        credentials: surroundings.credentials(&section, report).unwrap_or_else(|| DEFAULT.to_owned()),
        ca_file: surroundings.ca_file(&section, report),
    }];
    let mut routes = Vec::new();
    for section in root.children("route", report) {
        let route = route::read(&section, default.as_ref(), &checks, report);
        let credentials = surroundings.credentials(&section, report);
        settings.push(UpstreamSettings {
            credentials: credentials.unwrap_or_else(|| settings[0].credentials.clone()),
            ..settings[0].clone()
        });
        routes.extend(route.map(|Route { wanted, upstream }| (wanted, upstream)));
    }
    let default = default?;
    let Surroundings { specs, secrets, .. } = surroundings;
    for Implied { credentials, wanted, upstream } in tool_routes::read(root, specs, &default, secrets, report)
    {
        settings.push(UpstreamSettings { credentials, ..settings[0].clone() });
        routes.push((wanted, upstream));
    }
    Some((Directory::new(default, routes), settings))
}

impl Surroundings<'_> {
    /// The name of credentials, if there are such.
    fn credentials(&self, section: &Section<'_>, report: &mut Report) -> Option<String> {
        let name = section.text("credentials", report)?;
        let mut known: Vec<&str> = self.specs.iter().map(|(name, _)| name.as_str()).collect();
        if !known.contains(&DEFAULT) {
            known.push(DEFAULT);
        }
        if known.contains(&name.value.as_str()) {
            return Some(name.value);
        }
        let problem = Problem::UnknownCredentials(name.value, known.join(", "));
        report.error(&name.at, problem);
        None
    }

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
