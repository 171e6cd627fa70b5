//! `oidc`: temporary credentials for a role, in exchange for the token of a service account (RRSA
//! on Kubernetes). The token is read for each exchange, because another program renews it.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use super::provider_config::ProviderConfig;
use super::sts::{
    AssumeRoleParams, OidcToken, StsCause, StsClient, StsCredentials, StsEndpointConfig, StsError,
    StsSignature,
};
use super::{CredentialServices, Provide, ProvideError, ProvideFuture, SecretText, SetupError, SourceEnv};
use crate::offload::{BlockingLane, FILE_LIMIT};
use crate::secret::Secret;

/// The role and the token to use; missing values come from the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct OidcConfig {
    /// The role, and the parameters for assuming it.
    pub(crate) role: AssumeRoleParams,
    /// The ARN of the OIDC provider.
    pub(crate) provider_arn: Option<String>,
    /// The file with the token.
    pub(crate) token_file: Option<PathBuf>,
    /// The STS endpoint.
    pub(crate) sts_endpoint: StsEndpointConfig,
}

impl ProviderConfig for OidcConfig {
    fn sts_endpoint_mut(&mut self) -> Option<&mut StsEndpointConfig> {
        Some(&mut self.sts_endpoint)
    }

    fn build(&self, services: &Arc<CredentialServices>) -> Box<dyn Provide> {
        Box::new(OidcProvider {
            pod: self.clone(),
            lane: BlockingLane::default(),
            sts: StsClient::new(self.sts_endpoint.clone(), StsSignature::Acs3, services),
        })
    }
}

impl OidcConfig {
    /// Returns the settings that are only valid together.
    pub(super) fn required_fields(&self, env: &dyn SourceEnv) -> Result<RequiredFields, ProvideError> {
        let role = self.role.role_arn.clone().or_else(|| env.variable(ROLE));
        let provider = self.provider_arn.clone().or_else(|| env.variable(PROVIDER));
        let file = self.token_file.clone().or_else(|| env.variable(FILE).map(PathBuf::from));
        match (role, provider, file) {
            (Some(role_arn), Some(provider_arn), Some(token_file)) => {
                Ok(RequiredFields { role_arn, provider_arn, token_file })
            }
            // The role alone may be meant for another provider.
            (_, None, None) => {
                Err(ProvideError::NotConfigured(format!("neither {PROVIDER} nor {FILE} is set")))
            }
            (None, _, _) => Err(missing("role_arn", ROLE)),
            (Some(_), None, Some(_)) => Err(missing("oidc_provider_arn", PROVIDER)),
            (Some(_), Some(_), None) => Err(missing("token_file", FILE)),
        }
    }
}

/// The settings of an OIDC provider that are only valid together.
pub(super) struct RequiredFields {
    role_arn: String,
    provider_arn: String,
    token_file: PathBuf,
}

/// A provider that exchanges the token of a service account for credentials.
struct OidcProvider {
    pod: OidcConfig,
    lane: BlockingLane,
    sts: StsClient,
}

impl OidcProvider {
    async fn exchange(&self, env: &dyn SourceEnv) -> Result<StsCredentials, StsError> {
        let RequiredFields { role_arn, provider_arn, token_file } = self.pod.required_fields(env)?;
        let shown = token_file.display();
        let unreadable = |error: &dyn fmt::Display| {
            ProvideError::Unavailable(format!(
                "cannot read the OIDC token in {shown}: {error}; check that it is mounted"
            ))
        };
        let text = self.lane.run(FILE_LIMIT, {
            let file = token_file.clone();
            move || SecretText::read(&file)
        });
        let text = text.await.map_err(|timeout| unreadable(&timeout))?;
        let invalid = || {
            let text = format!("invalid OIDC token in {shown}: it is empty or longer than {TOKEN_MAX} bytes");
            ProvideError::Unavailable(text)
        };
        let text = text.map_err(|error| {
            if error.kind() == ErrorKind::FileTooLarge { invalid() } else { unreadable(&error) }
        })?;
        let token = Secret::from(text.text.expose().trim());
        if token.expose().is_empty() || token.expose().len() > TOKEN_MAX {
            return Err(invalid().into());
        }
        let mut role = self.pod.role.to_role(role_arn);
        role.session_name = role.session_name.or_else(|| env.variable(SESSION));
        role.external_id = None;
        let token = OidcToken { provider_arn: &provider_arn, token: &token };
        self.sts.assume_with_token(&role, token, env).await
    }
}

impl Provide for OidcProvider {
    fn provide<'a>(&'a self, env: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(async move {
            let given = match self.exchange(env).await {
                // The token may have been renewed since it was read.
                Err(StsError { cause: StsCause::OidcTokenExpired, .. }) => match self.exchange(env).await {
                    Err(StsError { cause: StsCause::OidcTokenExpired, error }) => {
                        return Err(ProvideError::Unavailable(error.to_string()));
                    }
                    given => given,
                },
                given => given,
            };
            given?.into_credentials("oidc_role_arn", "STS")
        })
    }

    fn explain(&self, env: &dyn SourceEnv) -> Vec<String> {
        let Ok(RequiredFields { role_arn, token_file, .. }) = self.pod.required_fields(env) else {
            return Vec::new();
        };
        vec![format!("role {role_arn}, token in {}", token_file.display()), self.sts.explain(env)]
    }
}

fn missing(key: &'static str, variable: &'static str) -> ProvideError {
    SetupError::IncompleteKey { key, variable }.into()
}

const ROLE: &str = "ALIBABA_CLOUD_ROLE_ARN";
const PROVIDER: &str = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN";
const FILE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";
const SESSION: &str = "ALIBABA_CLOUD_ROLE_SESSION_NAME";
/// The longest token that STS accepts, in bytes.
const TOKEN_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::OidcConfig;
    use crate::credentials::test_env::ask;
    use crate::credentials::{AssumeRoleParams, ProvideError, ProviderSpec};

    #[tokio::test]
    async fn a_token_of_more_than_64_kib_is_rejected() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&file, "x".repeat(64 * 1024 + 1)).expect("written");
        let config = OidcConfig {
            role: AssumeRoleParams {
                role_arn: Some("acs:ram::1:role/r".to_owned()),
                ..AssumeRoleParams::default()
            },
            provider_arn: Some("acs:ram::1:oidc-provider/p".to_owned()),
            token_file: Some(file.path().to_owned()),
            ..OidcConfig::default()
        };
        let given = ask(ProviderSpec::new(config), &[]).await;
        let path = file.path().display();
        let text = format!("invalid OIDC token in {path}: it is empty or longer than 20000 bytes");
        assert_eq!(given, Err(ProvideError::Unavailable(text)));
    }
}
