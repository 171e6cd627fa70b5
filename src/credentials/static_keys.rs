//! `static`: an access key, or temporary credentials with a token, from the configuration.

use super::{Credentials, Provide, ProvideFuture, SetupError, SourceEnv, validate};
use crate::secret::Secret;

/// A provider of configured credentials.
pub(super) struct StaticKeys {
    id: String,
    secret: Secret,
    token: Option<Secret>,
}

impl StaticKeys {
    pub(super) fn new(id: String, secret: Secret, token: Option<Secret>) -> Self {
        Self { id, secret, token }
    }
}

impl Provide for StaticKeys {
    fn provide<'a>(&'a self, _edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(async {
            let token = self.token.as_ref().map(Secret::expose);
            validate::check(&self.id, self.secret.expose(), token).map_err(SetupError::from)?;
            Ok(Credentials {
                id: self.id.clone(),
                secret: Secret::from(self.secret.expose()),
                token: token.map(Secret::from),
                expires: None,
                provider: if token.is_some() { "static_sts" } else { "static_ak" }.into(),
            })
        })
    }
}
