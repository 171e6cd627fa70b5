//! Sessions of callers: `{caller}` in `session_name` gives each caller a session of its name, and
//! `session_policy` one with its rights.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::origin::ValueOrigin;
use super::section::ConfigSection;
use super::session_policy;
use super::upstream_settings::UpstreamSettings;
use crate::address::{RoutingTable, UpstreamId};
use crate::caller::{CallerSessionPolicy, CallerSettings};
use crate::credentials::{NamedSpec, ProviderSpec, SessionPolicyConflict, session_name};

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
            if served.len() > SESSIONS_MAX {
                report.error(&template.at, ConfigErrorKind::SessionCallers(served.len()));
                continue;
            }
            let CallerCredentials { names, specs } = template.expand(&served, report);
            self.set(&template.name, names);
            self.credentials.extend(specs);
        }
        self.expand_policies(templates, callers, report);
    }

    /// Replaces the credentials of callers with session policies, except for those of templates.
    fn expand_policies(
        &mut self,
        templates: &[SessionTemplate],
        callers: &[Arc<CallerSettings>],
        report: &mut ConfigReport,
    ) {
        let named: HashSet<String> =
            self.upstreams.iter().map(|upstream| upstream.credentials.clone()).collect();
        for name in named.iter().filter(|name| !templates.iter().any(|template| template.name == **name)) {
            self.remove(name);
        }
        for (name, callers) in self.with_policies(templates, callers) {
            let Some(base) = self.credentials.iter().find(|named| named.name == name) else { continue };
            // The program that supplies a provider decides about its sessions.
            if base.spec.is_custom() {
                continue;
            }
            let CallerCredentials { names, specs } = share(base, callers, report);
            self.set(&name, names);
            self.credentials.extend(specs);
        }
    }

    /// Returns the callers with session policies that may be signed for with each of the
    /// credentials.
    fn with_policies<'c>(
        &self,
        templates: &[SessionTemplate],
        callers: &'c [Arc<CallerSettings>],
    ) -> BTreeMap<String, Vec<SessionCaller<'c>>> {
        let mut all: BTreeMap<String, Vec<SessionCaller<'c>>> = BTreeMap::new();
        for caller in callers {
            let Some(policy) = &caller.session_policy else { continue };
            let ids = self.routing_table.reachable_by(&caller.name);
            let upstreams = ids.into_iter().filter_map(|id| self.upstreams.get(id.0));
            let used: HashSet<&str> = upstreams.map(|upstream| upstream.credentials.as_str()).collect();
            for name in used {
                if !templates.iter().any(|template| template.name == name) {
                    all.entry(name.to_owned()).or_default().push(SessionCaller { caller, policy });
                }
            }
        }
        all
    }

    /// Sets the names of the credentials of callers for all upstreams with these credentials.
    fn set(&mut self, credentials: &str, names: HashMap<String, String>) {
        let names = Arc::new(names);
        for upstream in self.upstreams.iter_mut().filter(|upstream| upstream.credentials == credentials) {
            upstream.caller_credentials = Arc::clone(&names);
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

    /// Returns the callers that the upstreams with these credentials serve.
    fn served(&self, credentials: &str, callers: &[Arc<CallerSettings>]) -> Vec<Arc<CallerSettings>> {
        let used = self.upstreams.iter().enumerate();
        let used = used.filter(|(_, upstream)| upstream.credentials == credentials);
        let wanted: Vec<_> = used.map(|(index, _)| self.routing_table.wanted(UpstreamId(index))).collect();
        let is_served = |name: &str| {
            wanted.iter().any(|wanted| {
                let pattern = wanted.and_then(|wanted| wanted.caller.as_ref());
                pattern.is_none_or(|pattern| pattern.matches(name))
            })
        };
        callers.iter().filter(|caller| is_served(&caller.name)).map(Arc::clone).collect()
    }
}

impl SessionTemplate {
    /// Returns the name of the credentials.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the credentials of these callers. Reports session names that would be equal at STS.
    fn expand(&self, callers: &[Arc<CallerSettings>], report: &mut ConfigReport) -> CallerCredentials {
        let session_of = |caller: &str| self.pattern.replace(PLACEHOLDER, caller);
        let mut owners = HashMap::from([(session_name(&session_of(NO_CALLER)), NO_OWNER.to_owned())]);
        let mut expanded = CallerCredentials::default();
        for caller in callers {
            let session = session_of(&caller.name);
            let sent = session_name(&session);
            if let Some(owner) = owners.get(&sent) {
                let problem = ConfigErrorKind::SessionInUse(caller.name.clone(), sent, owner.clone());
                report.error(&self.at, problem);
            } else {
                owners.insert(sent, format!("{:?}", caller.name));
            }
            // Names in the file have no `@`.
            let name = format!("{}@{}", self.name, caller.name);
            let spec = self.spec.with_session_name(&session);
            let spec = spec.and_then(|spec| match &caller.session_policy {
                Some(policy) => narrowed(&spec, &self.name, SessionCaller { caller, policy }, report),
                None => Some(spec),
            });
            if let Some(spec) = spec {
                expanded.names.insert(caller.name.clone(), name.clone());
                expanded.specs.push(NamedSpec { name, spec });
            }
        }
        expanded
    }
}

/// The credentials that sign for callers.
#[derive(Default)]
struct CallerCredentials {
    /// The names of the credentials, by the name of the caller.
    names: HashMap<String, String>,
    specs: Vec<NamedSpec>,
}

/// A caller with a session policy.
#[derive(Clone, Copy)]
struct SessionCaller<'a> {
    caller: &'a CallerSettings,
    policy: &'a CallerSessionPolicy,
}

/// Returns the credentials of callers with session policies: one for each policy.
fn share(base: &NamedSpec, callers: Vec<SessionCaller<'_>>, report: &mut ConfigReport) -> CallerCredentials {
    let mut shared = CallerCredentials::default();
    let mut known = HashSet::new();
    for served in callers {
        let SessionCaller { caller, policy } = served;
        let name = session_policy::credentials_name(&base.name, policy);
        let Some(spec) = narrowed(&base.spec, &base.name, served, report) else { continue };
        if known.insert(name.clone()) {
            shared.specs.push(NamedSpec { name: name.clone(), spec });
            if known.len() == SESSIONS_MAX + 1 {
                let problem = ConfigErrorKind::SessionPolicyCount(base.name.clone());
                report.error(&session_policy::origin(caller, policy), problem);
            }
        }
        shared.names.insert(caller.name.clone(), name);
    }
    shared
}

/// Returns the specification of credentials with the session policy of a caller. Returns `None` after
/// it has reported an error.
fn narrowed(
    spec: &ProviderSpec,
    credentials: &str,
    SessionCaller { caller, policy }: SessionCaller<'_>,
    report: &mut ConfigReport,
) -> Option<ProviderSpec> {
    let (name, credentials) = (caller.name.clone(), credentials.to_owned());
    let problem = match spec.with_session_policy(&policy.text) {
        Ok(spec) => return Some(spec),
        Err(SessionPolicyConflict::NoRole) => ConfigErrorKind::SessionPolicyType(name, credentials),
        Err(SessionPolicyConflict::OwnPolicy) => ConfigErrorKind::SecondSessionPolicy(name, credentials),
    };
    report.error(&session_policy::origin(caller, policy), problem);
    None
}

/// The name of the caller in a session name.
const PLACEHOLDER: &str = "{caller}";
/// Its value in requests without a caller.
const NO_CALLER: &str = "none";
/// Those requests, in an error.
const NO_OWNER: &str = "requests without a caller";
/// The maximum number of callers, or of session policies, with credentials from the same section. STS
/// is called for each of them, and limits the calls of an account.
const SESSIONS_MAX: usize = 100;
