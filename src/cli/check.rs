//! `check`: reads the configuration as `serve` would, and prints its errors or a summary.

use std::collections::HashSet;
use std::sync::Arc;

use clap::Args as ClapArgs;

use super::exit::CommandExit;
use super::explain;
use super::flags::CommonFlags;
use super::output::{complain, line};
use super::serve::block_on;
use crate::address::UpstreamId;
use crate::app::StartError;
use crate::app::build::{SourceResults, ask_all, try_out};
use crate::app::system_env::SystemEnv;
use crate::caller::{JwtKeyOrigin, JwtSettings};
use crate::config::{BrokenCallersFile, ConfigErrors, ConfigOutline, ProxyConfig};
use crate::credentials::{CredentialSource, NamedSpec, each};
use crate::time::Clock as _;

#[derive(ClapArgs)]
pub(super) struct CheckArgs {
    /// Also print the credentials of each provider: masked key, expiry and origin
    #[arg(long)]
    credentials: bool,
    #[command(flatten)]
    flags: CommonFlags,
}

pub(super) fn run(arguments: &CheckArgs) -> CommandExit {
    let mut config = match arguments.flags.outline() {
        Ok(ConfigOutline { config: Some(config), errors: None }) => config,
        Ok(ConfigOutline { config, errors }) => return reject(config, errors),
        Err(unreadable) => {
            complain(unreadable);
            return CommandExit::Config;
        }
    };
    for warning in &config.warnings {
        complain(format_args!("warning: {warning}"));
    }
    let broken = config.caller_sources.broken();
    for BrokenCallersFile { fault, .. } in &broken {
        fault.lines().for_each(complain);
    }
    let specs = std::mem::take(&mut config.credentials);
    let described: HashSet<&str> =
        specs.iter().filter(|known| known.spec.is_lasting_key()).map(|known| known.name.as_str()).collect();
    for NamedSpec { name, .. } in specs.iter().filter(|known| described.contains(known.name.as_str())) {
        complain(format_args!("warning: credentials {name:?}: {LONG_LIVED_KEY}"));
    }
    let description = describe(&config);
    block_on(async {
        let (asked, trial) = tokio::join!(ask_all(&specs, &SystemEnv), try_out(config, &SystemEnv));
        for warning in &trial.warnings {
            complain(format_args!("warning: {warning}"));
        }
        if arguments.credentials {
            for (_, source) in each(&asked.sources) {
                explain::describe(source);
            }
            warn_of_lasting_keys(&asked, &described);
        }
        let judged = judge(&asked, trial.result, arguments.credentials);
        let is_broken = judged == CommandExit::Ok && !broken.is_empty();
        let exit = if is_broken { CommandExit::Config } else { judged };
        if exit == CommandExit::Ok {
            description.iter().for_each(line);
        }
        exit
    })
}

/// Prints the errors of a configuration, and the problems of the files and addresses that it names.
fn reject(config: Option<ProxyConfig>, errors: Option<ConfigErrors>) -> CommandExit {
    errors.into_iter().for_each(complain);
    let Some(config) = config else { return CommandExit::Config };
    block_on(async {
        if let Err(error) = try_out(config, &SystemEnv).await.result {
            error.to_string().lines().for_each(complain);
        }
        CommandExit::Config
    })
}

/// Prints all problems. Returns the exit code of the most severe one.
///
/// A source that is not set up provides nothing. That is a problem only if credentials are
/// requested.
fn judge(asked: &SourceResults, trial: Result<(), StartError>, wants_credentials: bool) -> CommandExit {
    let SourceResults { sources, bad, unavailable } = asked;
    bad.iter().for_each(complain);
    if let Err(error) = &trial {
        error.to_string().lines().for_each(complain);
    }
    unavailable.iter().for_each(complain);
    let gives_nothing = |source: &CredentialSource| source.get(SystemEnv.now()).is_err();
    let is_short = wants_credentials && each(sources).any(|(_, source)| gives_nothing(source));
    match trial {
        _ if !bad.is_empty() => CommandExit::Config,
        Err(error) if error.is_configuration() => CommandExit::Config,
        Err(_) => CommandExit::Failure,
        Ok(()) if is_short || !unavailable.is_empty() => CommandExit::Credentials,
        Ok(()) => CommandExit::Ok,
    }
}

/// Warns about long-lived keys from chains and files. These are recognized only after a fetch.
fn warn_of_lasting_keys(SourceResults { sources, .. }: &SourceResults, described: &HashSet<&str>) {
    let is_lasting = |source: &CredentialSource| {
        let given = source.get(SystemEnv.now());
        given.is_ok_and(|given| given.token.is_none() && given.expires.is_none())
    };
    let is_news =
        |(name, source): &(&str, &Arc<CredentialSource>)| is_lasting(source) && !described.contains(name);
    for (name, _) in each(sources).filter(is_news) {
        complain(format_args!("warning: credentials {name:?}: {LONG_LIVED_KEY}"));
    }
}

/// Alibaba Cloud gives the same advice.
const LONG_LIVED_KEY: &str = "this is a long-lived access key; prefer a role (assume_role, oidc, ecs), whose credentials expire automatically, or rotate it regularly";

/// Returns a summary of the JSON Web Tokens of a caller.
fn tokens(jwt: &JwtSettings) -> String {
    let JwtSettings { issuer, audience, subject, keys } = jwt;
    let keys = match keys {
        JwtKeyOrigin::Fixed(keys) => format!("{} keys", keys.key_count()),
        JwtKeyOrigin::Fetched => "fetched keys".to_owned(),
    };
    format!(" jwt issuer {issuer} ({keys}) audience {audience} subject {subject}")
}

/// Returns a summary of the configuration, one item a line.
fn describe(config: &ProxyConfig) -> Vec<String> {
    let mut lines = Vec::new();
    for listen in &config.listen {
        let kinds: Vec<&str> = listen.identify.names().collect();
        lines.push(format!(
            "listen     {}{}{}{}",
            listen.address,
            if listen.tls.is_some() { " TLS" } else { "" },
            if listen.content.is_credentials() { " serve credentials" } else { "" },
            if kinds.is_empty() { String::new() } else { format!(" identify {}", kinds.join(", ")) }
        ));
    }
    for caller in config.callers.iter().flatten() {
        let ids: Vec<&str> = caller.keys.iter().map(|key| key.id.as_str()).collect();
        let peer: String = caller.peer.descriptions().iter().map(|text| format!(" {text}")).collect();
        lines.push(format!(
            "caller     {} allow {}{} keys {}{}{}{peer}{} ({})",
            caller.name,
            caller.rights.as_str(),
            if caller.session_policy.is_some() { " session policy" } else { "" },
            if ids.is_empty() { "-".to_owned() } else { ids.join(", ") },
            if caller.token.is_some() { " token" } else { "" },
            caller.jwt.as_ref().map(tokens).unwrap_or_default(),
            if caller.is_open { " open" } else { "" },
            caller.origin
        ));
    }
    lines.push(match &config.admin {
        Some(admin) => format!("admin      {}", admin.address),
        None => "admin      off".to_owned(),
    });
    for (index, settings) in config.upstreams.iter().enumerate() {
        let id = UpstreamId(index);
        let upstream = config.routing_table.get(id);
        let wanted = config.routing_table.wanted(id).map_or(String::new(), |wanted| format!("{wanted}  "));
        let region = upstream.region.as_ref().map_or("-", |region| region.as_str());
        lines.push(format!(
            "{id:10} {wanted}{}://{}:{} region {region} signature {} credentials {}",
            upstream.endpoint.scheme.as_str(),
            upstream.endpoint.host.bracketed(),
            upstream.endpoint.port,
            settings.signature.as_str(),
            settings.credentials
        ));
    }
    lines.push("the configuration is valid".to_owned());
    lines
}
