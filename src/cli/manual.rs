//! `completion` and `man`: what shells and readers of manuals want to know of the command line, made from the command line itself.

use clap::{Args, Command};
use clap_complete::generate;
use clap_mangen::Man;

use super::exit::Exit;
use super::output::{all, complain};

#[derive(Args)]
pub(super) struct Shell {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

#[derive(Args)]
pub(super) struct Page {
    /// The command, such as run; all of them unless named
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

pub(super) fn completion(shell: &Shell, mut command: Command) -> Exit {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    generate(shell.shell, &mut command, name, &mut text);
    all(&text);
    Exit::Ok
}

pub(super) fn page(page: &Page, mut command: Command) -> Exit {
    // So that each command knows by which name it is called.
    command.build();
    let wanted = match &page.command {
        None => Some(command),
        Some(name) => command.find_subcommand(name).cloned(),
    };
    let Some(wanted) = wanted else {
        complain("there is no such command; --help names them");
        return Exit::Usage;
    };
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = Man::new(wanted).render(&mut text);
    all(&text);
    Exit::Ok
}
