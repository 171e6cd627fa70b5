//! `assume_role`: temporary credentials for a role, requested with the credentials of another
//! source.

use std::sync::Arc;

use super::provider_config::ProviderConfig;
use super::sts::{AssumedRole, StsCause, StsClient, StsEndpointConfig, StsError, StsSignature};
use super::{
    CredentialServices, CredentialSource, Credentials, Provide, ProvideError, ProvideFuture, SourceEnv,
};

/// A role to assume, and the STS that issues its credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AssumeRoleConfig {
    /// The role.
    pub(crate) role: AssumedRole,
    /// The STS endpoint.
    pub(crate) sts_endpoint: StsEndpointConfig,
    /// The signature of calls to STS.
    pub(crate) signature: StsSignature,
}

impl AssumeRoleConfig {
    /// Builds the provider that assumes the role with the credentials of `source`.
    pub(super) fn build(
        &self,
        source: Arc<CredentialSource>,
        services: &Arc<CredentialServices>,
    ) -> Box<dyn Provide> {
        let sts = StsClient::new(self.sts_endpoint.clone(), self.signature, services);
        Box::new(AssumeRole { source, role: self.role.clone(), sts })
    }
}

/// A role in the file of another tool, assumed by a provider that the same file describes.
#[derive(Debug)]
pub(super) struct FileRoleConfig {
    pub(super) signer: Box<dyn ProviderConfig>,
    /// The name of `signer` in errors.
    pub(super) signer_name: &'static str,
    pub(super) role: AssumedRole,
    pub(super) sts_endpoint: StsEndpointConfig,
}

impl ProviderConfig for FileRoleConfig {
    fn build(&self, services: &Arc<CredentialServices>) -> Box<dyn Provide> {
        let Self { signer, signer_name, role, sts_endpoint } = self;
        let signer = Arc::new(CredentialSource::new(signer_name, signer.build(services)));
        let role = AssumeRoleConfig {
            role: role.clone(),
            sts_endpoint: sts_endpoint.clone(),
            signature: StsSignature::Acs3,
        };
        role.build(signer, services)
    }
}

/// A provider that assumes a role with the credentials of another source.
struct AssumeRole {
    source: Arc<CredentialSource>,
    role: AssumedRole,
    sts: StsClient,
}

impl AssumeRole {
    /// Returns other credentials after STS rejected `refused`; `None` if the source has no others.
    async fn replacement_credentials(
        &self,
        refused: &Arc<Credentials>,
        env: &dyn SourceEnv,
    ) -> Option<Arc<Credentials>> {
        let is_other = |given: &Arc<Credentials>| !Arc::ptr_eq(given, refused);
        if let Some(newer) = self.source.get(env.now()).ok().filter(is_other) {
            return Some(newer);
        }
        // The source reports a failed refresh itself.
        self.source.refresh(env).await.ok().filter(is_other)
    }

    /// Wraps an error of the source that assumes the role.
    fn of_source(&self, error: ProvideError) -> ProvideError {
        let name = self.source.name();
        let text = format!("the source {name:?} cannot assume {}: {error}", self.role.arn);
        match error {
            ProvideError::Unavailable(_) => ProvideError::Unavailable(text),
            // Falling through to another provider would sign with the wrong identity.
            ProvideError::Refused(_) | ProvideError::NotConfigured(_) | ProvideError::Failed(_) => {
                ProvideError::Refused(text)
            }
        }
    }
}

impl Provide for AssumeRole {
    fn provide<'a>(&'a self, env: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(async move {
            let signer = self.source.obtain(env).await.map_err(|error| self.of_source(error))?;
            let assumed = match self.sts.assume(&self.role, &signer, env).await {
                Err(StsError { cause: StsCause::Key, error }) => {
                    match self.replacement_credentials(&signer, env).await {
                        Some(other) => self.sts.assume(&self.role, &other, env).await?,
                        None => return Err(error),
                    }
                }
                given => given?,
            };
            assumed.into_credentials(&format!("ram_role_arn/{}", signer.provider), "STS")
        })
    }

    fn explain(&self, env: &dyn SourceEnv) -> Vec<String> {
        vec![
            format!("role {}, assumed with the source {:?}", self.role.arn, self.source.name()),
            self.sts.explain(env),
        ]
    }
}
