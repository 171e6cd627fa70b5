//! `explain` without a request: shows the signer of each route, the origin of its key, and why
//! other sources are not used.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use super::super::exit::CommandExit;
use super::super::flags::CommonFlags;
use super::super::output::{complain, line};
use super::super::serve::block_on;
use crate::address::UpstreamId;
use crate::app::build::{SourceResults, ask_all};
use crate::app::system_env::SystemEnv;
use crate::config::{ConfigError, ConfigErrors, ConfigOutline, ProxyConfig};
use crate::credentials::{CredentialSource, ProviderSpec, SourceMap, each};
use crate::time::{Clock as _, Timestamp};

pub(super) fn run(flags: &CommonFlags) -> CommandExit {
    let ConfigOutline { config, errors } = match flags.outline() {
        Ok(outline) => outline,
        Err(unreadable) => {
            complain(unreadable);
            return CommandExit::Config;
        }
    };
    let Some(config) = config else {
        errors.into_iter().for_each(complain);
        return CommandExit::Config;
    };
    block_on(async {
        let SourceResults { sources, bad, .. } = ask_all(&config.credentials, &SystemEnv).await;
        let usable = routes(&config, &sources);
        for (_, source) in each(&sources) {
            describe(source);
        }
        missing(&config, &sources, errors.as_ref());
        let is_wrong = errors.is_some() || !bad.is_empty();
        errors.into_iter().for_each(complain);
        bad.into_iter().for_each(complain);
        match (is_wrong, usable) {
            (true, _) => CommandExit::Config,
            (false, true) => CommandExit::Ok,
            (false, false) => CommandExit::Credentials,
        }
    })
}

/// Prints each route with its signer. Returns whether each route has credentials or is anonymous.
fn routes(config: &ProxyConfig, sources: &SourceMap) -> bool {
    let mut usable = true;
    let specs = by_name(config);
    for (index, settings) in config.upstreams.iter().enumerate() {
        let id = UpstreamId(index);
        let upstream = config.routing_table.get(id);
        let wanted = config.routing_table.wanted(id).map_or(String::new(), |wanted| format!("{wanted}  "));
        let source = sources.get(&settings.credentials);
        let anonymous = matches!(specs.get(settings.credentials.as_str()), Some(ProviderSpec::Anonymous));
        usable &= anonymous || source.is_some_and(|source| source.get(SystemEnv.now()).is_ok());
        let signer = match source {
            Some(source) => format!("source {:?}", source.name()),
            None if anonymous => "unsigned (anonymous)".to_owned(),
            None => format!("source {:?}", settings.credentials),
        };
        line(format_args!(
            "{id:10} {wanted}{}://{}:{}  -> {signer}",
            upstream.endpoint.scheme.as_str(),
            upstream.endpoint.host.bracketed(),
            upstream.endpoint.port,
        ));
    }
    usable
}

/// Prints the sources that could not be built, each with its errors.
fn missing(config: &ProxyConfig, sources: &SourceMap, errors: Option<&ConfigErrors>) {
    let named = config.upstreams.iter().map(|settings| settings.credentials.as_str());
    let described = config.credentials.iter().map(|named| named.name.as_str());
    let wrong = errors.into_iter().flat_map(ConfigErrors::iter).filter_map(ConfigError::credentials);
    let all: BTreeSet<&str> = named.chain(described).chain(wrong).collect();
    let specs = by_name(config);
    let mut errors_of: HashMap<&str, Vec<&ConfigError>> = HashMap::new();
    for error in errors.into_iter().flat_map(ConfigErrors::iter) {
        if let Some(name) = error.credentials() {
            errors_of.entry(name).or_default().push(error);
        }
    }
    for name in all {
        let spec = specs.get(name);
        if sources.contains_key(name) || matches!(spec, Some(ProviderSpec::Anonymous)) {
            continue;
        }
        line(format_args!("source {name:?}  misconfigured"));
        if let Some(needed) = spec.and_then(|spec| spec.needs()) {
            line(format_args!("    requires the source {needed:?}, which is not usable"));
        }
        for error in errors_of.get(name).into_iter().flatten() {
            line(format_args!("    {error}"));
        }
    }
}

fn by_name(config: &ProxyConfig) -> HashMap<&str, &ProviderSpec> {
    config.credentials.iter().rev().map(|named| (named.name.as_str(), &named.spec)).collect()
}

/// The state of a source, for a user. Only the ends of the access key id are shown.
pub(in super::super) struct SourceDescription {
    /// The stage. If there is a key, also its provider and its id.
    pub(in super::super) summary: String,
    pub(in super::super) details: Vec<String>,
}

impl SourceDescription {
    pub(in super::super) fn new(source: &CredentialSource) -> Self {
        let status = source.status(&SystemEnv);
        let now = SystemEnv.now();
        let mut summary = status.stage.to_string();
        if let Some(provider) = &status.provider {
            let _ = write!(summary, "  {provider}");
        }
        if let Ok(given) = source.get(now) {
            let token = if given.token.is_some() { " with a token" } else { "" };
            let _ = write!(summary, "  key {}{token}", masked(&given.id));
        }
        let mut details = Vec::new();
        if let Some(expires) = status.expires {
            let renewal =
                status.renewal.map_or(String::new(), |at| format!(", refresh in {}", until(at, now)));
            details.push(format!("expires {} (in {}){renewal}", expires.rfc3339(), until(expires, now)));
        }
        details.extend(status.explanation);
        details.extend(status.last_error.map(|error| format!("last error: {error}")));
        Self { summary, details }
    }
}

/// Prints the state of a source.
pub(in super::super) fn describe(source: &CredentialSource) {
    let SourceDescription { summary, details } = SourceDescription::new(source);
    line(format_args!("source {:?}  {summary}", source.name()));
    for detail in details {
        line(format_args!("    {detail}"));
    }
}

pub(in super::super) fn masked(id: &str) -> String {
    match (id.get(..4), id.get(id.len().saturating_sub(4)..)) {
        (Some(first), Some(last)) if id.len() >= 12 => format!("{first}…{last}"),
        _ => "…".to_owned(),
    }
}

fn until(at: Timestamp, now: Timestamp) -> String {
    match (at.unix_s() - now.unix_s()).max(0) {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} m", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn of_an_id_only_its_ends_are_shown() {
        assert_eq!(masked("LTAI5tExampleKeyId"), "LTAI…eyId");
        assert_eq!(masked("LTAIshort"), "…");
        assert_eq!(masked(""), "…");
    }
}
