//! Collects errors and warnings until the whole configuration has been read, so that one start
//! reports all of them.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use super::error::{ConfigErrorKind, ConfigWarning};
use super::origin::ValueOrigin;
use super::provider_settings;

/// An error in the configuration: its location, its cause, and a suggestion.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConfigError {
    origin: ValueOrigin,
    problem: ConfigErrorKind,
}

/// All errors of a configuration: those of the file by line, then those of the environment and of
/// flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigErrors {
    all: Vec<ConfigError>,
    files: Vec<PathBuf>,
}

/// Collects errors and warnings.
#[derive(Default)]
pub(super) struct ConfigReport {
    /// The errors, each with the number of errors found before it.
    errors: HashMap<ConfigError, usize>,
    warnings: Vec<String>,
}

/// The warnings, and the errors if there are any.
pub(super) struct FinishedReport {
    pub(super) warnings: Vec<String>,
    pub(super) errors: Option<ConfigErrors>,
}

impl ConfigError {
    /// Returns the name of the credentials that the error concerns.
    #[must_use]
    pub(crate) fn credentials(&self) -> Option<&str> {
        let ValueOrigin::File { key, .. } = &self.origin else { return None };
        let rest = key.strip_prefix("credentials.")?;
        // A name may contain dots, and a key may not. An error about the whole section ends with
        // its name.
        let of_key = rest.rsplit_once('.').filter(|(_, key)| provider_settings::has_key(key));
        Some(of_key.map_or(rest, |(name, _)| name))
    }
}

impl ConfigErrors {
    /// Iterates over the errors; there is at least one.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.all.iter()
    }

    /// Returns the files that the configuration refers to, as far as it could be read. The cause of
    /// an error may be in one of them.
    #[must_use]
    pub(crate) fn into_files(self) -> Vec<PathBuf> {
        self.files
    }

    /// Sets the files that the configuration refers to.
    pub(super) fn naming(self, files: Vec<PathBuf>) -> Self {
        Self { files, ..self }
    }
}

impl ConfigReport {
    pub(super) fn error(&mut self, at: &ValueOrigin, problem: ConfigErrorKind) {
        let error = ConfigError { origin: at.clone(), problem };
        // Routes inherit settings, and an inherited error is reported once.
        let found = self.errors.len();
        self.errors.entry(error).or_insert(found);
    }

    pub(super) fn warn(&mut self, at: &ValueOrigin, caution: &ConfigWarning) {
        self.warnings.push(format!("{at}: {caution}"));
    }

    /// Adds the warnings of another report.
    pub(super) fn warn_all(&mut self, warnings: Vec<String>) {
        self.warnings.extend(warnings);
    }

    /// Returns the number of errors, to detect whether a step added one.
    pub(super) fn count(&self) -> usize {
        self.errors.len()
    }

    pub(super) fn finish(self) -> FinishedReport {
        let mut errors: Vec<(ConfigError, usize)> = self.errors.into_iter().collect();
        errors.sort_by(|(a, found_a), (b, found_b)| (&a.origin, found_a).cmp(&(&b.origin, found_b)));
        let all: Vec<ConfigError> = errors.into_iter().map(|(error, _)| error).collect();
        let errors = (!all.is_empty()).then_some(ConfigErrors { all, files: Vec::new() });
        FinishedReport { warnings: self.warnings, errors }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.problem)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.all.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
impl std::error::Error for ConfigErrors {}
