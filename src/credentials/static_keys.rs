//! `static`: an access key, or temporary credentials with a token, from the configuration.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::provider_config::ProviderConfig;
use super::{CredentialServices, Credentials, Provide, ProvideFuture, SetupError, SourceEnv, validate};
use crate::secret::Secret;

/// An access key, with or without a token.
#[derive(Debug)]
pub(crate) struct StaticKeyConfig {
    /// The access key id.
    pub(crate) id: Secret,
    /// The access key secret.
    pub(crate) secret: Secret,
    /// The security token.
    pub(crate) token: Option<Secret>,
}

impl StaticKeyConfig {
    /// Returns a copy, for a provider that outlives this configuration.
    pub(super) fn duplicate(&self) -> Self {
        Self {
            id: Secret::from(self.id.expose()),
            secret: Secret::from(self.secret.expose()),
            token: self.token.as_ref().map(|token| Secret::from(token.expose())),
        }
    }

    /// Returns the id, the secret and the token.
    fn exposed(&self) -> [Option<&str>; 3] {
        [Some(self.id.expose()), Some(self.secret.expose()), self.token.as_ref().map(Secret::expose)]
    }
}

impl PartialEq for StaticKeyConfig {
    fn eq(&self, other: &Self) -> bool {
        self.exposed() == other.exposed()
    }
}

impl Hash for StaticKeyConfig {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.exposed().hash(state);
    }
}

impl ProviderConfig for StaticKeyConfig {
    fn build(&self, _services: &Arc<CredentialServices>) -> Box<dyn Provide> {
        Box::new(StaticKeys(self.duplicate()))
    }
}

/// A provider of configured credentials.
struct StaticKeys(StaticKeyConfig);

impl Provide for StaticKeys {
    fn provide<'a>(&'a self, _edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(async {
            let StaticKeyConfig { id, secret, token } = self.0.duplicate();
            validate::check(id.expose(), secret.expose(), token.as_ref().map(Secret::expose))
                .map_err(SetupError::from)?;
            Ok(Credentials {
                id: id.expose().to_owned(),
                provider: if token.is_some() { "static_sts" } else { "static_ak" }.into(),
                secret,
                token,
                expires: None,
            })
        })
    }
}
