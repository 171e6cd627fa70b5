//! Credential providers, and the cached credentials that requests read without waiting.

mod assume_role;
mod build_order;
pub(crate) mod build_sources;
mod chain;
mod circuit_breaker;
mod clock_skew;
mod credentials_document;
mod custom;
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
mod ossutil_options;
mod ossutil_profile;
mod process;
mod profile;
mod provider_config;
mod provider_spec;
mod refresh_policy;
mod secret_file;
mod service_client;
mod services;
mod source;
mod spec_index;
mod static_keys;
mod status;
mod sts;
mod uri;
mod validate;

#[cfg(test)]
mod test_env;

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use assume_role::AssumeRoleConfig;
pub(crate) use build_sources::{ConfiguredSources, build_sources, rebuild_sources};
pub(crate) use chain::{ChainConfig, ChainOrder};
pub(crate) use circuit_breaker::EndpointStatus;
pub(crate) use clock_skew::{CallPeriod, ahead};
pub(crate) use custom::CustomProvider;
pub(crate) use ecs::EcsConfig;
pub(crate) use env::EnvConfig;
pub(crate) use external_file::{ExternalFileConfig, ToolFileConfig};
pub(crate) use file::CredentialFileConfig;
pub(crate) use ini_file::SharedFile;
pub(crate) use oidc::OidcConfig;
pub(crate) use ossutil::OssutilFile;
pub(crate) use ossutil_buckets::{BucketEndpoint, BucketEndpointsError, BucketStyle, bucket_endpoints};
pub(crate) use process::ProcessConfig;
pub(crate) use profile::CliFile;
pub(crate) use provider_config::ComparableConfig;
pub(crate) use provider_spec::{NamedSpec, ProviderSpec};
pub use secret_file::SecretText;
pub(crate) use services::CredentialServices;
pub(crate) use source::{CredentialSource, NoCredentials};
pub(crate) use static_keys::StaticKeyConfig;
pub(crate) use status::{CredentialState, SourceStatus};
pub(crate) use sts::{AssumeRoleParams, OssLocation, StsEndpointConfig, StsSignature};
pub(crate) use uri::UriConfig;
pub use validate::InvalidAccessKey;
pub(crate) use validate::check as check_key;

use crate::secret::Secret;
use crate::time::{Clock, Timestamp};

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

/// A credential provider. One source calls it and keeps the credentials. That source
/// refreshes them before they expire, one attempt at a time, and backs off after failures. An
/// implementation only has to request credentials.
///
/// ```
/// use oss_signing_proxy::credentials::{Credentials, Provide, ProvideError, ProvideFuture, SourceEnv};
/// use oss_signing_proxy::secret::Secret;
/// use oss_signing_proxy::time::Timestamp;
///
/// /// A provider that reads the values that another process exported.
/// struct ExportedKey;
///
/// impl Provide for ExportedKey {
///     fn provide<'a>(&'a self, edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
///         Box::pin(async move {
///             let read = |name: &str| {
///                 edge.variable(name).ok_or_else(|| ProvideError::NotConfigured(format!("{name} is not set")))
///             };
///             Ok(Credentials {
///                 id: read("EXPORTED_ID")?,
///                 secret: Secret::new(read("EXPORTED_SECRET")?),
///                 token: Some(Secret::new(read("EXPORTED_TOKEN")?)),
///                 expires: Timestamp::parse_rfc3339(&read("EXPORTED_EXPIRATION")?),
///                 provider: "exported".into(),
///             })
///         })
///     }
/// }
/// ```
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
    /// providers were skipped. It must use only data in memory, not files or services.
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

/// Sources by their names in the configuration. Identical ones are shared; one that signs nothing
/// is left out.
pub(crate) type SourceMap = BTreeMap<String, Arc<CredentialSource>>;

/// Returns each source once, under the first of its names.
pub(crate) fn each(sources: &SourceMap) -> impl Iterator<Item = (&str, &Arc<CredentialSource>)> {
    sources.iter().filter(|(name, source)| source.name() == **name).map(|(name, source)| (&**name, source))
}

/// The upper bounds of the buckets of histograms, in microseconds. They range from the read of a
/// file to the timeout of an attempt.
const BOUNDS_US: [u64; 10] =
    [1_000, 5_000, 25_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 20_000_000];
