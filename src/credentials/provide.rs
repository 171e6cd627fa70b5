//! The interface of a credential provider.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use super::access_key::Credentials;
use super::provide_error::ProvideError;
use super::source_env::SourceEnv;

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
    fn provide<'a>(&'a self, env: &'a dyn SourceEnv) -> ProvideFuture<'a>;

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
    pub fn new(state: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// The future that [`Provide::provide`] returns.
pub type ProvideFuture<'a> = Pin<Box<dyn Future<Output = Result<Credentials, ProvideError>> + Send + 'a>>;
