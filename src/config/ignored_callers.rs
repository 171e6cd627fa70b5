//! Files of callers whose callers are ignored. The references in them still matter: a command behind
//! the proxy must not inherit the variables that hold the secrets of callers.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::caller_files::CALLERS_FILE_MAX;
use super::diagnostics::ConfigReport;
use super::effective::ValueReference;
use super::env::callers_file_names;
use super::error::ConfigWarning;
use super::origin::ValueOrigin;
use super::section::ConfigSection;
use crate::credentials::SourceEnv;

/// Returns the references in the files of callers if the callers are ignored, or none otherwise.
/// Warns of a file whose references are unknown.
pub(super) fn references(
    root: &ConfigSection<'_>,
    env: &dyn SourceEnv,
    report: &mut ConfigReport,
) -> Vec<ValueReference> {
    if root.alone("caller").is_none() {
        return Vec::new();
    }
    let mut ignored = IgnoredCallers { env, report, references: Vec::new() };
    if let Some(path) = root.text("callers_file", ignored.report) {
        ignored.file(Path::new(&path.value), &path.at);
    }
    let directory = if root.is_table("callers_dir") {
        root.child("callers_dir", ignored.report).text("path", ignored.report)
    } else {
        root.text("callers_dir", ignored.report)
    };
    if let Some(directory) = directory {
        ignored.directory(Path::new(&directory.value), &directory.at);
    }
    ignored.references
}

/// Collects references.
struct IgnoredCallers<'a> {
    env: &'a dyn SourceEnv,
    report: &'a mut ConfigReport,
    references: Vec<ValueReference>,
}

impl IgnoredCallers<'_> {
    /// Reads the files of a directory. Its files may not refer to variables, but one that does so by
    /// mistake names a variable that holds a secret.
    fn directory(&mut self, path: &Path, at: &ValueOrigin) {
        match self.env.list_directory(path) {
            Ok(names) => {
                let paths: Vec<PathBuf> =
                    callers_file_names(names).iter().map(|name| path.join(name)).collect();
                paths.iter().for_each(|path| self.file(path, at));
            }
            Err(error) => self.warn(path, at, &error.to_string()),
        }
    }

    fn file(&mut self, path: &Path, at: &ValueOrigin) {
        match self.env.read_regular(path, CALLERS_FILE_MAX) {
            Ok(file) => {
                let (table, mistakes) = DeTable::parse_recoverable(file.text.expose());
                if !mistakes.is_empty() {
                    self.warn(path, at, "invalid TOML");
                }
                self.table(table.get_ref());
            }
            Err(error) => self.warn(path, at, &error.to_string()),
        }
    }

    fn table(&mut self, table: &DeTable<'_>) {
        table.values().for_each(|value| self.value(value.get_ref()));
    }

    fn value(&mut self, value: &DeValue<'_>) {
        match value {
            DeValue::String(text) => self.references.extend(ValueReference::parse(text)),
            DeValue::Array(items) => items.iter().for_each(|item| self.value(item.get_ref())),
            DeValue::Table(table) => self.table(table),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }

    fn warn(&mut self, path: &Path, at: &ValueOrigin, reason: &str) {
        let warning = ConfigWarning::UnknownReferences(path.display().to_string(), reason.to_owned());
        self.report.warn(at, &warning);
    }
}
