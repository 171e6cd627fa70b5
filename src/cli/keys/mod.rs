//! `keys`: makes keys of callers, and rotates and revokes them.

mod caller_text;
mod key_material;
mod replaced_file;
mod text_edit;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use zeroize::Zeroizing;

use super::exit::CommandExit;
use super::output::{all, complain};
use crate::app::system_env::SystemEnv;
use crate::config::{parse_caller_name, parse_key_id, read_master};
use crate::sealing::SealedPlace;
use crate::secret::Secret;

use caller_text::{CallerBlock, CallerText, EditError, IdentityText, KeyText};
use key_material::{random_id, random_secret};
use replaced_file::{ReplaceError, ReplacedFile, create_secret};

#[derive(Args)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Add a caller with a new key
    New(NewArgs),
    /// Give a caller a second key, or remove the first of its two keys
    Rotate(RotateArgs),
    /// Reject a key or a caller
    Revoke(RevokeArgs),
}

#[derive(Args)]
struct NewArgs {
    /// Name of the caller
    #[arg(value_parser = parse_caller_name)]
    name: String,
    /// Operations that the caller may use [default: none]
    #[arg(long, value_name = "RIGHTS")]
    allow: Option<AllowValue>,
    /// Make a bearer token instead of an access key
    #[arg(long, conflicts_with = "id")]
    token: bool,
    #[command(flatten)]
    secret: SecretFlags,
    /// File to add the caller to [default: print it]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Args)]
struct RotateArgs {
    /// Name of the caller
    #[arg(value_parser = parse_caller_name)]
    name: String,
    /// Remove the first of the two keys, and add none
    #[arg(long, requires = "file", conflicts_with_all = ["id", "seal_with", "secret_file"])]
    finish: bool,
    #[command(flatten)]
    secret: SecretFlags,
    /// File with the caller [default: print the key]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Args)]
struct SecretFlags {
    /// Access key id [default: the name and random characters]
    #[arg(long, value_parser = parse_key_id)]
    id: Option<String>,
    /// Master to seal the secret with: env:NAME, file:PATH or credential:NAME
    #[arg(long, value_name = "MASTER")]
    seal_with: Option<String>,
    /// New file to write the secret to [default: print it]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

#[derive(Args)]
struct RevokeArgs {
    /// Id of the key, or name of the caller
    #[arg(value_name = "ID_OR_NAME", value_parser = parse_revoked)]
    entry: String,
    /// Main configuration file [default: print the setting]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// A value of `--allow`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum AllowValue {
    Everything,
    Read,
}

/// A reason why a command fails.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    /// The master cannot be used.
    #[error("{0}")]
    Master(String),
    /// The system returns no random bytes.
    #[error("the random source of the system failed")]
    Random,
    /// The secret cannot be written.
    #[error("{0}: cannot be created: {1}; name a new file in a directory that this user may write to")]
    SecretFile(String, std::io::Error),
    /// The text of the file is not changed.
    #[error("{0}: {1}")]
    Edit(String, EditError),
    /// The file cannot be read or written.
    #[error("{0}: {1}")]
    File(String, ReplaceError),
}

/// A new secret, as the configuration and the client get it.
struct NewSecret<'a> {
    secret: Secret,
    /// The access key id; `None` for a token.
    id: Option<String>,
    /// The reference to the secret, or the sealed secret.
    value: String,
    flags: &'a SecretFlags,
    file: Option<&'a Path>,
}

pub(super) fn run(arguments: &KeysArgs) -> CommandExit {
    let result = match &arguments.command {
        KeysCommand::New(arguments) => arguments.run(),
        KeysCommand::Rotate(arguments) if arguments.finish => arguments.finish(),
        KeysCommand::Rotate(arguments) => arguments.run(),
        KeysCommand::Revoke(arguments) => arguments.run(),
    };
    match result {
        Ok(()) => CommandExit::Ok,
        Err(error) => {
            complain(&error);
            match error {
                KeysError::Edit(_, EditError::Syntax(..)) => CommandExit::Config,
                KeysError::Master(_) => CommandExit::Usage,
                KeysError::Random | KeysError::SecretFile(..) | KeysError::Edit(..) | KeysError::File(..) => {
                    CommandExit::Failure
                }
            }
        }
    }
}

impl NewArgs {
    fn run(&self) -> Result<(), KeysError> {
        let Self { name, allow, token, secret, file } = self;
        let id = if *token { None } else { Some(secret.id_for(name)?) };
        let new = NewSecret::generate(name, id, secret, file.as_deref())?;
        let identity = match &new.id {
            Some(id) => IdentityText::Key(KeyText { id: id.clone(), secret: new.value.clone() }),
            None => IdentityText::Token(new.value.clone()),
        };
        let allow = allow.and_then(|allow| allow.to_possible_value());
        let block = CallerBlock { name, allow: allow.as_ref().map(|value| value.get_name()), identity };
        new.store(&block.lines().join("\n"), ReplacedFile::open_or_create, |text| text.with_caller(&block))?;
        if block.allow.is_none() {
            complain("note: the caller may do nothing before `allow` is set");
        }
        Ok(())
    }
}

impl RotateArgs {
    fn run(&self) -> Result<(), KeysError> {
        let Self { name, finish: _, secret, file } = self;
        let new = NewSecret::generate(name, Some(secret.id_for(name)?), secret, file.as_deref())?;
        let key = KeyText { id: new.id.clone().unwrap_or_default(), secret: new.value.clone() };
        let block = format!("# Add this to `key` of the caller {name:?}:\n{}", key.inline());
        new.store(&block, ReplacedFile::open, |text| text.with_key(name, &key))
    }

    fn finish(&self) -> Result<(), KeysError> {
        let Some(path) = &self.file else { return Ok(()) };
        change(path, ReplacedFile::open(path), |text| text.without_first_key(&self.name).map(Some))
    }
}

impl RevokeArgs {
    fn run(&self) -> Result<(), KeysError> {
        let Self { entry, file } = self;
        let Some(path) = file else {
            all(format!("revoked = [{entry:?}]\n").as_bytes());
            return Ok(());
        };
        change(path, ReplacedFile::open(path), |text| {
            if text.has_callers() && !text.has(entry) {
                complain(format_args!(
                    "warning: {} has neither a caller nor a key {entry:?}; correct it if no other file has it",
                    path.display()
                ));
            }
            text.with_revoked(entry)
        })
    }
}

impl SecretFlags {
    fn id_for(&self, caller: &str) -> Result<String, KeysError> {
        self.id.clone().or_else(|| random_id(caller)).ok_or(KeysError::Random)
    }
}

impl<'a> NewSecret<'a> {
    fn generate(
        caller: &str,
        id: Option<String>,
        flags: &'a SecretFlags,
        file: Option<&'a Path>,
    ) -> Result<Self, KeysError> {
        let secret = random_secret().ok_or(KeysError::Random)?;
        let value = match (&flags.seal_with, &flags.secret_file) {
            (Some(master), _) => {
                let place = match &id {
                    Some(id) => SealedPlace::Key { caller, id },
                    None => SealedPlace::Token { caller },
                };
                let master = read_master(master, &SystemEnv).map_err(KeysError::Master)?;
                place.seal(&secret, &master).map_err(|_| KeysError::Random)?
            }
            (None, Some(path)) => {
                let path = std::path::absolute(path).map_err(|error| secret_file(path, error))?;
                let text = path.to_str().ok_or_else(|| secret_file(&path, ErrorKind::InvalidInput.into()))?;
                format!("file:{text}")
            }
            (None, None) => format!("env:{}", variable(id.as_deref().unwrap_or(caller))),
        };
        Ok(Self { secret, id, value, flags, file })
    }

    /// Stores the secret and the key in the named files, and prints whatever has no file.
    fn store(
        &self,
        block: &str,
        open: fn(&Path) -> Result<ReplacedFile, ReplaceError>,
        edit: impl FnOnce(&CallerText<'_>) -> Result<String, EditError>,
    ) -> Result<(), KeysError> {
        let secret_path = self.flags.secret_file.as_deref();
        if let Some(path) = secret_path {
            create_secret(path, self.secret.expose()).map_err(|error| secret_file(path, error))?;
        }
        let mut has_master = false;
        let mut is_outside = false;
        if let Some(path) = self.file {
            let changed = change(path, open(path), |text| {
                has_master = self.flags.seal_with.as_ref().is_some_and(|master| text.has_master(master));
                text.check_reference(&self.value)?;
                is_outside =
                    text.has_only_callers() && secret_path.is_some_and(|secret| !is_beside(path, secret));
                edit(text).map(Some)
            });
            if let (Err(_), Some(secret_path)) = (&changed, secret_path) {
                let _ = std::fs::remove_file(secret_path);
            }
            changed?;
        }
        self.print(block, has_master);
        if is_outside {
            complain(
                "note: a file of callers_dir can refer only to secret files in that directory; move the secret file there if this is one",
            );
        }
        Ok(())
    }

    fn print(&self, block: &str, has_master: bool) {
        let mut out = Zeroizing::new(String::with_capacity(OUTPUT_LENGTH + block.len()));
        // Lines that are not TOML: a file to which all output is redirected is rejected, instead of
        // holding the secret.
        if let Some(id) = self.id.as_ref().filter(|_| self.file.is_some() || self.flags.secret_file.is_none())
        {
            out.extend(["access key id: ", id.as_str(), "\n"]);
        }
        if self.flags.secret_file.is_none() {
            let title = if self.id.is_some() { "access key secret: " } else { "token: " };
            out.extend([title, self.secret.expose(), "\n"]);
        }
        if self.file.is_none() {
            let blank = if out.is_empty() { "" } else { "\n" };
            out.extend([blank, block, "\n"]);
        }
        all(out.as_bytes());
        match (&self.flags.seal_with, self.value.strip_prefix("env:")) {
            (Some(master), _) if !has_master => complain(format_args!(
                "note: the main file needs [sealing] with master = [{master:?}] to open the secret"
            )),
            (None, Some(variable)) => complain(format_args!(
                "note: the proxy reads the secret from its environment variable {variable}; set it, and restart the proxy"
            )),
            _ => {}
        }
    }
}

fn secret_file(path: &Path, error: std::io::Error) -> KeysError {
    KeysError::SecretFile(path.display().to_string(), error)
}

/// Returns whether a secret file is in the directory of a file with callers, or below it.
fn is_beside(file: &Path, secret: &Path) -> bool {
    let directory = |path: &Path| std::fs::canonicalize(std::path::absolute(path).ok()?.parent()?).ok();
    match (directory(file), directory(secret)) {
        (Some(of_file), Some(of_secret)) => of_secret.starts_with(of_file),
        (None, _) | (_, None) => false,
    }
}

/// Changes a file with callers; an edit without a text leaves it unchanged.
fn change(
    path: &Path,
    opened: Result<ReplacedFile, ReplaceError>,
    edit: impl FnOnce(&CallerText<'_>) -> Result<Option<String>, EditError>,
) -> Result<(), KeysError> {
    let of_file = |error| KeysError::File(path.display().to_string(), error);
    let of_text = |error| KeysError::Edit(path.display().to_string(), error);
    let file = opened.map_err(of_file)?;
    let edited = CallerText::parse(file.text()).and_then(|text| edit(&text)).map_err(of_text)?;
    match edited {
        Some(edited) => file.replace(&edited).map_err(of_file),
        None => Ok(()),
    }
}

/// Returns the environment variable for the secret of an id or for the token of a caller. Its prefix
/// is not that of the variables of the proxy.
fn variable(owner: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("CALLER_{}_SECRET", owner.chars().map(word).collect::<String>())
}

fn parse_revoked(text: &str) -> Result<String, String> {
    parse_caller_name(text).or_else(|_| parse_key_id(text))
}

/// Enough for the lines before the block, so that no copy of the secret remains in memory.
const OUTPUT_LENGTH: usize = 512;
