//! What was found wrong, collected until everything is read, so that one start shows all of it.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use super::error::{ConfigErrorKind, ConfigWarning};
use super::origin::ValueOrigin;
use super::schema;

/// A mistake in the configuration: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConfigError {
    origin: ValueOrigin,
    problem: ConfigErrorKind,
}

/// All mistakes of a configuration, by line, then those of the environment and of flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigErrors {
    all: Vec<ConfigError>,
    files: Vec<PathBuf>,
}

/// Mistakes and warnings as they are found.
#[derive(Default)]
pub(super) struct ConfigReport {
    /// Each with the number of those that were found before it.
    errors: HashMap<ConfigError, usize>,
    warnings: Vec<String>,
}

impl ConfigError {
    /// What it points at.
    #[must_use]
    pub fn origin(&self) -> &ValueOrigin {
        &self.origin
    }

    /// The name of the credentials that it is about.
    #[must_use]
    pub fn credentials(&self) -> Option<&str> {
        let ValueOrigin::File { key, .. } = &self.origin else { return None };
        let rest = key.strip_prefix("credentials.")?;
        // A name may have dots, and no key has; the section itself ends with its name.
        let of_key = rest.rsplit_once('.').filter(|(_, key)| schema::is_key_of_credentials(key));
        Some(of_key.map_or(rest, |(name, _)| name))
    }
}

impl ConfigErrors {
    /// The mistakes; there is at least one.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.all.iter()
    }

    /// The files that the configuration names, as far as it could be read: what is wrong may be wrong with one of them.
    #[must_use]
    pub fn into_files(self) -> Vec<PathBuf> {
        self.files
    }

    /// The same, of a configuration that names these files.
    pub(super) fn naming(self, files: Vec<PathBuf>) -> Self {
        Self { files, ..self }
    }
}

impl ConfigReport {
    pub(super) fn error(&mut self, at: &ValueOrigin, problem: ConfigErrorKind) {
        let error = ConfigError { origin: at.clone(), problem };
        // Routes inherit, and what is inherited is only wrong once.
        let found = self.errors.len();
        self.errors.entry(error).or_insert(found);
    }

    pub(super) fn warn(&mut self, at: &ValueOrigin, caution: &ConfigWarning) {
        self.warnings.push(format!("{at}: {caution}"));
    }

    /// How many mistakes there are, to see whether reading something made one.
    pub(super) fn count(&self) -> usize {
        self.errors.len()
    }

    /// The warnings, and the mistakes if there are any.
    pub(super) fn finish(self) -> (Vec<String>, Option<ConfigErrors>) {
        let mut errors: Vec<(ConfigError, usize)> = self.errors.into_iter().collect();
        errors.sort_by(|(a, found_a), (b, found_b)| (&a.origin, found_a).cmp(&(&b.origin, found_b)));
        let all: Vec<ConfigError> = errors.into_iter().map(|(error, _)| error).collect();
        (self.warnings, (!all.is_empty()).then_some(ConfigErrors { all, files: Vec::new() }))
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
