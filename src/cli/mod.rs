//! The commands. This module assembles the others, accesses the system, and is the only one that
//! may print.

mod admin_client;
mod audit;
mod check;
mod child;
mod child_env;
#[cfg(feature = "emulator")]
mod demo;
mod doctor;
#[cfg(feature = "emulator")]
mod emulate;
mod exit;
mod explain;
mod flags;
mod keys;
mod man;
mod no_proxy;
mod output;
mod policy;
mod presign;
mod refusal;
mod request_description;
mod run;
mod serve;
mod wait;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use exit::CommandExit;
use flags::CommonFlags;

/// A signing reverse proxy for Alibaba Cloud OSS: unsigned HTTP in, signed requests out.
#[derive(Parser)]
#[command(name = "oss-signing-proxy", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<CliCommand>,
    #[command(flatten)]
    flags: CommonFlags,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Run the proxy (default)
    Serve(CommonFlags),
    /// Validate the configuration
    Check(check::CheckArgs),
    /// Show which credentials sign each route, or trace how a request would be signed
    Explain(explain::ExplainArgs),
    /// Diagnose connectivity, TLS, clock, credentials and region
    Doctor(doctor::DoctorArgs),
    /// Show the proxy in front of an in-memory OSS emulator
    #[cfg(feature = "emulator")]
    Demo(demo::DemoArgs),
    /// Make, rotate and revoke keys of callers
    Keys(keys::KeysArgs),
    /// Check policy documents, and test what a caller may do
    Policy(policy::PolicyArgs),
    /// Read the audit log
    Audit(audit::AuditArgs),
    /// Print a presigned URL
    Presign(presign::PresignArgs),
    /// Run an in-memory OSS emulator
    #[cfg(feature = "emulator")]
    Emulate(emulate::EmulateArgs),
    /// Run a command behind a temporary proxy, without keys in its environment
    Run(run::RunArgs),
    /// Wait until a running proxy is ready
    Wait(wait::WaitArgs),
    /// Generate shell completions
    Completion(man::CompletionArgs),
    /// Print the man page
    Man(man::ManArgs),
    /// Print the version
    Version,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os()).into()
}

fn run(arguments: impl Iterator<Item = OsString>) -> CommandExit {
    let cli = match CommandLine::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are reported in this way too. If printing fails, there is nothing
            // else to do.
            let _ = error.print();
            return if error.use_stderr() { CommandExit::Usage } else { CommandExit::Ok };
        }
    };
    match cli.command {
        None => serve::run(&cli.flags),
        Some(CliCommand::Serve(flags)) => serve::run(&flags),
        Some(CliCommand::Check(arguments)) => check::run(&arguments),
        Some(CliCommand::Explain(arguments)) => explain::run(&arguments),
        Some(CliCommand::Doctor(arguments)) => doctor::run(&arguments),
        #[cfg(feature = "emulator")]
        Some(CliCommand::Demo(arguments)) => demo::run(&arguments),
        Some(CliCommand::Keys(arguments)) => keys::run(&arguments),
        Some(CliCommand::Policy(arguments)) => policy::run(&arguments),
        Some(CliCommand::Audit(arguments)) => audit::run(&arguments),
        Some(CliCommand::Presign(arguments)) => presign::run(&arguments),
        #[cfg(feature = "emulator")]
        Some(CliCommand::Emulate(arguments)) => emulate::run(&arguments),
        Some(CliCommand::Run(arguments)) => run::run(&arguments),
        Some(CliCommand::Wait(arguments)) => wait::run(&arguments),
        Some(CliCommand::Completion(shell)) => man::completion(&shell, CommandLine::command()),
        Some(CliCommand::Man(page)) => man::page(&page, CommandLine::command()),
        Some(CliCommand::Version) => {
            output::line(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")));
            CommandExit::Ok
        }
    }
}
