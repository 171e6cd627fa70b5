//! `audit suggest`: prints the least rights that the requests of each caller needed, those of the
//! role that signs, and the statements that no request has used.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::least_policy;
use super::observed_rights::ObservedRights;
use super::record_reader::RecordReader;
use crate::cli::exit::CommandExit;
use crate::cli::flags::CommonFlags;
use crate::cli::output::{complain, line};
use crate::config::ProxyConfig;

#[derive(Args)]
pub(super) struct SuggestArgs {
    /// Audit logs in the JSON format, the oldest first [default: standard input]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the documents of this caller only, without comments
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// Also grant what was denied
    #[arg(long)]
    denied: bool,
    #[command(flatten)]
    flags: CommonFlags,
}

pub(super) fn run(arguments: &SuggestArgs) -> CommandExit {
    let config = match arguments.flags.file() {
        Some(_) => match arguments.flags.load() {
            Ok(config) => Some(config),
            Err(exit) => return exit,
        },
        None => None,
    };
    let mut reader = RecordReader::new(arguments.denied);
    if arguments.files.is_empty()
        && let Err(error) = reader.read(io::stdin().lock())
    {
        complain(format_args!("cannot read standard input: {error}"));
        return CommandExit::Failure;
    }
    for path in &arguments.files {
        if let Err(error) = read_file(&mut reader, path) {
            complain(format_args!("{}: cannot be read: {error}", path.display()));
            return CommandExit::Failure;
        }
    }
    if reader.unreadable > 0 {
        let count = reader.unreadable;
        complain(format_args!("warning: {count} lines are not records; the log must have format = \"json\""));
    }
    match &arguments.caller {
        Some(name) => print_caller(&reader, name),
        None => {
            print_all(&reader);
            config.iter().for_each(|config| print_unused(&reader, config));
            CommandExit::Ok
        }
    }
}

fn read_file(reader: &mut RecordReader, path: &Path) -> io::Result<()> {
    reader.read(BufReader::new(File::open(path)?))
}

fn print_caller(reader: &RecordReader, name: &str) -> CommandExit {
    match reader.callers.get(&Some(name.to_owned())) {
        Some(rights) => {
            least_policy::documents(rights).iter().for_each(print_document);
            CommandExit::Ok
        }
        None => {
            complain(format_args!("the log has no request of caller {name:?}"));
            CommandExit::Failure
        }
    }
}

fn print_all(reader: &RecordReader) {
    let mut role = ObservedRights::default();
    for (caller, rights) in &reader.callers {
        role.add(rights);
        let name = caller.as_deref().unwrap_or("clients without a caller");
        print_rights(name, rights);
    }
    print_rights("the role that signs, for all of them", &role);
}

fn print_rights(name: &str, rights: &ObservedRights) {
    line(format_args!("# {name}: {} requests", rights.requests));
    if rights.unknown > 0 {
        line(format_args!("# not included: {} requests that no policy can describe", rights.unknown));
    }
    least_policy::documents(rights).iter().for_each(print_document);
}

fn print_document(document: &Value) {
    line(format_args!("{document:#}"));
}

/// Prints the statements of the configured callers that have allowed no request.
fn print_unused(reader: &RecordReader, config: &ProxyConfig) {
    line("# statements that no request of the log has used");
    for caller in config.callers.iter().flatten() {
        let rights = reader.callers.get(&Some(caller.name.clone()));
        for document in caller.rights.documents() {
            let digest = base16ct::lower::encode_string(&Sha256::digest(document.text()));
            let statements = serde_json::from_str::<Value>(document.text()).unwrap_or_default();
            let statements = statements["Statement"].as_array().cloned().unwrap_or_default();
            for (statement, number) in statements.iter().zip(1..) {
                let is_used = rights.is_some_and(|rights| rights.used.contains(&(digest.clone(), number)));
                if statement["Effect"] == "Allow" && !is_used {
                    let (caller, name) = (&caller.name, document.name());
                    line(format_args!("# {caller}: {name}, statement {number}: {statement}"));
                }
            }
        }
    }
}
