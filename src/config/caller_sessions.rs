//! `{caller}` in `session_name`: each caller has credentials with a session of its name.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::origin::ValueOrigin;
use super::section::ConfigSection;
use super::upstream_settings::UpstreamSettings;
use crate::address::{RoutingTable, UpstreamId};
use crate::caller::CallerSettings;
use crate::credentials::{NamedSpec, ProviderSpec, session_name};

/// Credentials whose session name depends on the caller.
#[derive(Debug)]
pub(super) struct SessionTemplate {
    /// The name of the credentials.
    name: String,
    spec: ProviderSpec,
    /// The session name with [`PLACEHOLDER`].
    pattern: String,
    /// The origin of the session name.
    at: ValueOrigin,
}

/// The parts of a configuration to which the credentials of callers belong.
pub(super) struct CallerSessions<'a> {
    pub(super) routing_table: &'a RoutingTable,
    /// The settings of each upstream, by its [`UpstreamId`].
    pub(super) upstreams: &'a mut [UpstreamSettings],
    pub(super) credentials: &'a mut Vec<NamedSpec>,
}

/// Takes the templates out of the credentials. Requests without a caller use what remains there.
pub(super) fn read(
    root: &ConfigSection<'_>,
    has_callers: bool,
    credentials: &mut [NamedSpec],
    report: &mut ConfigReport,
) -> Vec<SessionTemplate> {
    let mut templates = Vec::new();
    for index in 0..credentials.len() {
        let NamedSpec { name, spec } = &credentials[index];
        let Some(pattern) = spec.session_name().filter(|text| text.contains(PLACEHOLDER)) else { continue };
        let at = root.child("credentials", report).child(name, report).at("session_name");
        let Some(remaining) = spec.with_session_name(&pattern.replace(PLACEHOLDER, NO_CALLER)) else {
            report.error(&at, ConfigErrorKind::SessionType);
            continue;
        };
        if credentials.iter().any(|other| other.spec.needs() == Some(name)) {
            report.error(&at, ConfigErrorKind::SessionOfSource);
        }
        // `run` ignores the callers of the file.
        if !has_callers && root.alone("caller").is_none() {
            report.error(&at, ConfigErrorKind::SessionWithoutCallers);
        }
        let (name, pattern) = (name.clone(), pattern.to_owned());
        let spec = std::mem::replace(&mut credentials[index].spec, remaining);
        templates.push(SessionTemplate { name, spec, pattern, at });
    }
    templates
}

impl CallerSessions<'_> {
    /// Replaces the credentials of callers by those of `callers`.
    pub(super) fn expand(
        &mut self,
        templates: &[SessionTemplate],
        callers: &[Arc<CallerSettings>],
        report: &mut ConfigReport,
    ) {
        for template in templates {
            self.remove(&template.name);
            let served = self.served(&template.name, callers);
            if served.len() > CALLERS_MAX {
                report.error(&template.at, ConfigErrorKind::SessionCallers(served.len()));
                continue;
            }
            let expanded = template.expand(&served, report);
            let named = served.into_iter().zip(expanded.iter().map(|named| named.name.clone()));
            let names: Arc<HashMap<String, String>> = Arc::new(named.collect());
            for upstream in self.upstreams.iter_mut().filter(|upstream| upstream.credentials == template.name)
            {
                upstream.caller_credentials = Arc::clone(&names);
            }
            self.credentials.extend(expanded);
        }
    }

    /// Removes the credentials of callers that replace those of this name.
    pub(super) fn remove(&mut self, name: &str) {
        let mut removed = HashSet::new();
        for upstream in self.upstreams.iter_mut().filter(|upstream| upstream.credentials == name) {
            removed.extend(std::mem::take(&mut upstream.caller_credentials).values().cloned());
        }
        self.credentials.retain(|named| !removed.contains(&named.name));
    }

    /// Returns the names of the callers that the upstreams with these credentials serve.
    fn served(&self, credentials: &str, callers: &[Arc<CallerSettings>]) -> Vec<String> {
        let used = self.upstreams.iter().enumerate();
        let used = used.filter(|(_, upstream)| upstream.credentials == credentials);
        let wanted: Vec<_> = used.map(|(index, _)| self.routing_table.wanted(UpstreamId(index))).collect();
        let is_served = |name: &str| {
            wanted.iter().any(|wanted| {
                let pattern = wanted.and_then(|wanted| wanted.caller.as_ref());
                pattern.is_none_or(|pattern| pattern.matches(name))
            })
        };
        callers.iter().map(|caller| caller.name.clone()).filter(|name| is_served(name)).collect()
    }
}

impl SessionTemplate {
    /// Returns the name of the credentials.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the credentials of these callers, in their order. Reports session names that would be
    /// equal at STS.
    fn expand(&self, callers: &[String], report: &mut ConfigReport) -> Vec<NamedSpec> {
        let session_of = |caller: &str| self.pattern.replace(PLACEHOLDER, caller);
        let mut owners = HashMap::from([(session_name(&session_of(NO_CALLER)), NO_OWNER.to_owned())]);
        let mut expanded = Vec::with_capacity(callers.len());
        for caller in callers {
            let session = session_of(caller);
            let sent = session_name(&session);
            if let Some(owner) = owners.get(&sent) {
                let problem = ConfigErrorKind::SessionInUse(caller.clone(), sent, owner.clone());
                report.error(&self.at, problem);
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
