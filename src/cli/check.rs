//! `check`: reads the configuration as `serve` would, and says what is wrong with it, or what it comes to.

use std::collections::HashSet;
use std::sync::Arc;

use clap::Args as ClapArgs;

use super::assembly::{Asked, ask_all};
use super::exit::Exit;
use super::explain;
use super::flags::Flags;
use super::output::{complain, line};
use super::serve::block_on;
use super::system::System;
use crate::address::UpstreamId;
use crate::config::Config;
use crate::credentials::{Source, each};
use crate::time::Clock as _;

#[derive(ClapArgs)]
pub(super) struct Args {
    /// Show what each source of credentials gives: the key masked, its end, and where it comes from
    #[arg(long)]
    credentials: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(arguments: &Args) -> Exit {
    let mut config = match arguments.flags.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    for warning in &config.warnings {
        complain(format_args!("warning: {warning}"));
    }
    let specs = std::mem::take(&mut config.credentials);
    block_on(async {
        let described = specs.iter().filter(|(_, spec)| spec.is_lasting_key()).map(|(name, _)| name.as_str());
        for name in described.clone() {
            complain(format_args!("warning: credentials {name:?}: {LASTING}"));
        }
        let Asked { sources, bad, unavailable } = ask_all(&specs, &System).await;
        if arguments.credentials {
            for (_, source) in each(&sources) {
                explain::describe(source);
            }
        }
        if !bad.is_empty() {
            for source in bad {
                complain(source);
            }
            return Exit::Config;
        }
        for files in config.listen.iter().filter_map(|listen| listen.tls.as_ref()) {
            if let Err(error) = files.load() {
                complain(error);
                return Exit::Config;
            }
        }
        if arguments.credentials {
            // A chain or a file can hold a lasting key too; whether it does is known only now.
            let lasting = |source: &Source| {
                let given = source.get(System.now());
                given.is_ok_and(|given| given.token.is_none() && given.expires.is_none())
            };
            let described: HashSet<&str> = described.collect();
            let is_news =
                |(name, source): &(&str, &Arc<Source>)| lasting(source) && !described.contains(name);
            for (name, _) in each(&sources).filter(is_news) {
                complain(format_args!("warning: credentials {name:?}: {LASTING}"));
            }
            if each(&sources).any(|(_, source)| source.get(System.now()).is_err()) {
                for source in unavailable {
                    complain(source);
                }
                return Exit::Credentials;
            }
        }
        if !unavailable.is_empty() {
            for source in unavailable {
                complain(source);
            }
            return Exit::Credentials;
        }
        describe(&config);
        Exit::Ok
    })
}

/// What the vendor advises too.
const LASTING: &str = "this is a lasting access key; prefer a role (assume_role, oidc, ecs), whose keys end by themselves, or replace it regularly";

fn describe(config: &Config) {
    for listen in &config.listen {
        line(format_args!("listen     {}{}", listen.address, if listen.tls.is_some() { " TLS" } else { "" }));
    }
    match &config.admin {
        Some(admin) => line(format_args!("admin      {}", admin.address)),
        None => line("admin      off"),
    }
    for (index, settings) in config.upstreams.iter().enumerate() {
        let id = UpstreamId(index);
        let upstream = config.directory.get(id);
        let wanted = config.directory.wanted(id).map_or(String::new(), |wanted| format!("{wanted}  "));
        let region = upstream.region.as_ref().map_or("-", |region| region.as_str());
        line(format_args!(
            "{id:10} {wanted}{}://{}:{} region {region} signature {} credentials {}",
            upstream.endpoint.scheme.as_str(),
            upstream.endpoint.host.bracketed(),
            upstream.endpoint.port,
            settings.signature.as_str(),
            settings.credentials
        ));
    }
    line("the configuration is good");
}
