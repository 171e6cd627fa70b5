//! Who signs: credentials, the sources they come from, and the cache that requests read without waiting.

mod assume_role;
mod chain;
mod ecs;
mod env;
mod file;
mod fixed;
mod oidc;
mod sanity;
mod schedule;
mod source;
mod sts;
mod uri;

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

pub use ecs::Instance;
pub use oidc::Pod;
pub use sanity::{Insane, check as check_key};
pub use source::{Source, Unavailable};
pub use sts::{Place, Role, Signature};

use crate::secret::Secret;
use crate::time::{Clock, Timestamp};
use crate::transport::Url;

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
    /// The source is set up, and refuses; it will until somebody does what the text says.
    #[error("{0}")]
    Refused(String),
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
    /// One of the three that make an OIDC source is missing.
    #[error("the OIDC source is set up in part; set {key}, or the variable {variable}")]
    HalfSetTrio {
        /// The key of the configuration.
        key: &'static str,
        /// The variable of the environment.
        variable: &'static str,
    },
    /// A role is to be assumed by the key of the environment, and there is none.
    #[error(
        "{variable} is set, and no OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET that could assume the role; set them, or unset it"
    )]
    RoleWithoutKey {
        /// The variable that names the role.
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
    /// The environment of the process. A role that it names is assumed at this place.
    Env(Place),
    /// A file that somebody else writes, or a directory of files.
    File {
        /// Where it is.
        path: PathBuf,
        /// Whether one that other users can read is refused.
        strict: bool,
    },
    /// A role that the identity of another source assumes.
    AssumeRole {
        /// The name of that source.
        source: String,
        /// The role.
        role: Role,
        /// Where STS is asked.
        place: Place,
        /// How it is asked.
        signature: Signature,
    },
    /// The token of a service account, exchanged at STS.
    Oidc(Pod, Place),
    /// The role of the instance, from its metadata service.
    Ecs(Instance),
    /// A service that hands out credentials over HTTP.
    Uri {
        /// Where it is.
        url: Url,
        /// The file with what is sent as Authorization.
        authorization_file: Option<PathBuf>,
    },
    /// Each source in turn, until one is configured. STS is asked at this place.
    Chain(Place),
}

/// Sources by their names in the configuration.
pub type Sources = BTreeMap<String, Arc<Source>>;

impl Spec {
    /// The name of the source that this one needs.
    #[must_use]
    pub fn needs(&self) -> Option<&str> {
        match self {
            Self::AssumeRole { source, .. } => Some(source),
            Self::Static { .. }
            | Self::Env(_)
            | Self::File { .. }
            | Self::Oidc(..)
            | Self::Ecs(_)
            | Self::Uri { .. }
            | Self::Chain(_) => None,
        }
    }

    /// What is known of where STS is, for a source that asks it.
    pub fn place_mut(&mut self) -> Option<&mut Place> {
        match self {
            Self::Env(place) | Self::AssumeRole { place, .. } | Self::Oidc(_, place) | Self::Chain(place) => {
                Some(place)
            }
            Self::Static { .. } | Self::File { .. } | Self::Ecs(_) | Self::Uri { .. } => None,
        }
    }

    /// The source that this describes; `None` if the one that it needs is not among `others`.
    fn build(self, others: &Sources) -> Option<Box<dyn Provide>> {
        Some(match self {
            Self::Static { id, secret, token } => Box::new(fixed::Static::new(id, secret, token)),
            Self::Env(place) => Box::new(env::Env::new(place)),
            Self::File { path, strict } => Box::new(file::File::new(path, strict)),
            Self::AssumeRole { source, role, place, signature } => {
                let source = Arc::clone(others.get(&source)?);
                Box::new(assume_role::AssumeRole::new(source, role, place, signature))
            }
            Self::Oidc(pod, place) => Box::new(oidc::Oidc::new(pod, place)),
            Self::Ecs(instance) => Box::new(ecs::Ecs::new(instance)),
            Self::Uri { url, authorization_file } => Box::new(uri::Uri::new(Some(url), authorization_file)),
            Self::Chain(place) => Box::new(chain::Chain::new(vec![
                Box::new(env::Env::new(place.clone())),
                Box::new(oidc::Oidc::new(Pod::default(), place)),
                Box::new(uri::Uri::new(None, None)),
            ])),
        })
    }

    /// All sources that are described, none asked yet. Those that need each other in a circle, or one that is not described,
    /// are left out: a configuration with such a thing is refused before it comes here.
    #[must_use]
    pub fn build_all(mut specs: Vec<(String, Self)>) -> Sources {
        let mut built = Sources::new();
        loop {
            let before = specs.len();
            let mut later = Vec::new();
            for (name, spec) in specs {
                if spec.needs().is_some_and(|needed| !built.contains_key(needed)) {
                    later.push((name, spec));
                } else if let Some(provider) = spec.build(&built) {
                    built.insert(name.clone(), Arc::new(Source::new(&name, provider)));
                }
            }
            if later.is_empty() || later.len() == before {
                return built;
            }
            specs = later;
        }
    }
}
