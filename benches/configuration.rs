//! Measures the time from a configuration to a proxy that can serve, by the number of routes:
//! `cargo bench --bench configuration`.
//!
//! Prints milliseconds, the best of a few rounds; nothing is asserted. With other numbers of routes
//! and credentials: `cargo bench --bench configuration -- 50000 2000`.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oss_signing_proxy::app::{App, SystemEnv};
use oss_signing_proxy::config::{ConfigFile, ProxyConfig, SettingLayer};
use oss_signing_proxy::internals::config::{changes, effective_settings};
use oss_signing_proxy::internals::credentials::{
    ConfiguredSources, build_sources, rebuild_sources, source_specs,
};
use tokio::task::LocalSet;

fn main() -> io::Result<()> {
    // Cargo adds a flag, which is skipped.
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let sizes = match numbers[..] {
        [] => vec![(1_000, 10), (3_000, 10), (10_000, 10), (10_000, 5_000)],
        [routes] => vec![(routes, 10)],
        [routes, sources, ..] => vec![(routes, sources)],
    };
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} ms",
        "routes", "sources", "load", "assemble", "changes", "sources'", "refuse"
    )?;
    for (routes, sources) in sizes {
        let best = (0..ROUNDS).map(|_| measure(routes, sources)).reduce(least).unwrap_or_default();
        write!(out, "{routes:>8} {sources:>8}")?;
        for took in best {
            write!(out, " {:>8.1}", took.as_secs_f64() * 1e3)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Returns the times of the five steps of one round. They are reading the text, assembling the
/// proxy, and comparing two configurations. Then the providers of the second are built after those
/// of the first, and a text with a mistake in each route is rejected.
fn measure(routes: usize, sources: usize) -> [Duration; 5] {
    let text = text(routes, sources, "known");
    let (config, loading) = timed(|| load(&text));
    let again = load(&text.replace("\"cn-beijing\"", "\"cn-shanghai\""));
    let (_, comparing) = timed(|| changes(effective_settings(&config), effective_settings(&again)));
    let sources = build_sources(source_specs(&config), &Arc::default());
    let before = ConfiguredSources { specs: source_specs(&config), sources: &sources };
    let (_, building) = timed(|| rebuild_sources(source_specs(&again), &[before], &Arc::default()));
    let wrong = text.replace("credentials = \"known", "credentials = \"unknown");
    let (_, refusing) = timed(|| read(&wrong).map_err(|errors| errors.to_string()));
    let (_, assembling) = timed(|| assemble(config));
    [loading, assembling, comparing, building, refusing]
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let done = black_box(work());
    (done, begun.elapsed())
}

fn least(a: [Duration; 5], b: [Duration; 5]) -> [Duration; 5] {
    std::array::from_fn(|index| a[index].min(b[index]))
}

fn read(text: &str) -> Result<ProxyConfig, oss_signing_proxy::config::ConfigErrors> {
    let layers = [SettingLayer::from_environment(&SystemEnv)];
    ProxyConfig::load(Some(ConfigFile { path: Path::new("proxy.toml"), text }), &layers, &SystemEnv)
}

fn load(text: &str) -> ProxyConfig {
    read(text).expect("the text is a configuration")
}

/// Assembles the proxy with its sockets, and closes them.
fn assemble(config: ProxyConfig) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let app = LocalSet::new().block_on(&runtime, App::assemble(config, Arc::new(SystemEnv)));
    drop(app.expect("the configuration can be used"));
}

/// Returns a configuration with one bucket per route. The routes use the credentials in turn.
fn text(routes: usize, sources: usize, name: &str) -> String {
    let mut text = "[[listen]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"off\"\n\
                    [upstream]\nregion = \"cn-hangzhou\"\n"
        .to_owned();
    for source in 0..sources {
        let _ = write!(
            text,
            "[credentials.{name}-{source}]\ntype = \"static\"\naccess_key_id = \"LTAI5tExample{source:08}\"\n\
             access_key_secret = \"example-secret-{source:08}\"\n"
        );
    }
    for route in 0..routes {
        let source = route % sources.max(1);
        let _ = write!(
            text,
            "[[route]]\nmatch = {{ bucket = \"bucket-{route:06}\" }}\nregion = \"cn-beijing\"\n\
             internal = true\nbucket = \"bucket-{route:06}\"\ncredentials = \"{name}-{source}\"\n"
        );
    }
    text
}

const ROUNDS: usize = 5;
