//! A provider from outside this crate, supplied by the program that builds the proxy.

use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::provider_config::ProviderConfig;
use super::{CredentialServices, Provide, ProvideFuture, SourceEnv, StateFingerprint};

/// A provider from outside this crate.
///
/// [`crate::config::ProxyConfig::sign_with`] replaces a source of the configuration file with it.
#[derive(Clone)]
pub(crate) struct CustomProvider(pub(crate) Arc<dyn Provide>);

impl std::fmt::Debug for CustomProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Custom(..)")
    }
}

/// Two custom providers are never known to be equal.
impl PartialEq for CustomProvider {
    fn eq(&self, _other: &Self) -> bool {
        false
    }
}

impl Hash for CustomProvider {
    fn hash<H: Hasher>(&self, _state: &mut H) {}
}

impl ProviderConfig for CustomProvider {
    fn build(&self, _services: &Arc<CredentialServices>) -> Box<dyn Provide> {
        Box::new(self.clone())
    }
}

impl Provide for CustomProvider {
    fn provide<'a>(&'a self, env: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        self.0.provide(env)
    }

    fn files(&self, env: &dyn SourceEnv) -> Vec<PathBuf> {
        self.0.files(env)
    }

    fn fingerprint(&self, env: &dyn SourceEnv) -> Option<StateFingerprint> {
        self.0.fingerprint(env)
    }

    fn renew_after(&self) -> Option<Duration> {
        self.0.renew_after()
    }

    fn explain(&self, env: &dyn SourceEnv) -> Vec<String> {
        self.0.explain(env)
    }
}
