//! What was found wrong, collected until everything is read, so that one start shows all of it.

use std::fmt;

use super::origin::Origin;
use super::problem::{Caution, Problem};

/// A mistake in the configuration: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    origin: Origin,
    problem: Problem,
}

/// All mistakes of a configuration, by line, then those of the environment and of flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(Vec<Error>);

/// Mistakes and warnings as they are found.
#[derive(Default)]
pub(super) struct Report {
    errors: Vec<Error>,
    warnings: Vec<String>,
}

impl Error {
    /// What it points at.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Errors {
    /// The mistakes; there is at least one.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.0.iter()
    }
}

impl Report {
    pub(super) fn error(&mut self, at: &Origin, problem: Problem) {
        let error = Error { origin: at.clone(), problem };
        // Routes inherit, and what is inherited is only wrong once.
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    pub(super) fn warn(&mut self, at: &Origin, caution: &Caution) {
        self.warnings.push(format!("{at}: {caution}"));
    }

    /// How many mistakes there are, to see whether reading something made one.
    pub(super) fn count(&self) -> usize {
        self.errors.len()
    }

    /// The value and the warnings, unless there are mistakes.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<(T, Vec<String>), Errors> {
        match value {
            Some(value) if self.errors.is_empty() => Ok((value, self.warnings)),
            _ => {
                self.errors.sort_by(|a, b| a.origin.cmp(&b.origin));
                Err(Errors(self.errors))
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.problem)
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
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
