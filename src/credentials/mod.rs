//! Who signs: credentials, the sources they come from, and the cache that requests read without waiting.

mod cache;
mod chain;
mod env;
mod file;
mod fixed;
mod sanity;

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

pub use cache::{Source, Unavailable};
pub use sanity::{Insane, check as check_key};

use crate::secret::Secret;
use crate::time::{Clock, Timestamp};

/// An access key, whole and unchanging: id, secret and token always belong together.
#[derive(Debug)]
pub struct Credentials {
    /// The access key id.
    pub id: String,
    /// The access key secret.
    pub secret: Secret,
    /// The security token of temporary credentials.
    pub token: Option<Secret>,
    /// When they end; `None` if that is not known.
    pub expires: Option<Timestamp>,
    /// Which source gave them, the outer one first: `chain/env/OSS`.
    pub provider: Arc<str>,
}

/// A source of credentials.
pub trait Provide: Send + Sync {
    /// Asks the source.
    fn provide<'a>(&'a self, edge: &'a dyn Edge) -> Answer<'a>;

    /// The state of what the credentials come from, if that can be seen to change: then the source is asked again.
    fn fingerprint(&self) -> Option<Fingerprint> {
        None
    }
}

/// What tells one state of something from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    fn of(state: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What [`Provide::provide`] returns.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Credentials, ProvideError>> + Send + 'a>>;

/// The world outside as sources see it, so that they can be tested without it.
pub trait Edge: Clock {
    /// A variable of the environment; an empty one counts as not set.
    fn variable(&self, name: &str) -> Option<String>;
}

/// Why a source gave no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvideError {
    /// Nobody set this source up: a chain asks the next one.
    #[error("not configured: {0}")]
    NotConfigured(String),
    /// The source is set up, and wrongly: a chain stops here, for the next one would sign as somebody else.
    #[error("{0}")]
    Failed(#[from] Failure),
    /// The source is set up, and gives nothing as things are; they may change.
    #[error("{0}")]
    Unavailable(String),
}

/// What is wrong with a source that is set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// One of two variables is missing.
    #[error("{present} is set and {missing} is not; set both or neither")]
    HalfSet {
        /// The one that is set.
        present: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// Something asks for a source that this build does not have.
    #[error(
        "{variable} is set, and it asks for the AssumeRole source, which this build does not have; unset it"
    )]
    NeedsAssumeRole {
        /// The variable.
        variable: &'static str,
    },
    /// The values cannot be an access key.
    #[error(transparent)]
    Insane(#[from] Insane),
}

/// What a configuration says of a source.
#[derive(Debug)]
pub enum Spec {
    /// An access key that the configuration itself holds.
    Static {
        /// The access key id.
        id: String,
        /// The access key secret.
        secret: Secret,
        /// The security token.
        token: Option<Secret>,
    },
    /// The environment of the process.
    Env,
    /// A file that somebody else writes, or a directory of files.
    File {
        /// Where it is.
        path: PathBuf,
        /// Whether one that other users can read is refused.
        strict: bool,
    },
    /// Each source in turn, until one is configured.
    Chain,
}

impl Spec {
    /// The source that this describes.
    #[must_use]
    pub fn build(self) -> Box<dyn Provide> {
        match self {
            Self::Static { id, secret, token } => Box::new(fixed::Static::new(id, secret, token)),
            Self::Env => Box::new(env::Env),
            Self::File { path, strict } => Box::new(file::File::new(path, strict)),
            Self::Chain => Box::new(chain::Chain::new(vec![Box::new(env::Env)])),
        }
    }
}
