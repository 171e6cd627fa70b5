//! Rules of the configuration, tested through files, variables and flags.

mod audit;
mod caller_limits;
mod caller_peers;
mod caller_sessions;
mod callers;
mod callers_files;
mod credentials;
mod endpoints;
mod example;
mod facts;
mod file;
mod hand_out;
mod jwt;
mod layers;
mod listen;
mod many;
mod reference;
mod route;
mod sealing;
mod session_policy;
mod settings;
mod tool_routes;
mod upstream;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{ConfigErrors, ConfigFile, ProxyConfig, SettingLayer};
use crate::caller::NOBODY;
use crate::credentials::{SecretText, SourceEnv};
use crate::secret::Secret;
use crate::time::{Clock, Timestamp};

/// A test environment: variables, and files with their content and whether other users can read
/// them.
#[derive(Default)]
struct World {
    variables: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, (&'static str, bool)>,
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(0)
    }
}

impl SourceEnv for World {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    fn read_secret(&self, path: &Path) -> io::Result<SecretText> {
        let file = path.to_str().and_then(|path| self.files.get(path));
        let (text, exposed) = file.ok_or(io::ErrorKind::NotFound)?;
        Ok(SecretText { text: Secret::from(*text), is_exposed: *exposed })
    }

    fn user_id(&self, name: &str) -> io::Result<Option<u32>> {
        match name {
            "backup" => Ok(Some(34)),
            "team-a" => Ok(Some(1001)),
            "nobody" => Ok(Some(NOBODY)),
            "unreachable" => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(None),
        }
    }

    fn check_readable(&self, path: &Path) -> io::Result<()> {
        self.read_secret(path).map(drop)
    }

    fn read_regular(&self, path: &Path, _max: usize) -> io::Result<SecretText> {
        self.read_secret(path)
    }

    fn read_beneath(&self, directory: &Path, path: &Path, _max: usize) -> io::Result<SecretText> {
        self.read_secret(&directory.join(path))
    }

    fn list_directory(&self, path: &Path) -> io::Result<Vec<String>> {
        let inside = |file: &&str| Some(Path::new(*file).strip_prefix(path).ok()?.to_str()?.to_owned());
        let names: Vec<String> = self.files.keys().filter_map(inside).collect();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
    }

    fn resolve_path(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }
}

fn load_in(world: &World, text: &str, layers: &[SettingLayer]) -> Result<ProxyConfig, ConfigErrors> {
    ProxyConfig::load(Some(ConfigFile { path: Path::new("proxy.toml"), text }), layers, world)
}

fn load(text: &str) -> Result<ProxyConfig, ConfigErrors> {
    load_in(&World::default(), text, &[])
}

#[track_caller]
fn loaded(text: &str) -> ProxyConfig {
    load(text).unwrap_or_else(|errors| panic!("{text}\nis refused:\n{errors}"))
}

/// Returns the errors as displayed, one per line.
#[track_caller]
fn mistakes(result: Result<ProxyConfig, ConfigErrors>) -> Vec<String> {
    match result {
        Ok(config) => panic!("nothing is refused in {config:?}"),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

/// Asserts that `text` has exactly one error, at this location and with these words in its message.
#[track_caller]
fn refused(text: &str, place: &str, words: &str) {
    let mistakes = mistakes(load(text));
    let fits = |mistake: &String| mistake.starts_with(&format!("{place}: ")) && mistake.contains(words);
    assert!(
        mistakes.len() == 1 && mistakes.iter().all(fits),
        "{text}\nis refused with\n{mistakes:#?}\nand not once, at {place}, with {words:?}"
    );
}

/// Asserts that `text` loads with exactly one warning.
#[track_caller]
fn warned(text: &str, place: &str, words: &str) {
    let warnings = loaded(text).warnings;
    let fits = |line: &String| line.starts_with(&format!("{place}: ")) && line.contains(words);
    assert!(warnings.len() == 1 && warnings.iter().all(fits), "{text}\n{warnings:#?}");
}

/// The minimal `[upstream]`, on two lines.
const UPSTREAM: &str = "[upstream]\nregion = \"cn-hangzhou\"\n";
