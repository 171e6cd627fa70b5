//! `explain`: who signs for each route, where the key comes from, and why from nowhere else.

use std::fmt::Write as _;

use super::assembly::ask_all;
use super::exit::Exit;
use super::flags::Flags;
use super::output::{complain, line};
use super::serve::block_on;
use super::system::System;
use crate::address::UpstreamId;
use crate::credentials::{Source, each};
use crate::time::{Clock as _, Timestamp};

pub(super) fn run(flags: &Flags) -> Exit {
    let config = match flags.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    block_on(async {
        let sources = match ask_all(&config.credentials, &System, None).await {
            Ok((sources, _)) => sources,
            Err(error) => {
                complain(error);
                return Exit::Config;
            }
        };
        let mut usable = true;
        for (index, settings) in config.upstreams.iter().enumerate() {
            let upstream = config.directory.get(UpstreamId(index));
            let name = if index == 0 { "upstream".to_owned() } else { format!("route {index}") };
            let source = sources.get(&settings.credentials);
            usable &= source.is_none_or(|source| source.get(System.now()).is_ok());
            let signer = match source {
                Some(source) => format!("source {:?}", source.name()),
                None => "nobody signs (anonymous)".to_owned(),
            };
            line(format_args!(
                "{name:10} {}://{}:{}  -> {signer}",
                upstream.endpoint.scheme.as_str(),
                upstream.endpoint.host.bracketed(),
                upstream.endpoint.port,
            ));
        }
        for (_, source) in each(&sources) {
            describe(source);
        }
        if usable { Exit::Ok } else { Exit::Credentials }
    })
}

/// Prints how a source is. Of the key only the ends of its id are shown.
pub(super) fn describe(source: &Source) {
    let (status, now) = (source.status(&System), System.now());
    let mut head = format!("source {:?}  {}", status.name, status.stage);
    if let Some(provider) = &status.provider {
        let _ = write!(head, "  {provider}");
    }
    if let Ok(given) = source.get(now) {
        let token = if given.token.is_some() { " with a token" } else { "" };
        let _ = write!(head, "  key {}{token}", masked(&given.id));
    }
    line(head);
    if let Some(expires) = status.expires {
        let renewal = status.renewal.map_or(String::new(), |at| format!(", renewed in {}", until(at, now)));
        line(format_args!("    ends {} (in {}){renewal}", expires.rfc3339(), until(expires, now)));
    }
    for text in &status.explanation {
        line(format_args!("    {text}"));
    }
    if let Some(error) = &status.last_error {
        line(format_args!("    last error: {error}"));
    }
}

fn masked(id: &str) -> String {
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
