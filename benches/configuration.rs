//! Measures the time from a configuration to a proxy that can serve, by the number of routes, and
//! the time of a reload and the memory, by the number of callers:
//! `cargo bench --bench configuration`.
//!
//! Prints milliseconds, the best of a few rounds; nothing is asserted. With other numbers of routes
//! and credentials: `cargo bench --bench configuration -- 50000 2000`. Only the callers, with other
//! numbers: `cargo bench --bench configuration -- callers 50000`.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use oss_signing_proxy::app::{App, DrainSignal, SystemEnv};
use oss_signing_proxy::config::{ConfigFile, ProxyConfig, SettingLayer};
use oss_signing_proxy::internals::config::{changes, effective_settings};
use oss_signing_proxy::internals::credentials::{
    ConfiguredSources, build_sources, rebuild_sources, source_specs,
};
use tokio::task::LocalSet;

fn main() -> io::Result<()> {
    // Cargo adds a flag, which is skipped.
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let mut out = io::stdout().lock();
    if std::env::args().any(|argument| argument == MEMORY) {
        return print_memory(&mut out, numbers[0]);
    }
    if std::env::args().any(|argument| argument == "callers") {
        return print_callers(&mut out, &numbers);
    }
    let sizes = match numbers[..] {
        [] => vec![(1_000, 10), (3_000, 10), (10_000, 10), (10_000, 5_000)],
        [routes] => vec![(routes, 10)],
        [routes, sources, ..] => vec![(routes, sources)],
    };
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
    if numbers.is_empty() { print_callers(&mut out, &[1_000, 10_000]) } else { Ok(()) }
}

/// Prints the times of loading so many callers, and of a reload in which half of them have another
/// secret. Prints the memory of each caller at the start and after such reloads.
fn print_callers(out: &mut impl io::Write, numbers: &[usize]) -> io::Result<()> {
    let names = ["callers", "load ms", "reload ms", "B/caller", "reloaded"];
    writeln!(out, "{:>8} {:>9} {:>9} {:>9} {:>9}", names[0], names[1], names[2], names[3], names[4])?;
    let few = memory_of(FEW)?;
    for &callers in numbers {
        let texts = ["1", "2"].map(|half| text_of_callers(callers, half));
        let (_, loading) = timed(|| load(&texts[0]));
        let reloading = reload(texts, || ());
        let [loading, reloading] = [loading, reloading].map(|took| took.as_secs_f64() * 1e3);
        let many = memory_of(callers)?;
        let more = callers.saturating_sub(FEW).max(1);
        let [start, reloaded] = [0, 1].map(|index| many[index].saturating_sub(few[index]) / more);
        writeln!(out, "{callers:>8} {loading:>9.1} {reloading:>9.1} {start:>9} {reloaded:>9}")?;
    }
    Ok(())
}

/// Returns the resident memory of so many callers at the start and after reloads. It is measured in
/// another process, whose memory no other measurement has used.
fn memory_of(callers: usize) -> io::Result<[usize; 2]> {
    let this = std::env::current_exe()?;
    let output = std::process::Command::new(this).args([MEMORY, &callers.to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<usize> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Prints the bytes by which the resident memory grows, as [`memory_of`] returns them.
fn print_memory(out: &mut impl io::Write, callers: usize) -> io::Result<()> {
    let texts = ["1", "2"].map(|half| text_of_callers(callers, half));
    let before = resident()?;
    let mut seen = Vec::new();
    reload(texts, || seen.push(resident().unwrap_or_default().saturating_sub(before)));
    writeln!(out, "{} {}", seen[0], seen[seen.len() - 1])
}

/// Returns the resident memory of this process in bytes.
fn resident() -> io::Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("no VmRSS"))
}

/// Serves the first text and reloads the second and the first in turn. Calls `observe` before and
/// after each reload. Returns the least time.
fn reload(texts: [String; 2], mut observe: impl FnMut()) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let app = App::assemble(load(&texts[0]), Arc::new(SystemEnv)).await.expect("it can be used");
        let reloaded = AtomicUsize::new(0);
        let app = app.reloading(Arc::new(move || {
            let number = reloaded.fetch_add(1, Ordering::Relaxed) + 1;
            Ok(read(&texts[number % texts.len()])?)
        }));
        let (reloads, drain) = (app.reloads(), DrainSignal::new());
        let serving = tokio::task::spawn_local(app.run(drain.clone()));
        let mut least = Duration::MAX;
        observe();
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            reloads.reload().await.expect("the configuration is valid");
            least = least.min(begun.elapsed());
            // The workers release the previous configuration after the reload.
            tokio::time::sleep(PAUSE).await;
            observe();
        }
        drain.leave();
        serving.await.expect("no panic").expect("it served");
        least
    })
}

/// Returns a configuration with callers. The secrets of half of them end in `half`.
fn text_of_callers(callers: usize, half: &str) -> String {
    let mut text =
        "[admin]\naddress = \"off\"\n[upstream]\nregion = \"cn-hangzhou\"\ncredentials = \"known\"\n\
                    [credentials.known]\ntype = \"static\"\naccess_key_id = \"LTAI5tExample\"\n\
                    access_key_secret = \"example-secret\"\n\
                    [[listen]]\naddress = \"127.0.0.1:0\"\nidentify = [\"key\"]\n"
            .to_owned();
    for caller in 0..callers {
        let last = if caller % 2 == 0 { "0" } else { half };
        let _ = write!(
            text,
            "[[caller]]\nname = \"caller-{caller}\"\nallow = \"everything\"\n\
             key = [{{ id = \"caller-{caller}-1\", secret = \"secret-of-a-caller-of-the-benchmark-{caller:06}{last}\" }}]\n"
        );
    }
    text
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
/// The time after a reload before the memory is measured.
const PAUSE: Duration = Duration::from_millis(200);
/// The argument of the process that measures memory.
const MEMORY: &str = "memory";
/// The number of callers whose memory is subtracted.
const FEW: usize = 10;
