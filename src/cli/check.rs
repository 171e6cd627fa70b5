//! `check`: reads the configuration as `serve` would, and says what is wrong with it, or what it comes to.

use super::app::ask_all;
use super::exit::Exit;
use super::flags::Flags;
use super::output::{complain, line};
use super::serve::block_on;
use super::system::System;
use crate::address::UpstreamId;
use crate::config::Config;

pub(super) fn run(flags: &Flags) -> Exit {
    let mut config = match flags.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    for warning in &config.warnings {
        complain(format_args!("warning: {warning}"));
    }
    let specs = std::mem::take(&mut config.credentials);
    block_on(async move {
        let unavailable = match ask_all(&specs, &System, None).await {
            Ok((_, unavailable)) => unavailable,
            Err(error) => {
                complain(error);
                return Exit::Config;
            }
        };
        for files in config.listen.iter().filter_map(|listen| listen.tls.as_ref()) {
            if let Err(error) = files.load() {
                complain(error);
                return Exit::Config;
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

fn describe(config: &Config) {
    for listen in &config.listen {
        line(format_args!("listen     {}{}", listen.address, if listen.tls.is_some() { " TLS" } else { "" }));
    }
    match &config.admin {
        Some(address) => line(format_args!("admin      {address}")),
        None => line("admin      off"),
    }
    for (index, settings) in config.upstreams.iter().enumerate() {
        let upstream = config.directory.get(UpstreamId(index));
        let name = if index == 0 { "upstream".to_owned() } else { format!("route {index}") };
        let region = upstream.region.as_ref().map_or("-", |region| region.as_str());
        line(format_args!(
            "{name:10} {}://{}:{} region {region} signature {} credentials {}",
            upstream.endpoint.scheme.as_str(),
            upstream.endpoint.host.bracketed(),
            upstream.endpoint.port,
            settings.signature.as_str(),
            settings.credentials
        ));
    }
    line("the configuration is good");
}
