//! Who signs: credentials, the sources they come from, and the cache that requests read without waiting.

mod assume_role;
mod build_order;
mod chain;
mod circuit_breaker;
mod clock_skew;
mod custom;
mod durations;
mod ecs;
mod env;
mod external_file;
mod file;
mod ini;
mod ini_file;
mod login;
mod oidc;
mod ossutil;
mod ossutil_buckets;
mod ossutil_profile;
mod process;
mod profile;
mod provider_spec;
mod refresh_policy;
mod secret_file;
mod source;
mod spec_index;
mod static_keys;
mod status;
mod sts;
mod uri;
mod validate;

#[cfg(test)]
mod test_env;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use chain::{ChainConfig, ChainOrder};
pub use circuit_breaker::{EndpointStatus, endpoints};
pub use clock_skew::{ahead, clocks, note_clock};
pub use custom::CustomProvider;
pub use durations::AttemptSnapshot;
pub use ecs::EcsConfig;
pub use env::EnvConfig;
pub use external_file::ExternalFileConfig;
pub use oidc::OidcConfig;
pub use ossutil_buckets::{BucketEndpoint, BucketEndpointsError, BucketStyle, bucket_endpoints};
pub use process::ProcessConfig;
pub use source::{CredentialSource, NoCredentials};
pub use status::{CredentialState, SourceStatus};
pub use sts::{AssumedRole, StsEndpointConfig, StsSignature};
pub use validate::{InvalidAccessKey, check as check_key};

use build_order::BuildOrder;
use spec_index::SpecsByContent;

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
    /// Which source gave them, the outer one first, as the vendor's libraries name it: `default/oidc_role_arn`.
    pub provider: Arc<str>,
}

/// A source of credentials. It is asked by one [`CredentialSource`], which keeps what it gives, asks again before that ends, one attempt at
/// a time, and pauses after failures: an implementation only asks.
pub trait Provide: Send + Sync {
    /// Asks the source. An attempt may be dropped before it ends, and leaves a state then from which the next one works. It
    /// must not block: other sources are asked on the same thread.
    fn provide<'a>(&'a self, edge: &'a dyn SourceEnv) -> ProvideFuture<'a>;

    /// Returns the files that the credentials are read from. When one of them changes, the source is asked again. They are
    /// looked at each second, on a thread for blocking work.
    fn files(&self, _edge: &dyn SourceEnv) -> Vec<PathBuf> {
        Vec::new()
    }

    /// The state of what the credentials come from beside files, if that can be seen to change: then the source is asked again.
    /// It is looked at each second, and must not block.
    fn fingerprint(&self, _edge: &dyn SourceEnv) -> Option<StateFingerprint> {
        None
    }

    /// After what time credentials without a known end are asked for again; until that succeeds they go on being used.
    fn renew_after(&self) -> Option<Duration> {
        None
    }

    /// Lines that tell a person where the credentials come from, and why no other source gives them. They come from memory:
    /// neither files nor services are asked for them.
    fn explain(&self, _edge: &dyn SourceEnv) -> Vec<String> {
        Vec::new()
    }
}

/// What tells one state of something from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateFingerprint(u64);

impl StateFingerprint {
    /// Of a state.
    pub fn of(state: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What [`Provide::provide`] returns.
pub type ProvideFuture<'a> = Pin<Box<dyn Future<Output = Result<Credentials, ProvideError>> + Send + 'a>>;

/// The world outside as sources see it, so that they can be tested without it.
pub trait SourceEnv: Clock {
    /// A variable of the environment; an empty one counts as not set.
    fn variable(&self, name: &str) -> Option<String>;

    /// The names of all variables of the environment.
    fn variable_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether a variable has a value that is not UTF-8, which [`Self::variable`] cannot return.
    fn is_not_text(&self, _name: &str) -> bool {
        false
    }

    /// Whether a variable is set to `true`, in any letters.
    fn is_true(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// Why a source gave no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvideError {
    /// Nobody set this source up: a chain asks the next one.
    #[error("not configured: {0}")]
    NotConfigured(String),
    /// The source is set up, and wrongly: a chain stops here, for the next one would sign as somebody else.
    #[error("{0}")]
    Failed(#[from] SetupError),
    /// The source is set up, and gives nothing as things are; they may change.
    #[error("{0}")]
    Unavailable(String),
    /// The source is set up, and refuses; it will until somebody does what the text says.
    #[error("{0}")]
    Refused(String),
}

/// What is wrong with a source that is set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
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
    /// STS inside the VPC is asked for, and nobody knows in which region that is.
    #[error(
        "{variable} asks for STS inside the VPC, and no region is known; set sts_region, or ALIBABA_CLOUD_STS_REGION"
    )]
    VpcWithoutRegion {
        /// The variable that asks for it.
        variable: &'static str,
    },
    /// The values cannot be an access key.
    #[error(transparent)]
    Insane(#[from] InvalidAccessKey),
}

/// What a configuration says of a source.
#[derive(Debug)]
pub enum ProviderSpec {
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
    Env(StsEndpointConfig, EnvConfig),
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
        role: AssumedRole,
        /// Where STS is asked.
        place: StsEndpointConfig,
        /// How it is asked.
        signature: StsSignature,
    },
    /// The token of a service account, exchanged at STS.
    Oidc(OidcConfig, StsEndpointConfig),
    /// The role of the instance, from its metadata service.
    Ecs(EcsConfig),
    /// A service that hands out credentials over HTTP.
    Uri {
        /// Where it is.
        url: Url,
        /// The file with what is sent as Authorization.
        authorization_file: Option<PathBuf>,
    },
    /// A command that prints credentials.
    Process(ProcessConfig),
    /// A profile of the vendor's command line.
    Profile(ExternalFileConfig),
    /// A section of the file that the vendor's libraries share.
    Ini(ExternalFileConfig),
    /// The file of the vendor's OSS tool.
    Ossutil(ExternalFileConfig),
    /// Nobody: requests go on without a signature.
    Anonymous,
    /// A source from outside this crate.
    Custom(CustomProvider),
    /// Each source in turn, until one is configured.
    Chain(ChainConfig),
}

/// Sources by their names in the configuration. Those that are the same are one. One that signs nothing is none.
pub type SourceMap = BTreeMap<String, Arc<CredentialSource>>;

impl ProviderSpec {
    /// The name of the source that this one needs.
    #[must_use]
    pub fn needs(&self) -> Option<&str> {
        match self {
            Self::AssumeRole { source, .. } => Some(source),
            Self::Static { .. }
            | Self::Env(..)
            | Self::File { .. }
            | Self::Oidc(..)
            | Self::Ecs(_)
            | Self::Uri { .. }
            | Self::Process(_)
            | Self::Profile(_)
            | Self::Ini(_)
            | Self::Ossutil(_)
            | Self::Anonymous
            | Self::Custom(_)
            | Self::Chain(_) => None,
        }
    }

    /// What is known of where STS is, for a source that may ask it.
    pub fn place_mut(&mut self) -> Option<&mut StsEndpointConfig> {
        match self {
            Self::Env(place, _) | Self::AssumeRole { place, .. } | Self::Oidc(_, place) => Some(place),
            Self::Profile(tool) | Self::Ini(tool) | Self::Ossutil(tool) => Some(&mut tool.place),
            Self::Chain(links) => Some(&mut links.place),
            Self::Static { .. }
            | Self::File { .. }
            | Self::Ecs(_)
            | Self::Uri { .. }
            | Self::Process(_)
            | Self::Custom(_)
            | Self::Anonymous => None,
        }
    }

    /// Whether this is a lasting access key, written down for good.
    #[must_use]
    pub fn is_lasting_key(&self) -> bool {
        matches!(self, Self::Static { token: None, .. })
    }

    /// The source that this describes; `None` if the one that it needs is not among `others`, or if it signs nothing.
    fn build(&self, others: &SourceMap) -> Option<Box<dyn Provide>> {
        Some(match self {
            Self::Static { id, secret, token } => {
                let token = token.as_ref().map(|token| Secret::from(token.expose()));
                Box::new(static_keys::StaticKeys::new(id.clone(), Secret::from(secret.expose()), token))
            }
            Self::Env(place, wanted) => Box::new(env::EnvProvider::new(place.clone(), wanted.clone())),
            Self::File { path, strict } => Box::new(file::FileProvider::new(path.clone(), *strict)),
            Self::AssumeRole { source, role, place, signature } => {
                let source = Arc::clone(others.get(source)?);
                Box::new(assume_role::AssumeRole::new(source, role.clone(), place.clone(), *signature))
            }
            Self::Oidc(pod, place) => Box::new(oidc::OidcProvider::new(pod.clone(), place.clone())),
            Self::Ecs(instance) => Box::new(ecs::EcsProvider::new(instance.clone())),
            Self::Uri { url, authorization_file } => {
                Box::new(uri::UriProvider::new(Some(url.clone()), authorization_file.clone()))
            }
            Self::Process(program) => Box::new(process::ProcessProvider::new(program.clone())),
            Self::Profile(tool) => Box::new(external_file::ToolFile::new(profile::CliFile, tool.clone())),
            Self::Ini(tool) => Box::new(external_file::ToolFile::new(ini_file::SharedFile, tool.clone())),
            Self::Ossutil(tool) => Box::new(external_file::ToolFile::new(ossutil::OssutilFile, tool.clone())),
            Self::Chain(links) => Box::new(chain::ProviderChain::new(links.clone())),
            Self::Custom(custom) => Box::new(custom.clone()),
            Self::Anonymous => return None,
        })
    }

    /// All sources that are described, none asked yet. Those that need each other in a circle, or one that is not described,
    /// are left out: a configuration with such a thing is refused before it comes here.
    #[must_use]
    pub fn build_all(specs: &[(String, Self)]) -> SourceMap {
        Self::build_anew(specs, &[])
    }

    /// The same, after another configuration, whose descriptions and sources are given: what is described as it was before, under
    /// its name, is the source that it was, with all that it holds.
    #[must_use]
    pub fn build_anew(specs: &[(String, Self)], before: &[(&[(String, Self)], &SourceMap)]) -> SourceMap {
        let mut known = Vec::new();
        for (specs, before) in before {
            // Of two with the same name, the first.
            let by_name = specs.iter().rev().map(|(name, spec)| (name.as_str(), spec));
            known.push((by_name.collect::<HashMap<&str, &Self>>(), *before));
        }
        let kept = |name: &str, spec: &Self, built: &SourceMap| {
            known.iter().find_map(|(known, before)| {
                let known = known.get(name)?;
                let source = before.get(name).filter(|source| source.name() == name)?;
                spec.is_same(known, (built, before)).then(|| Arc::clone(source))
            })
        };
        let mut built = SourceMap::new();
        let mut done = SpecsByContent::default();
        let mut order = BuildOrder::new(specs.iter().map(|(_, spec)| spec.needs()));
        while let Some((name, spec)) = order.next().and_then(|index| specs.get(index)) {
            let same = done.find_or_add(name, spec, &built).and_then(|name| built.get(name)).map(Arc::clone);
            let source = match same.or_else(|| kept(name, spec, &built)) {
                Some(source) => Some(source),
                None => spec.build(&built).map(|provider| Arc::new(CredentialSource::new(name, provider))),
            };
            if let Some(source) = source {
                built.insert(name.clone(), source);
                order.built(name);
            }
        }
        built
    }
}

/// Each source once, under the first of its names.
pub fn each(sources: &SourceMap) -> impl Iterator<Item = (&str, &Arc<CredentialSource>)> {
    sources.iter().filter(|(name, source)| source.name() == **name).map(|(name, source)| (&**name, source))
}
