//! The reasons why a configuration cannot be used.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use crate::offload::BlockingTimeout;
use crate::server::{BindError, InvalidTls};
use crate::transport::InvalidRoots;

/// A reason why a configuration cannot be used. It persists until the configuration, or something
/// that it names, changes.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A file with trusted certificates cannot be used.
    #[error(transparent)]
    Roots(#[from] InvalidRoots),
    /// The TLS files of a listener cannot be used.
    #[error(transparent)]
    Tls(#[from] InvalidTls),
    /// Credential sources are misconfigured.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Credentials(Vec<BadSource>),
    /// The files that the configuration names cannot be read in time.
    #[error("cannot read the files named in the configuration: {0}")]
    Files(#[from] BlockingTimeout),
    /// The operating system provides no thread.
    #[error("cannot start the credentials thread: {0}")]
    Thread(#[from] io::Error),
    /// An upstream names a credential source that is not configured.
    #[error("unknown credentials {0:?}: an upstream uses them, but they are not configured")]
    NoSource(String),
    /// The log file cannot be written.
    #[error("cannot write the log file {}: {error}", .path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The audit log cannot be written.
    #[error("cannot write the audit log to {sink}: {error}")]
    Audit {
        /// The destination.
        sink: String,
        /// The error of the operating system.
        error: io::Error,
    },
    /// Several errors.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Self>),
}

impl StartError {
    /// Returns whether the configuration, or something that it names, must change.
    #[must_use]
    pub(crate) fn is_configuration(&self) -> bool {
        match self {
            Self::Bind(error) => error.is_configuration(),
            Self::Several(all) => all.iter().any(Self::is_configuration),
            Self::Thread(_) => false,
            Self::Roots(_)
            | Self::Tls(_)
            | Self::Credentials(_)
            | Self::Files(_)
            | Self::NoSource(_)
            | Self::Log { .. }
            | Self::Audit { .. } => true,
        }
    }

    /// Returns whether every error is an address in use by another process.
    #[cfg(feature = "emulator")]
    pub(crate) fn is_in_use(&self) -> bool {
        if let Self::Several(all) = self {
            return all.iter().all(Self::is_in_use);
        }
        matches!(self, Self::Bind(BindError::InUse(_)))
    }

    /// Joins errors into one, without duplicates.
    pub(super) fn join(all: Vec<Self>) -> Result<(), Self> {
        let mut seen = HashSet::new();
        let mut all: Vec<Self> = all.into_iter().filter(|error| seen.insert(error.to_string())).collect();
        match all.pop() {
            None => Ok(()),
            Some(only) if all.is_empty() => Err(only),
            Some(last) => {
                all.push(last);
                Err(Self::Several(all))
            }
        }
    }
}

/// A misconfigured credential source.
#[derive(Debug, thiserror::Error)]
#[error("credentials {name:?}: {failure}")]
pub struct BadSource {
    pub(crate) name: String,
    pub(crate) failure: String,
}
