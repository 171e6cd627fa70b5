//! What was found wrong, collected until everything is read, so that one start shows all of it.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use super::origin::Origin;
use super::problem::{Caution, Problem};
use super::schema;

/// A mistake in the configuration: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Error {
    origin: Origin,
    problem: Problem,
}

/// All mistakes of a configuration, by line, then those of the environment and of flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Errors {
    all: Vec<Error>,
    files: Vec<PathBuf>,
}

/// Mistakes and warnings as they are found.
#[derive(Default)]
pub(super) struct Report {
    /// Each with the number of those that were found before it.
    errors: HashMap<Error, usize>,
    warnings: Vec<String>,
}

impl Error {
    /// What it points at.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The name of the credentials that it is about.
    #[must_use]
    pub fn credentials(&self) -> Option<&str> {
        let Origin::File { key, .. } = &self.origin else { return None };
        let rest = key.strip_prefix("credentials.")?;
        // A name may have dots, and no key has; the section itself ends with its name.
        let of_key = rest.rsplit_once('.').filter(|(_, key)| schema::is_key_of_credentials(key));
        Some(of_key.map_or(rest, |(name, _)| name))
    }
}

impl Errors {
    /// The mistakes; there is at least one.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
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

impl Report {
    pub(super) fn error(&mut self, at: &Origin, problem: Problem) {
        let error = Error { origin: at.clone(), problem };
        // Routes inherit, and what is inherited is only wrong once.
        let found = self.errors.len();
        self.errors.entry(error).or_insert(found);
    }

    pub(super) fn warn(&mut self, at: &Origin, caution: &Caution) {
        self.warnings.push(format!("{at}: {caution}"));
    }

    /// How many mistakes there are, to see whether reading something made one.
    pub(super) fn count(&self) -> usize {
        self.errors.len()
    }

    /// The warnings, and the mistakes if there are any.
    pub(super) fn finish(self) -> (Vec<String>, Option<Errors>) {
        let mut errors: Vec<(Error, usize)> = self.errors.into_iter().collect();
        errors.sort_by(|(a, found_a), (b, found_b)| (&a.origin, found_a).cmp(&(&b.origin, found_b)));
        let all: Vec<Error> = errors.into_iter().map(|(error, _)| error).collect();
        (self.warnings, (!all.is_empty()).then_some(Errors { all, files: Vec::new() }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.problem)
    }
}

impl fmt::Display for Errors {
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

impl std::error::Error for Error {}
impl std::error::Error for Errors {}
