//! `completion` and `man`: shell completions and manual pages, generated from the command line
//! definition.

use clap::{Args, Command};
use clap_complete::generate;
use clap_mangen::Man;

use super::exit::CommandExit;
use super::output::{all, complain};

#[derive(Args)]
pub(super) struct CompletionArgs {
    /// Shell to generate completions for
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

#[derive(Args)]
pub(super) struct ManArgs {
    /// Command to document, such as run [default: the program]
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

pub(super) fn completion(shell: &CompletionArgs, mut command: Command) -> CommandExit {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    generate(shell.shell, &mut command, name, &mut text);
    all(&text);
    CommandExit::Ok
}

pub(super) fn page(page: &ManArgs, mut command: Command) -> CommandExit {
    // Gives each subcommand its full name.
    command.build();
    let wanted = page.command.iter().try_fold(&command, |command, name| command.find_subcommand(name));
    let Some(wanted) = wanted.cloned() else {
        complain("unknown command; --help lists the commands");
        return CommandExit::Usage;
    };
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = Man::new(wanted).render(&mut text);
    all(&text);
    CommandExit::Ok
}
