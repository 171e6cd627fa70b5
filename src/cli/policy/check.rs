//! `policy check`: warns of statements that grant more than they seem to, or nothing.

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::exit::CommandExit;
use super::super::flags::CommonFlags;
use super::super::output::{complain, line};
use crate::policy::{DocumentFinding, DocumentOptions, InvalidDocument, PolicyDocument, find_mistakes};

#[derive(Args)]
pub(super) struct PolicyCheckArgs {
    /// Files with policy documents [default: the documents and rules of the callers in the configuration]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Account that the resources of these files may name
    #[arg(long, value_name = "ID", requires = "files")]
    account: Option<String>,
    #[command(flatten)]
    flags: CommonFlags,
}

/// A reason why a document cannot be checked.
#[derive(Debug, thiserror::Error)]
enum UncheckedDocument {
    #[error("{path}: cannot be read: {error}; name a file that this user may read", path = .path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{path}: invalid policy document: {error}", path = .path.display())]
    Invalid { path: PathBuf, error: InvalidDocument },
}

pub(super) fn run(arguments: &PolicyCheckArgs) -> CommandExit {
    if arguments.files.is_empty() { check_callers(&arguments.flags) } else { check_files(arguments) }
}

/// Checks each file on its own.
fn check_files(arguments: &PolicyCheckArgs) -> CommandExit {
    let mut exit = CommandExit::Ok;
    for path in &arguments.files {
        let checked = read(path, arguments.account.as_deref()).map(|document| print("", &[document]));
        match checked {
            Ok(true) if exit == CommandExit::Ok => exit = CommandExit::Failure,
            Ok(_) => {}
            Err(error) => {
                complain(error);
                exit = CommandExit::Config;
            }
        }
    }
    exit
}

fn read(path: &Path, account: Option<&str>) -> Result<PolicyDocument, UncheckedDocument> {
    let unreadable = |error| UncheckedDocument::Unreadable { path: path.to_owned(), error };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let options = DocumentOptions { account, session_policy: false };
    let invalid = |error| UncheckedDocument::Invalid { path: path.to_owned(), error };
    let document = PolicyDocument::parse(&text, options).map_err(invalid)?;
    Ok(document.named(&path.display().to_string()))
}

/// Checks the documents of each caller together.
fn check_callers(flags: &CommonFlags) -> CommandExit {
    if flags.file().is_none() {
        complain("nothing to check: name files with policy documents, or a configuration (--config)");
        return CommandExit::Usage;
    }
    let config = match flags.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let mut is_warned = false;
    for caller in config.callers.iter().flatten() {
        let place = format!("{} (caller {}): ", caller.origin, caller.name);
        is_warned |= print(&place, caller.rights.documents());
    }
    if is_warned { CommandExit::Failure } else { CommandExit::Ok }
}

/// Prints the mistakes in documents that apply together. Returns whether there are any.
fn print(place: &str, documents: &[PolicyDocument]) -> bool {
    let findings = find_mistakes(documents);
    for DocumentFinding { document, statement, warning } in &findings {
        let name = documents.get(*document).map_or("policy", PolicyDocument::name);
        line(format_args!("{place}{name}: statement {}: {warning}", statement + 1));
    }
    !findings.is_empty()
}
