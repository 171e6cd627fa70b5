//! `audit`: reads the audit log, and suggests the least rights that it shows to be needed.

mod least_policy;
mod observed_rights;
mod record_reader;
mod suggest;

use clap::{Args, Subcommand};

use super::exit::CommandExit;

#[derive(Args)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Print the least policy documents that would have allowed the requests of each caller
    Suggest(suggest::SuggestArgs),
}

pub(super) fn run(arguments: &AuditArgs) -> CommandExit {
    match &arguments.command {
        AuditCommand::Suggest(arguments) => suggest::run(arguments),
    }
}
