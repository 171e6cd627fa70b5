//! What a file of another tool describes: a source of ours.

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

/// A source, as a file describes it.
#[derive(Debug)]
pub(super) enum FileProviderSpec {
    /// An access key, with or without a token.
    Key { id: Secret, secret: Secret, token: Option<Secret> },
    /// A role that another identity assumes.
    Role { of: Box<Self>, role: AssumedRole, place: StsEndpointConfig },
    /// The role of the instance.
    Ecs(EcsConfig),
    /// The token of a service account.
    Oidc(OidcConfig, StsEndpointConfig),
    /// A service that hands out credentials.
    Uri(Url),
    /// A command.
    Process(ProcessConfig),
    /// The keys that a login has left behind.
    Login(LoginSession),
}

impl FileProviderSpec {
    /// The source; `name` is told where it fails as the one that assumes a role.
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

/// What is described under names of others, in files that are read by name.
pub(super) struct InvalidField(pub(super) String);

/// Where STS is, as a file says it.
pub(super) fn place(
    endpoint: Option<&str>,
    region: Option<&str>,
    vpc: bool,
    fallback: &StsEndpointConfig,
) -> Result<StsEndpointConfig, InvalidField> {
    let endpoint = endpoint.map(|text| {
        let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        Url::parse(&text).map_err(|error| InvalidField(format!("its endpoint of STS {error}")))
    });
    let region = region.map(|text| {
        crate::oss::Region::parse(text).map_err(|error| InvalidField(format!("its region of STS: {error}")))
    });
    Ok(StsEndpointConfig {
        endpoint: endpoint.transpose()?.or_else(|| fallback.endpoint.clone()),
        region: region.transpose()?.or_else(|| fallback.region.clone()),
        vpc: vpc || fallback.vpc,
        of_oss: fallback.of_oss.clone(),
    })
}
