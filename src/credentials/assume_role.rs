//! `assume_role`: temporary credentials for a role, asked for with the credentials of another source.

use std::sync::Arc;

use super::sts::{AssumedRole, StsCause, StsClient, StsEndpointConfig, StsError, StsSignature};
use super::{CredentialSource, Credentials, Provide, ProvideError, ProvideFuture, SourceEnv};

/// A role that the identity of another source assumes.
pub(super) struct AssumeRole {
    source: Arc<CredentialSource>,
    role: AssumedRole,
    sts: StsClient,
}

impl AssumeRole {
    pub(super) fn new(
        source: Arc<CredentialSource>,
        role: AssumedRole,
        place: StsEndpointConfig,
        signature: StsSignature,
    ) -> Self {
        Self { source, role, sts: StsClient::new(place, signature) }
    }
}

impl AssumeRole {
    /// STS has refused this key: another one, if the source has another.
    async fn replacement_credentials(
        &self,
        refused: &Arc<Credentials>,
        edge: &dyn SourceEnv,
    ) -> Option<Arc<Credentials>> {
        let is_other = |given: &Arc<Credentials>| !Arc::ptr_eq(given, refused);
        if let Some(newer) = self.source.get(edge.now()).ok().filter(is_other) {
            return Some(newer);
        }
        // What it says then is told by itself.
        self.source.refresh(edge).await.ok().filter(is_other)
    }

    /// An error of the source that is to assume the role.
    fn of_source(&self, error: ProvideError) -> ProvideError {
        let name = self.source.name();
        let text = format!("the source {name:?} that is to assume {}: {error}", self.role.arn);
        match error {
            ProvideError::Unavailable(_) => ProvideError::Unavailable(text),
            // To go on with anybody else would be the wrong identity.
            ProvideError::Refused(_) | ProvideError::NotConfigured(_) | ProvideError::Failed(_) => {
                ProvideError::Refused(text)
            }
        }
    }
}

impl Provide for AssumeRole {
    fn provide<'a>(&'a self, edge: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(async move {
            let signer = self.source.obtain(edge).await.map_err(|error| self.of_source(error))?;
            let triple = match self.sts.assume(&self.role, &signer, edge).await {
                Err(StsError { cause: StsCause::Key, error }) => {
                    match self.replacement_credentials(&signer, edge).await {
                        Some(other) => self.sts.assume(&self.role, &other, edge).await?,
                        None => return Err(error),
                    }
                }
                given => given?,
            };
            triple.into_credentials(&format!("ram_role_arn/{}", signer.provider), "STS")
        })
    }

    fn explain(&self, edge: &dyn SourceEnv) -> Vec<String> {
        vec![
            format!("role {}, assumed by the source {:?}", self.role.arn, self.source.name()),
            self.sts.explain(edge),
        ]
    }
}
