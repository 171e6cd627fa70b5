//! The commands. This module assembles the others, reads the world outside, and alone may print.

mod admin_client;
mod app;
mod assembly;
mod bypass;
mod check;
mod child;
mod console;
mod demo;
mod doctor;
mod emulate;
mod environment;
mod exit;
mod explain;
mod flags;
mod keeper;
mod manual;
mod notify;
mod output;
mod presign;
mod refusal;
mod run;
mod serve;
mod sockets;
mod system;
mod trusts;
mod visits;
mod wait;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use app::{App, Load, Reloads};
pub use assembly::{BadSource, StartError};
pub use system::System;
pub use watch::NotTaken;

use exit::Exit;
use flags::Flags;

/// A signing reverse proxy for Alibaba Cloud OSS: unsigned HTTP in, signed requests out.
#[derive(Parser)]
#[command(name = "oss-signing-proxy", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Subcommand)]
enum Command {
    /// Serve clients (the default)
    Serve(Flags),
    /// Read the configuration, say what is wrong with it, and stop
    Check(check::Args),
    /// Say who signs for each route and why nobody else; of a request, what would become of it and what is signed
    Explain(explain::Args),
    /// Find out what keeps requests from being served: names, TLS, clock, credentials, region, a signed request
    Doctor(doctor::Args),
    /// Show the proxy at work against an embedded OSS
    Demo(demo::Args),
    /// Print a signed URL, good for one request, for whoever has it
    Presign(presign::Args),
    /// Serve an embedded OSS, in memory, for tests
    Emulate(emulate::Args),
    /// Run a command with a proxy of its own, and without keys
    Run(run::Args),
    /// Wait until a proxy that serves is ready, or look once
    Wait(wait::Args),
    /// Print what a shell needs to complete this command line
    Completion(manual::Shell),
    /// Print the manual page, of all or of one command
    Man(manual::Page),
    /// Print the version
    Version,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os()).into()
}

fn run(arguments: impl Iterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. If nobody reads them, there is nothing else to do.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    match cli.command {
        None => serve::run(&cli.flags),
        Some(Command::Serve(flags)) => serve::run(&flags),
        Some(Command::Check(arguments)) => check::run(&arguments),
        Some(Command::Explain(arguments)) => explain::run(&arguments),
        Some(Command::Doctor(arguments)) => doctor::run(&arguments),
        Some(Command::Demo(arguments)) => demo::run(&arguments),
        Some(Command::Presign(arguments)) => presign::run(&arguments),
        Some(Command::Emulate(arguments)) => emulate::run(&arguments),
        Some(Command::Run(arguments)) => run::run(&arguments),
        Some(Command::Wait(arguments)) => wait::run(&arguments),
        Some(Command::Completion(shell)) => manual::completion(&shell, Cli::command()),
        Some(Command::Man(page)) => manual::page(&page, Cli::command()),
        Some(Command::Version) => {
            output::line(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")));
            Exit::Ok
        }
    }
}
