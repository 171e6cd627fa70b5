//! Providers that files of other tools describe.

use std::sync::Arc;

use super::ecs::{EcsConfig, EcsProvider};
use super::login::LoginSession;
use super::oidc::{OidcConfig, OidcProvider};
use super::process::{ProcessConfig, ProcessProvider};
use super::static_keys::StaticKeys;
use super::sts::{AssumedRole, StsEndpointConfig, StsSignature};
use super::uri::UriProvider;
use super::{CredentialSource, Provide, assume_role};
use crate::secret::Secret;
use crate::transport::Url;

/// A provider, as a file describes it.
#[derive(Debug)]
pub(super) enum FileProviderSpec {
    /// An access key, with or without a token.
    Key { id: Secret, secret: Secret, token: Option<Secret> },
    /// A role, assumed with the credentials of another provider.
    Role { of: Box<Self>, role: AssumedRole, place: StsEndpointConfig },
    /// The role of the instance.
    Ecs(EcsConfig),
    /// The token of a service account.
    Oidc(OidcConfig, StsEndpointConfig),
    /// An HTTP service that returns credentials.
    Uri(Url),
    /// A command.
    Process(ProcessConfig),
    /// The keys of a login.
    Login(LoginSession),
}

impl FileProviderSpec {
    /// Builds the provider. `name` is the name of the source that assumes a role, in its errors.
    pub(super) fn build(self, name: &str) -> Box<dyn Provide> {
        match self {
            Self::Key { id, secret, token } => {
                Box::new(StaticKeys::new(id.expose().to_owned(), secret, token))
            }
            Self::Role { of, role, place } => {
                let source = Arc::new(CredentialSource::new(name, of.build(name)));
                Box::new(assume_role::AssumeRole::new(source, role, place, StsSignature::Acs3))
            }
            Self::Ecs(instance) => Box::new(EcsProvider::new(instance)),
            Self::Oidc(pod, place) => Box::new(OidcProvider::new(pod, place)),
            Self::Uri(url) => Box::new(UriProvider::new(Some(url), None)),
            Self::Process(program) => Box::new(ProcessProvider::new(program)),
            Self::Login(session) => Box::new(session),
        }
    }
}

/// An error in a field of a file.
pub(super) struct InvalidField(pub(super) String);

/// Returns the STS endpoint that a file sets; missing values come from `fallback`.
pub(super) fn place(
    endpoint: Option<&str>,
    region: Option<&str>,
    vpc: bool,
    fallback: &StsEndpointConfig,
) -> Result<StsEndpointConfig, InvalidField> {
    let endpoint = endpoint.map(|text| {
        let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        Url::parse(&text).map_err(|error| InvalidField(format!("the STS endpoint {error}")))
    });
    let region = region.map(|text| {
        crate::oss::Region::parse(text).map_err(|error| InvalidField(format!("the STS region: {error}")))
    });
    Ok(StsEndpointConfig {
        endpoint: endpoint.transpose()?.or_else(|| fallback.endpoint.clone()),
        region: region.transpose()?.or_else(|| fallback.region.clone()),
        vpc: vpc || fallback.vpc,
        of_oss: fallback.of_oss.clone(),
    })
}
