//! Compares the proxy with nginx and haproxy, which do not sign, in front of the same origin and
//! under the same load. The rounds are interleaved: the machine is never quiet, so only
//! simultaneous measurements are compared. CPU time is what the kernel accounts to the processes. A
//! further row is the floor: a proxy on hyper that only forwards.
//!
//! `cargo bench --bench compare -- --help` lists the options. Requires nginx and haproxy, Debian
//! packages of these names.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod callers;
mod floor;
mod load;
mod origin;
mod process;
mod reload;
mod scenario;
mod subject;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use origin::Origin;
use scenario::Scenario;
use subject::Subject;
use table::Table;

/// The command-line options.
struct Options {
    rounds: usize,
    seconds: f64,
    only: Vec<String>,
    /// The program to compare.
    proxy: PathBuf,
    /// Another build of the program, measured in the same rounds.
    base: Option<PathBuf>,
    /// Measures only reloads, without the other subjects.
    reload: bool,
}

fn options() -> Result<Options, String> {
    let proxy = PathBuf::from(env!("CARGO_BIN_EXE_oss-signing-proxy"));
    let mut options = Options { rounds: 5, seconds: 3.0, only: Vec::new(), proxy, base: None, reload: false };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse::<f64>().ok());
        match argument.as_str() {
            "--quick" => (options.rounds, options.seconds) = (3, 1.0),
            "--rounds" => options.rounds = number().ok_or("--rounds N")? as usize,
            "--seconds" => options.seconds = number().ok_or("--seconds S")?,
            "--proxy" => options.proxy = arguments.next().ok_or("--proxy PATH")?.into(),
            "--base" => options.base = Some(arguments.next().ok_or("--base PATH")?.into()),
            "--reload" => options.reload = true,
            "--only" => options.only.push(arguments.next().ok_or("--only WORD")?),
            _ => {
                let names: Vec<_> = Scenario::all().iter().map(|one| one.name.clone()).collect();
                return Err(format!(
                    "options: --quick, --rounds N (5), --seconds S (3), --only WORD (repeatable), --proxy PATH (the program, if not the one just built), --base PATH (another build of it, for the ratio), --reload (only reloads of many callers under load)\nscenarios: {}",
                    names.join(", ")
                ));
            }
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--floor", rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        floor::run(rest);
        return ExitCode::SUCCESS;
    }
    let options = match options() {
        Ok(options) => options,
        Err(text) => {
            println!("{text}");
            return ExitCode::from(2);
        }
    };
    process::allow_many_files();
    let folder = tempfile::tempdir().expect("a directory");
    if options.reload {
        reload::run(&options.proxy, folder.path());
        return ExitCode::SUCCESS;
    }
    if let Some(missing) = ["nginx", "haproxy"].iter().find(|name| !process::exists(name)) {
        println!("{missing} is not installed; it is the Debian package of this name");
        return ExitCode::FAILURE;
    }
    run(&options, folder.path());
    ExitCode::SUCCESS
}

fn run(options: &Options, folder: &Path) {
    let chosen: Vec<Scenario> = Scenario::all()
        .into_iter()
        .filter(|one| options.only.is_empty() || options.only.iter().any(|word| one.name.contains(word)))
        .collect();
    let origin = Origin::start(folder);
    process::describe();
    let subjects = Subject::all(folder, &origin, &options.proxy, options.base.as_deref());
    println!("\n{:13} {:>10} {:>12}", "", "ready ms", "RSS idle MiB");
    for subject in &subjects {
        println!(
            "{:13} {:10.0} {:12.1}",
            subject.name,
            subject.ready_ms,
            subject.process.rss_kib() as f64 / 1024.0
        );
    }
    print_memory_per_caller(&subjects);
    let mut table = Table::default();
    for scenario in &chosen {
        for round in 0..options.rounds.min(scenario.rounds_max) {
            // The order rotates, so that no subject is always first.
            for turn in 0..subjects.len() {
                let at = (turn + round) % subjects.len();
                if let Some(measured) = scenario.run(&subjects[at], &origin, options.seconds) {
                    table.add(scenario, subjects[at].name, measured);
                }
            }
        }
        table.print(scenario);
    }
}

/// Prints the memory of a caller: the difference between the subjects with many and with one,
/// divided by their number.
fn print_memory_per_caller(subjects: &[Subject]) {
    let named = |name: &str| subjects.iter().find(|subject| subject.name == name);
    if let (Some(many), Some(one)) = (named("verifying-10k"), named("verifying")) {
        let grown = many.process.rss_kib().saturating_sub(one.process.rss_kib()) as f64;
        println!("{:.2} KiB RSS/caller, bar 2 KiB", grown / many.callers as f64);
    }
}
