//! `{caller}` in `session_name`: each caller has credentials with a session of its name.

use std::collections::HashMap;
use std::sync::Arc;

use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::origin::ValueOrigin;
use super::section::ConfigSection;
use super::upstream_settings::UpstreamSettings;
use crate::address::{RoutingTable, UpstreamId};
use crate::caller::CallerSettings;
use crate::credentials::{NamedSpec, ProviderSpec, session_name};

/// Adds the credentials of callers to a configuration.
pub(super) struct CallerSessions<'a> {
    pub(super) routing_table: &'a RoutingTable,
    /// The settings of each upstream, by its [`UpstreamId`].
    pub(super) upstreams: &'a mut [UpstreamSettings],
    pub(super) root: &'a ConfigSection<'a>,
}

impl CallerSessions<'_> {
    /// Adds credentials for each caller that an upstream with such a session name serves. Those of
    /// the file remain, for requests without a caller, and for callers that a broken file had before.
    pub(super) fn expand(
        &mut self,
        callers: Option<&[Arc<CallerSettings>]>,
        credentials: &mut Vec<NamedSpec>,
        report: &mut ConfigReport,
    ) {
        let mut added = Vec::new();
        for index in 0..credentials.len() {
            let NamedSpec { name, spec } = &credentials[index];
            let Some(pattern) = spec.session_name().filter(|text| text.contains(PLACEHOLDER)) else {
                continue;
            };
            let pattern = pattern.to_owned();
            let section = self.root.child("credentials", report).child(name, report);
            let at = section.at("session_name");
            let Some(without_caller) = spec.with_session_name(&pattern.replace(PLACEHOLDER, NO_CALLER))
            else {
                report.error(&at, ConfigErrorKind::SessionType);
                continue;
            };
            if credentials.iter().any(|other| other.spec.needs() == Some(name)) {
                report.error(&at, ConfigErrorKind::SessionOfSource);
            }
            // `run` ignores the callers of the file.
            if callers.is_none() && self.root.alone("caller").is_none() {
                report.error(&at, ConfigErrorKind::SessionWithoutCallers);
            }
            let served = self.served(name, callers.unwrap_or_default());
            if served.len() > CALLERS_MAX {
                report.error(&at, ConfigErrorKind::SessionCallers(served.len()));
                continue;
            }
            let template = SessionTemplate { name, spec, pattern: &pattern, at: &at };
            let expanded = template.expand(&served, report);
            let names: HashMap<String, String> = served
                .iter()
                .zip(&expanded)
                .map(|(caller, named)| ((*caller).to_owned(), named.name.clone()))
                .collect();
            let names = Arc::new(names);
            for upstream in self.upstreams.iter_mut().filter(|upstream| upstream.credentials == *name) {
                upstream.caller_credentials = Arc::clone(&names);
            }
            added.extend(expanded);
            credentials[index].spec = without_caller;
        }
        credentials.extend(added);
    }

    /// Returns the names of the callers that the upstreams with these credentials serve.
    fn served<'c>(&self, credentials: &str, callers: &'c [Arc<CallerSettings>]) -> Vec<&'c str> {
        let used = self.upstreams.iter().enumerate();
        let used = used.filter(|(_, upstream)| upstream.credentials == credentials);
        let wanted: Vec<_> = used.map(|(index, _)| self.routing_table.wanted(UpstreamId(index))).collect();
        let is_served = |name: &str| {
            wanted.iter().any(|wanted| {
                let pattern = wanted.and_then(|wanted| wanted.caller.as_ref());
                pattern.is_none_or(|pattern| pattern.matches(name))
            })
        };
        callers.iter().map(|caller| caller.name.as_str()).filter(|name| is_served(name)).collect()
    }
}

/// Credentials whose session name depends on the caller.
struct SessionTemplate<'a> {
    name: &'a str,
    spec: &'a ProviderSpec,
    pattern: &'a str,
    /// The origin of the pattern.
    at: &'a ValueOrigin,
}

impl SessionTemplate<'_> {
    /// Returns the credentials of these callers, in their order. Reports session names that would be
    /// equal at STS.
    fn expand(&self, callers: &[&str], report: &mut ConfigReport) -> Vec<NamedSpec> {
        let session_of = |caller: &str| self.pattern.replace(PLACEHOLDER, caller);
        let mut owners = HashMap::from([(session_name(&session_of(NO_CALLER)), NO_OWNER.to_owned())]);
        let mut expanded = Vec::with_capacity(callers.len());
        for caller in callers {
            let session = session_of(caller);
            let sent = session_name(&session);
            if let Some(owner) = owners.get(&sent) {
                let problem = ConfigErrorKind::SessionInUse((*caller).to_owned(), sent, owner.clone());
                report.error(self.at, problem);
            } else {
                owners.insert(sent, format!("{caller:?}"));
            }
            // Names in the file have no `@`.
            let name = format!("{}@{caller}", self.name);
            expanded.extend(self.spec.with_session_name(&session).map(|spec| NamedSpec { name, spec }));
        }
        expanded
    }
}

/// The name of the caller in a session name.
const PLACEHOLDER: &str = "{caller}";
/// Its value in requests without a caller.
const NO_CALLER: &str = "none";
/// Those requests, in an error.
const NO_OWNER: &str = "requests without a caller";
/// The maximum number of callers with credentials from the same section. STS is called for each of
/// them, and limits the calls of an account.
const CALLERS_MAX: usize = 100;
