//! `policy`: checks documents, and tests what a caller may do.

mod check;
mod test;

use clap::{Args, Subcommand};

use super::exit::CommandExit;

#[derive(Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Subcommand)]
enum PolicyCommand {
    /// Warn of statements that grant more than they seem to, or nothing
    Check(check::PolicyCheckArgs),
    /// Print whether a caller may send a request, and the statement or the permission that decides
    Test(test::PolicyTestArgs),
}

pub(super) fn run(arguments: &PolicyArgs) -> CommandExit {
    match &arguments.command {
        PolicyCommand::Check(arguments) => check::run(arguments),
        PolicyCommand::Test(arguments) => test::run(arguments),
    }
}
