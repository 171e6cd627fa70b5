//! `callers_file` and `callers_dir`: files of callers apart from the main file. A file that cannot be
//! used is recorded with its errors, and does not affect the others.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::caller_access::AccessCeiling;
use super::caller_schema::{CALLERS_DIR, CALLERS_FILE};
use super::caller_sources::{CallersFile, FileGroup, UnlistedDirectory};
use super::callers::{self, CallerSections, CallersFileContext, FileCallers, RealKeyIds, RevokedEntries};
use super::confined_directory::ConfinedDirectory;
use super::credentials::{FileModePolicy, SecretResolver, SecretScope};
use super::diagnostics::ConfigReport;
use super::env::{ContentDigest, FileDigest, callers_file_names};
use super::error::{ConfigErrorKind, ConfigWarning};
use super::origin::{SpannedValue, ValueOrigin};
use super::sealed_secrets::SealingMasters;
use super::section::{ConfigDocument, ConfigFile, ConfigSection};
use crate::credentials::SourceEnv;
use crate::policy::CallerRights;

/// The files of callers as read.
#[derive(Default)]
pub(super) struct CallerFiles {
    /// `callers_file`, then those of `callers_dir` by name.
    pub(super) files: Vec<CallersFile>,
    /// The directory, if it cannot be listed.
    pub(super) unlisted: Option<UnlistedDirectory>,
    /// The highest access that the files of the directory may grant.
    pub(super) ceiling: Option<CallerRights>,
    /// The names of the callers of usable files.
    pub(super) names: Vec<String>,
    /// The files that were read, the directory, and the secret files that they refer to.
    pub(super) watched: Vec<FileDigest>,
}

/// Reads the files of callers. There are none if the listeners of the main file are ignored.
pub(super) fn read(
    root: &ConfigSection<'_>,
    secrets: &SecretResolver<'_>,
    real_ids: &RealKeyIds<'_>,
    sections: &mut CallerSections,
    report: &mut ConfigReport,
) -> CallerFiles {
    let mut read = CallerFiles::default();
    if root.alone("caller").is_some() {
        return read;
    }
    let CallerSections { masters, revoked, account, .. } = sections;
    let account = account.clone();
    let mut reader = CallerFileReader { secrets, masters, real_ids, revoked, account, report };
    if let Some(path) = root.text("callers_file", reader.report) {
        let path = PathBuf::from(path.value);
        reader.file(&path, None, &mut read);
    }
    if let Some(directory) = CallersDirectory::read(root, &mut reader, &mut read) {
        reader.directory(&directory, &mut read);
    }
    read
}

/// The directory of the files of teams.
struct CallersDirectory {
    path: PathBuf,
    at: ValueOrigin,
    ceiling: Option<AccessCeiling>,
}

impl CallersDirectory {
    fn read(
        root: &ConfigSection<'_>,
        reader: &mut CallerFileReader<'_>,
        read: &mut CallerFiles,
    ) -> Option<Self> {
        if !root.is_table("callers_dir") {
            let path = root.text("callers_dir", reader.report)?;
            return Some(Self { path: PathBuf::from(path.value), at: path.at, ceiling: None });
        }
        let section = root.child("callers_dir", reader.report);
        section.check(&CALLERS_DIR, reader.report);
        if !section.has("path") {
            let problem = ConfigErrorKind::Missing("write path = \"DIRECTORY\"");
            reader.report.error(&section.at("path"), problem);
        }
        let ceiling = section.text("ceiling", reader.report);
        let ceiling = ceiling.and_then(|given| reader.ceiling(&given, read));
        let path = section.text("path", reader.report)?;
        Some(Self { path: PathBuf::from(path.value), at: path.at, ceiling })
    }
}

/// Reads files of callers.
struct CallerFileReader<'a> {
    /// The resolver of the main file.
    secrets: &'a SecretResolver<'a>,
    masters: &'a SealingMasters,
    real_ids: &'a RealKeyIds<'a>,
    revoked: &'a mut RevokedEntries,
    /// The account that owns the buckets, if it is configured.
    account: Option<String>,
    /// The report of the main file.
    report: &'a mut ConfigReport,
}

impl CallerFileReader<'_> {
    /// Reads the file of a ceiling. An error in it is one of the main file.
    fn ceiling(&mut self, given: &SpannedValue<String>, read: &mut CallerFiles) -> Option<AccessCeiling> {
        let Some(path) = given.value.strip_prefix("file:").filter(|path| !path.is_empty()).map(Path::new)
        else {
            self.report.error(&given.at, ConfigErrorKind::CeilingReference);
            return None;
        };
        match self.secrets.env.read_regular(path, CEILING_MAX) {
            Ok(file) => {
                let text = file.text.expose();
                let digest = ContentDigest::new(text.as_bytes());
                read.watched.push(FileDigest { path: path.to_owned(), digest });
                AccessCeiling::read(path, text, self.report)
            }
            Err(error) => {
                let problem = ConfigErrorKind::CallersPath(path.display().to_string(), error.to_string());
                self.report.error(&given.at, problem);
                None
            }
        }
    }

    fn directory(&mut self, directory: &CallersDirectory, read: &mut CallerFiles) {
        read.ceiling = directory.ceiling.as_ref().map(|ceiling| ceiling.rights.clone());
        let env = self.secrets.env;
        let listed = ConfinedDirectory::new(&directory.path, env)
            .and_then(|confined| Ok((confined, env.list_directory(&directory.path)?)));
        match listed {
            Ok((confined, names)) => {
                let digest = ContentDigest::of_names(Ok(names.clone()));
                read.watched.push(FileDigest { path: directory.path.clone(), digest });
                for name in callers_file_names(names) {
                    let team = TeamDirectory { confined: &confined, ceiling: directory.ceiling.as_ref() };
                    self.file(&directory.path.join(name), Some(&team), read);
                }
            }
            Err(error) => {
                read.watched.push(FileDigest::of_unread(&directory.path, &error));
                let path = directory.path.display().to_string();
                let mut report = ConfigReport::default();
                report.error(&directory.at, ConfigErrorKind::CallersPath(path, error.to_string()));
                read.unlisted = Some(UnlistedDirectory { fault: fault_of(report) });
            }
        }
    }

    /// Reads a file. Its errors concern only the file.
    fn file(&mut self, path: &Path, team: Option<&TeamDirectory<'_>>, read: &mut CallerFiles) {
        let scope = match team {
            Some(team) => SecretScope::TeamFile(team.confined.clone()),
            None => SecretScope::CallersFile,
        };
        let secrets = SecretResolver::scoped(self.secrets.env, self.secrets.modes, scope);
        let name: Arc<str> = path.display().to_string().into();
        let mut report = ConfigReport::default();
        let found = match read_callers_file(path, team, self.secrets.env) {
            Ok(file) => {
                let text = file.text.expose();
                let digest = ContentDigest::new(text.as_bytes());
                read.watched.push(FileDigest { path: path.to_owned(), digest });
                let context = CallersFileContext {
                    secrets: &secrets,
                    masters: self.masters,
                    ceiling: team.and_then(|team| team.ceiling),
                    real_ids: self.real_ids,
                    account: self.account.as_deref(),
                    team_file: team.and_then(|_| path.file_name()).map(|name| name.to_string_lossy().into()),
                };
                let found = parse(ConfigFile { path, text }, &context, self.revoked, &mut report);
                if file.is_exposed && secrets.has_inline() {
                    report_exposed(&name, self.secrets.modes, &mut report);
                }
                found
            }
            Err(error) => {
                read.watched.push(FileDigest::of_unread(path, &error));
                let problem = ConfigErrorKind::CallersPath(name.to_string(), error.to_string());
                report.error(&origin_of(&name), problem);
                None
            }
        };
        read.watched.extend(secrets.into_files());
        let group = if team.is_some() { FileGroup::Directory } else { FileGroup::Single };
        let finished = report.finish();
        let callers = match (finished.errors, found) {
            (None, Some(found)) => {
                read.names.extend(found.names);
                self.report.warn_all(finished.warnings);
                Ok(found.callers.into())
            }
            (errors, _) => Err(errors.unwrap_or_default().to_string()),
        };
        read.files.push(CallersFile::new(name, group, callers));
    }
}

/// The directory that a file of a team belongs to.
struct TeamDirectory<'a> {
    confined: &'a ConfinedDirectory,
    ceiling: Option<&'a AccessCeiling>,
}

fn read_callers_file(
    path: &Path,
    team: Option<&TeamDirectory<'_>>,
    env: &dyn SourceEnv,
) -> std::io::Result<crate::credentials::SecretText> {
    match team {
        Some(team) => team.confined.read(path, CALLERS_FILE_MAX, env),
        None => env.read_regular(path, CALLERS_FILE_MAX),
    }
}

/// Parses a file of callers. Returns `None` after it has reported an error in the syntax.
fn parse(
    file: ConfigFile<'_>,
    context: &CallersFileContext<'_>,
    revoked: &mut RevokedEntries,
    report: &mut ConfigReport,
) -> Option<FileCallers> {
    let document = ConfigDocument::new(Some(file), &[]);
    if file.text.trim().is_empty() {
        report.error(&document.origin(None, String::new()), ConfigErrorKind::EmptyCallersFile);
        return None;
    }
    let table = document.parse(report);
    if report.count() > 0 {
        return None;
    }
    let root = document.top(table.get_ref());
    root.check(&CALLERS_FILE, report);
    Some(callers::read_file(&root, context, revoked, report))
}

/// Reports a file that holds secrets and that other users can read.
fn report_exposed(name: &Arc<str>, modes: FileModePolicy, report: &mut ConfigReport) {
    let at = origin_of(name);
    match modes {
        FileModePolicy::Refuse => report.error(&at, ConfigErrorKind::ExposedSecret(name.to_string())),
        FileModePolicy::Warn => report.warn(&at, &ConfigWarning::Exposed(name.to_string())),
    }
}

fn origin_of(name: &Arc<str>) -> ValueOrigin {
    ValueOrigin::File { file: Arc::clone(name), line: None, key: String::new() }
}

/// Returns the errors of a report.
fn fault_of(report: ConfigReport) -> String {
    report.finish().errors.unwrap_or_default().to_string()
}

/// The maximum size of a file of callers, in bytes: more than 50,000 callers.
pub(super) const CALLERS_FILE_MAX: usize = 16 << 20;
/// The maximum size of the file of a ceiling, in bytes.
const CEILING_MAX: usize = 64 << 10;
