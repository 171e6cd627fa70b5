//! `chain`: the first configured provider. A configured provider that fails stops the chain,
//! because falling through would change the signing identity. The selection is sticky.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::external_file::{ExternalFileConfig, ToolFileConfig};
use super::ini_file::{OssFile, SharedFile};
use super::provider_config::ProviderConfig;
use super::sts::{StsClient, StsSignature};
use super::{
    CliFile, CredentialServices, Credentials, EcsConfig, EnvConfig, OidcConfig, OssutilFile, Provide,
    ProvideError, ProvideFuture, SourceEnv, StsEndpointConfig, UriConfig,
};

/// Configuration of a provider chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ChainConfig {
    /// The order in which providers are tried.
    pub(crate) order: ChainOrder,
    /// The role that a key from the environment, or the pod, assumes. Its STS endpoint is that of
    /// all providers.
    pub(crate) wanted: EnvConfig,
    /// The ARN that must sign; any other identity is rejected.
    pub(crate) pin_identity: Option<String>,
    /// If set, files that other users can read are rejected.
    pub(crate) strict: bool,
}

impl ProviderConfig for ChainConfig {
    fn sts_endpoint_mut(&mut self) -> Option<&mut StsEndpointConfig> {
        Some(&mut self.wanted.sts_endpoint)
    }

    fn build(&self, services: &Arc<CredentialServices>) -> Box<dyn Provide> {
        Box::new(ProviderChain::new(self, services))
    }
}

/// An order of providers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum ChainOrder {
    /// Settings of this process, then files in the home directory, then the instance.
    #[default]
    Usual,
    /// The order of the Alibaba Cloud SDKs.
    Alibaba,
}

/// A provider that tries other providers in order.
struct ProviderChain {
    links: Vec<ChainLink>,
    pin: Option<String>,
    sts: StsClient,
    found: Mutex<ChainSelection>,
}

struct ChainLink {
    name: &'static str,
    source: Box<dyn Provide>,
}

#[derive(Default)]
struct ChainSelection {
    /// Index of the first configured provider.
    link: Option<usize>,
    /// Reasons why the providers before it are not configured.
    passed_over: Vec<String>,
    /// Error of the selected provider's last attempt, if it failed.
    failed: Option<String>,
    /// Access key id that belongs to the pinned identity.
    pinned: Option<String>,
}

impl ProviderChain {
    fn new(chain: &ChainConfig, services: &Arc<CredentialServices>) -> Self {
        let ChainConfig { order, wanted, pin_identity, strict } = chain;
        let pod = OidcConfig {
            role: wanted.role.clone(),
            sts_endpoint: wanted.sts_endpoint.clone(),
            ..OidcConfig::default()
        };
        let file = ExternalFileConfig {
            strict: *strict,
            sts_endpoint: wanted.sts_endpoint.clone(),
            ..ExternalFileConfig::default()
        };
        let link = |name, config: &dyn ProviderConfig| ChainLink { name, source: config.build(services) };
        let env = link("env", wanted);
        let oidc = link(OIDC, &pod);
        let uri = link("credential_uri", &UriConfig::default());
        let cli = link("cli_profile", &ToolFileConfig { format: CliFile, file: file.clone() });
        let shared = link("profile", &ToolFileConfig { format: SharedFile, file: file.clone() });
        let ecs = link("ecs_ram_role", &EcsConfig { by_name: false, ..EcsConfig::default() });
        let links = match order {
            ChainOrder::Usual => {
                let oss = link("oss_profile", &ToolFileConfig { format: OssFile, file: file.clone() });
                let ossutil = link("ossutil", &ToolFileConfig { format: OssutilFile, file });
                vec![env, oidc, uri, cli, shared, oss, ossutil, ecs]
            }
            ChainOrder::Alibaba => vec![env, oidc, cli, shared, ecs, uri],
        };
        Self {
            links,
            pin: pin_identity.clone(),
            sts: StsClient::new(wanted.sts_endpoint.clone(), StsSignature::Acs3, services),
            found: Mutex::default(),
        }
    }

    async fn ask(&self, env: &dyn SourceEnv) -> Result<Credentials, ProvideError> {
        let mut given = self.find(env).await?;
        if let Some(pin) = &self.pin {
            self.check(&given, pin, env).await?;
        }
        given.provider = format!("default/{}", given.provider).into();
        Ok(given)
    }

    async fn find(&self, env: &dyn SourceEnv) -> Result<Credentials, ProvideError> {
        let given = self.walk(env).await;
        let mut found = self.found();
        found.failed = given.as_ref().err().filter(|_| found.link.is_some()).map(ToString::to_string);
        given
    }

    async fn walk(&self, env: &dyn SourceEnv) -> Result<Credentials, ProvideError> {
        let known = self.found().link;
        if let Some(link) = known.and_then(|index| self.links.get(index)) {
            return link.source.provide(env).await.map_err(|error| match error {
                ProvideError::NotConfigured(why) => ProvideError::Unavailable(format!(
                    "{}, which the provider chain selected, is no longer configured ({why}); restore it, or restart to select another provider",
                    link.name
                )),
                ProvideError::Failed(_) | ProvideError::Unavailable(_) | ProvideError::Refused(_) => error,
            });
        }
        let mut passed_over = Vec::new();
        for (index, link) in self.links.iter().enumerate() {
            let given = match link.source.provide(env).await {
                Err(ProvideError::NotConfigured(why)) => {
                    passed_over.push(why);
                    continue;
                }
                // guard: failure-ends-chain
                given => given,
            };
            let mut found = self.found();
            (found.link, found.passed_over) = (Some(index), passed_over);
            return given;
        }
        let why = passed_over.join("; ");
        self.found().passed_over = passed_over;
        Err(ProvideError::NotConfigured(why))
    }

    /// Rejects any identity but the pinned one.
    async fn check(&self, given: &Credentials, pin: &str, env: &dyn SourceEnv) -> Result<(), ProvideError> {
        if self.found().pinned.as_deref() == Some(given.id.as_str()) {
            return Ok(());
        }
        let identity = self.sts.caller(given, env).await?;
        if identity != pin {
            return Err(ProvideError::Refused(format!(
                "the identity of {} is {identity}, but pin_identity is {pin}; correct one of them",
                given.provider
            )));
        }
        self.found().pinned = Some(given.id.clone());
        Ok(())
    }

    fn found(&self) -> MutexGuard<'_, ChainSelection> {
        self.found.lock()
    }
}

/// Returns the error of the OIDC provider if its settings are incomplete. Other providers return
/// `None`.
fn half_set(name: &str, env: &dyn SourceEnv) -> Option<ProvideError> {
    match (name, OidcConfig::default().required_fields(env)) {
        (OIDC, Err(why @ ProvideError::Failed(_))) => Some(why),
        (_, _) => None,
    }
}

const OIDC: &str = "oidc_role_arn";

impl Provide for ProviderChain {
    fn provide<'a>(&'a self, env: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(self.ask(env))
    }

    fn files(&self, env: &dyn SourceEnv) -> Vec<PathBuf> {
        let only = self.found().link;
        let links = self.links.iter().enumerate().filter(|(index, _)| only.is_none_or(|only| only == *index));
        links.flat_map(|(_, link)| link.source.files(env)).collect()
    }

    fn renew_after(&self) -> Option<Duration> {
        let found = self.found().link;
        self.links.get(found?)?.source.renew_after()
    }

    fn explain(&self, env: &dyn SourceEnv) -> Vec<String> {
        let found = self.found();
        let mut lines = Vec::new();
        for (index, ChainLink { name, source }) in self.links.iter().enumerate() {
            match (found.passed_over.get(index), found.link) {
                (Some(why), _) => lines.push(format!("{name:15} not configured   {why}")),
                (None, Some(link)) if link == index => {
                    match &found.failed {
                        None => lines.push(format!("{name:15} SELECTED")),
                        Some(why) => lines.push(format!("{name:15} SELECTED, FAILS  {why}")),
                    }
                    lines.extend(source.explain(env).into_iter().map(|line| format!("    {line}")));
                }
                (None, Some(_)) => {
                    lines.push(format!("{name:15} not tried        an earlier provider is selected"));
                    let half = half_set(name, env);
                    lines.extend(half.map(|why| format!("    incomplete: {why}")));
                }
                (None, None) => lines.push(format!("{name:15} not tried yet")),
            }
        }
        lines
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
