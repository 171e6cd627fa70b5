//! Credential providers, and the cached credentials that requests read without waiting.

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
use std::fs::File;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
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
pub use secret_file::SecretText;
pub use source::{CredentialSource, NoCredentials};
pub use status::{CredentialState, SourceStatus};
pub use sts::{AssumedRole, StsEndpointConfig, StsSignature};
pub use validate::{InvalidAccessKey, check as check_key};

use build_order::BuildOrder;
use spec_index::SpecsByContent;

use crate::secret::Secret;
use crate::time::{Clock, Timestamp};
use crate::transport::Url;

/// An access key. It is immutable, so that id, secret and token always belong together.
#[derive(Debug)]
pub struct Credentials {
    /// The access key id.
    pub id: String,
    /// The access key secret.
    pub secret: Secret,
    /// The security token of temporary credentials.
    pub token: Option<Secret>,
    /// The time at which the credentials expire; `None` if it is unknown.
    pub expires: Option<Timestamp>,
    /// The provider that returned them, named as in the vendor's libraries, the outer one first:
    /// `default/oidc_role_arn`.
    pub provider: Arc<str>,
}

/// A credential provider. One [`CredentialSource`] calls it and keeps the credentials. That source
/// refreshes them before they expire, one attempt at a time, and backs off after failures. An
/// implementation only has to request credentials.
pub trait Provide: Send + Sync {
    /// Requests credentials. An attempt may be dropped before it ends, and must leave a state in
    /// which the next one works. It must not block, because other sources refresh on the same
    /// thread.
    fn provide<'a>(&'a self, edge: &'a dyn SourceEnv) -> ProvideFuture<'a>;

    /// Returns the files that the credentials are read from. A change in one of them triggers a
    /// refresh. They are checked every second, on a thread for blocking work.
    fn files(&self, _edge: &dyn SourceEnv) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Returns a fingerprint of the state, other than files, that the credentials depend on, if a
    /// change can be detected. A change triggers a refresh. It is read every second, and must not
    /// block.
    fn fingerprint(&self, _edge: &dyn SourceEnv) -> Option<StateFingerprint> {
        None
    }

    /// Returns the interval after which credentials without a known expiry are refreshed. Until a
    /// refresh succeeds they remain in use.
    fn renew_after(&self) -> Option<Duration> {
        None
    }

    /// Returns lines for operators: the origin of the credentials, and the reasons why other
    /// providers were skipped. It reads only memory, neither files nor services.
    fn explain(&self, _edge: &dyn SourceEnv) -> Vec<String> {
        Vec::new()
    }
}

/// A fingerprint of some state, to detect that the state has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateFingerprint(u64);

impl StateFingerprint {
    /// Hashes a state.
    pub fn of(state: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// The future that [`Provide::provide`] returns.
pub type ProvideFuture<'a> = Pin<Box<dyn Future<Output = Result<Credentials, ProvideError>> + Send + 'a>>;

/// The environment that the configuration and the providers read, behind a trait so that tests can
/// replace it. Files are those of the host unless an implementation replaces them.
pub trait SourceEnv: Clock {
    /// Returns an environment variable; an empty one counts as not set.
    fn variable(&self, name: &str) -> Option<String>;

    /// Returns the names of all environment variables.
    fn variable_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns whether a variable has a value that is not UTF-8, which [`Self::variable`] cannot
    /// return.
    fn is_not_text(&self, _name: &str) -> bool {
        false
    }

    /// Returns whether a variable is set to `true`, in any case.
    fn is_true(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Reads a file with a secret that the configuration refers to.
    ///
    /// # Errors
    /// The reason that the file cannot be read.
    fn read_secret(&self, path: &Path) -> io::Result<SecretText> {
        SecretText::read(path)
    }

    /// Checks that a file that the configuration refers to can be read.
    ///
    /// # Errors
    /// The reason that the file cannot be read.
    fn check_readable(&self, path: &Path) -> io::Result<()> {
        // Opening is not sufficient: a directory can be opened but not read.
        File::open(path)?.read(&mut [0]).map(drop)
    }
}

/// The reason why a provider returned no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvideError {
    /// The provider is not configured; a chain tries the next one.
    #[error("not configured: {0}")]
    NotConfigured(String),
    /// The provider is misconfigured. A chain stops here, because falling through would change the
    /// signing identity.
    #[error("{0}")]
    Failed(#[from] SetupError),
    /// The provider is configured but cannot return credentials at present; a retry may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// The provider is configured but denies credentials until an operator does what the text says.
    #[error("{0}")]
    Refused(String),
}

/// A mistake in the configuration of a provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// One of two variables is missing.
    #[error("{present} is set but {missing} is not; set both or neither")]
    HalfSet {
        /// The variable that is set.
        present: &'static str,
        /// The variable that is missing.
        missing: &'static str,
    },
    /// One of the three settings of an OIDC provider is missing.
    #[error("the OIDC configuration lacks {key}; set it or the variable {variable}")]
    HalfSetTrio {
        /// The missing configuration key.
        key: &'static str,
        /// The corresponding environment variable.
        variable: &'static str,
    },
    /// A role should be assumed with the access key of the environment, but that key is missing.
    #[error(
        "{variable} is set, but OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, which assume the role, are not; set them or unset {variable}"
    )]
    RoleWithoutKey {
        /// The variable that names the role.
        variable: &'static str,
    },
    /// The STS endpoint inside the VPC is requested, but the region is unknown.
    #[error(
        "{variable} requests the STS endpoint inside the VPC, but the region is unknown; set sts_region or ALIBABA_CLOUD_STS_REGION"
    )]
    VpcWithoutRegion {
        /// The variable that requests it.
        variable: &'static str,
    },
    /// The values are not a valid access key.
    #[error(transparent)]
    Insane(#[from] InvalidAccessKey),
}

/// The configuration of a credential provider.
#[derive(Debug)]
pub enum ProviderSpec {
    /// An access key in the configuration itself.
    Static {
        /// The access key id.
        id: String,
        /// The access key secret.
        secret: Secret,
        /// The security token.
        token: Option<Secret>,
    },
    /// The environment of the process. A role named there is assumed at this STS endpoint.
    Env(StsEndpointConfig, EnvConfig),
    /// A file written by another program, or a directory of files.
    File {
        /// The path of the file or directory.
        path: PathBuf,
        /// Rejects a file that other users can read.
        strict: bool,
    },
    /// A role assumed with the credentials of another source.
    AssumeRole {
        /// The name of that source.
        source: String,
        /// The role.
        role: AssumedRole,
        /// The STS endpoint.
        place: StsEndpointConfig,
        /// The signature of calls to STS.
        signature: StsSignature,
    },
    /// The token of a service account, exchanged at STS.
    Oidc(OidcConfig, StsEndpointConfig),
    /// The role of the instance, from the metadata service.
    Ecs(EcsConfig),
    /// A service that returns credentials over HTTP.
    Uri {
        /// The URL of the service.
        url: Url,
        /// The file with the value of the `Authorization` header.
        authorization_file: Option<PathBuf>,
    },
    /// A command that prints credentials.
    Process(ProcessConfig),
    /// A profile of the vendor's command-line tool.
    Profile(ExternalFileConfig),
    /// A section of the credentials file that the vendor's libraries share.
    Ini(ExternalFileConfig),
    /// The configuration file of the vendor's OSS tool.
    Ossutil(ExternalFileConfig),
    /// No credentials: requests are forwarded without a signature.
    Anonymous,
    /// A provider from outside this crate.
    Custom(CustomProvider),
    /// A provider chain: the first configured provider is used.
    Chain(ChainConfig),
}

/// Sources by their names in the configuration. Identical ones are shared; one that signs nothing
/// is left out.
pub type SourceMap = BTreeMap<String, Arc<CredentialSource>>;

impl ProviderSpec {
    /// Returns the name of the source that this provider needs.
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

    /// Returns the configuration of the STS endpoint, for a provider that may call STS.
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

    /// Returns whether this is a long-lived access key in the configuration.
    #[must_use]
    pub fn is_lasting_key(&self) -> bool {
        matches!(self, Self::Static { token: None, .. })
    }

    /// Builds the provider. Returns `None` if the source that it needs is not among `others`, or if
    /// it signs nothing.
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

    /// Builds all sources, without requesting credentials. Sources that need each other in a circle
    /// are left out, as are those that need a missing one. Such a configuration is rejected before
    /// it reaches this function.
    #[must_use]
    pub fn build_all(specs: &[(String, Self)]) -> SourceMap {
        Self::build_anew(specs, &[])
    }

    /// Builds all sources after a reload; `before` has the previous configurations and their
    /// sources. A source whose name and configuration are unchanged is reused, with its
    /// credentials.
    #[must_use]
    pub fn build_anew(specs: &[(String, Self)], before: &[(&[(String, Self)], &SourceMap)]) -> SourceMap {
        let mut known = Vec::new();
        for (specs, before) in before {
            // The first of two with the same name counts.
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

/// Returns each source once, under the first of its names.
pub fn each(sources: &SourceMap) -> impl Iterator<Item = (&str, &Arc<CredentialSource>)> {
    sources.iter().filter(|(name, source)| source.name() == **name).map(|(name, source)| (&**name, source))
}
