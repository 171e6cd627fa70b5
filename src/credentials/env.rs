//! `env`: the variables of the OSS SDKs, then those of the other Alibaba Cloud tools. All three
//! values come from one family. Half a pair is an error, because another family would change the
//! signing identity.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::warn;

use super::provider_config::ProviderConfig;
use super::sts::{AssumeRoleParams, StsClient, StsEndpointConfig, StsSignature};
use super::{
    CredentialServices, Credentials, Provide, ProvideError, ProvideFuture, SetupError, SourceEnv, validate,
};
use crate::secret::Secret;

/// The role that a key from the environment assumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct EnvConfig {
    /// The role, and the parameters for assuming it.
    pub(crate) role: AssumeRoleParams,
    /// If set, `ALIBABA_CLOUD_ROLE_ARN` is assumed with an access key of the environment.
    pub(crate) from_env: bool,
    /// The STS endpoint at which the role is assumed.
    pub(crate) sts_endpoint: StsEndpointConfig,
}

impl ProviderConfig for EnvConfig {
    fn sts_endpoint_mut(&mut self) -> Option<&mut StsEndpointConfig> {
        Some(&mut self.sts_endpoint)
    }

    fn build(&self, services: &Arc<CredentialServices>) -> Box<dyn Provide> {
        Box::new(EnvProvider {
            wanted: self.clone(),
            sts: StsClient::new(self.sts_endpoint.clone(), StsSignature::Acs3, services),
            warned: AtomicBool::new(false),
        })
    }
}

/// A provider that reads the environment of the process.
struct EnvProvider {
    wanted: EnvConfig,
    /// The client that assumes the role, if there is one.
    sts: StsClient,
    warned: AtomicBool,
}

impl EnvProvider {
    /// Returns the role to assume, if there is one.
    fn role(&self, env: &dyn SourceEnv) -> Option<KeyRole> {
        if let Some(arn) = &self.wanted.role.role_arn {
            return Some(KeyRole { arn: arn.clone(), families: &FAMILIES });
        }
        if let Some(arn) = env.variable(OSS_ROLE) {
            return Some(KeyRole { arn, families: &FAMILIES[..1] });
        }
        let arn = env.variable(ROLE).filter(|_| self.wanted.from_env)?;
        Some(KeyRole { arn, families: &FAMILIES })
    }

    async fn ask(&self, env: &dyn SourceEnv) -> Result<Credentials, ProvideError> {
        // guard: role-is-assumed
        let Some(KeyRole { arn, families }) = self.role(env) else {
            let given = read(env, &FAMILIES)?;
            let unused = env.variable(ROLE).is_some() && env.variable(OIDC).is_none();
            if unused && !self.warned.swap(true, Ordering::Relaxed) {
                warn!(
                    "{ROLE} is set, but requests are signed with the access key itself; set assume_role_from_env = true to assume the role"
                );
            }
            return Ok(given);
        };
        let signer = match read(env, families) {
            Err(ProvideError::NotConfigured(_)) if families.len() == 1 => {
                return Err(SetupError::RoleWithoutKey { variable: OSS_ROLE }.into());
            }
            read => read?,
        };
        let mut role = self.wanted.role.to_role(arn);
        role.session_name = role.session_name.or_else(|| env.variable(SESSION));
        role.external_id = role.external_id.or_else(|| env.variable(EXTERNAL_ID));
        let assumed = self.sts.assume(&role, &signer, env).await?;
        let kind = if signer.token.is_some() { "static_sts" } else { "static_ak" };
        assumed.into_credentials(&format!("{}/ram_role_arn/{kind}", signer.provider), "STS")
    }
}

/// A role that an access key from the environment assumes.
struct KeyRole {
    arn: String,
    /// The families whose key may assume it.
    families: &'static [VariableFamily],
}

/// Variables that together hold one set of credentials.
struct VariableFamily {
    name: &'static str,
    id: &'static str,
    secret: &'static str,
    tokens: &'static [&'static str],
}

const FAMILIES: [VariableFamily; 5] = [
    VariableFamily {
        name: "env/OSS",
        id: "OSS_ACCESS_KEY_ID",
        secret: "OSS_ACCESS_KEY_SECRET",
        tokens: &["OSS_SESSION_TOKEN"],
    },
    VariableFamily {
        name: "env/ALIBABA_CLOUD",
        id: "ALIBABA_CLOUD_ACCESS_KEY_ID",
        secret: "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        tokens: &["ALIBABA_CLOUD_SECURITY_TOKEN"],
    },
    VariableFamily {
        name: "env/ALIBABACLOUD",
        id: "ALIBABACLOUD_ACCESS_KEY_ID",
        secret: "ALIBABACLOUD_ACCESS_KEY_SECRET",
        tokens: &["ALIBABACLOUD_SECURITY_TOKEN"],
    },
    VariableFamily {
        name: "env/ALICLOUD",
        id: "ALICLOUD_ACCESS_KEY_ID",
        secret: "ALICLOUD_ACCESS_KEY_SECRET",
        tokens: &["ALICLOUD_SECURITY_TOKEN"],
    },
    // The variables of Terraform.
    VariableFamily {
        name: "env/ALICLOUD_ACCESS_KEY",
        id: "ALICLOUD_ACCESS_KEY",
        secret: "ALICLOUD_SECRET_KEY",
        tokens: &["ALICLOUD_ACCESS_KEY_STS_TOKEN", "ALICLOUD_SECURITY_TOKEN"],
    },
];

/// Beside a pair of the first family, this variable requests signing as a role. Signing as the
/// owner of the pair would be the wrong identity.
const OSS_ROLE: &str = "OSS_STS_ROLE_ARN";
/// The Alibaba Cloud SDKs use this variable for a pod only.
const ROLE: &str = "ALIBABA_CLOUD_ROLE_ARN";
const OIDC: &str = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN";
const SESSION: &str = "ALIBABA_CLOUD_ROLE_SESSION_NAME";
const EXTERNAL_ID: &str = "ALIBABA_CLOUD_EXTERNAL_ID";

impl Provide for EnvProvider {
    fn provide<'a>(&'a self, env: &'a dyn SourceEnv) -> ProvideFuture<'a> {
        Box::pin(self.ask(env))
    }

    fn explain(&self, env: &dyn SourceEnv) -> Vec<String> {
        let role = self.role(env);
        let mut lines =
            role.map_or_else(Vec::new, |role| vec![format!("role {}", role.arn), self.sts.explain(env)]);
        lines.extend(half_set(env).map(|why| format!("incomplete: {why}")));
        lines
    }
}

/// Returns an error for each family with half a pair, including families that are not read.
fn half_set(env: &dyn SourceEnv) -> impl Iterator<Item = ProvideError> {
    FAMILIES.iter().filter_map(|family| match (env.variable(family.id), env.variable(family.secret)) {
        (Some(_), None) => Some(half(family.id, family.secret)),
        (None, Some(_)) => Some(half(family.secret, family.id)),
        (Some(_), Some(_)) | (None, None) => None,
    })
}

fn read(env: &dyn SourceEnv, families: &[VariableFamily]) -> Result<Credentials, ProvideError> {
    for family in families {
        let id = env.variable(family.id);
        let secret = env.variable(family.secret);
        let (id, secret) = match (id, secret) {
            (Some(id), Some(secret)) => (id, Secret::new(secret)),
            (Some(_), None) => return Err(half(family.id, family.secret)),
            (None, Some(_)) => return Err(half(family.secret, family.id)),
            (None, None) => continue,
        };
        let token = family.tokens.iter().find_map(|name| env.variable(name)).map(Secret::new);
        validate::check(&id, secret.expose(), token.as_ref().map(Secret::expose))
            .map_err(SetupError::from)?;
        return Ok(Credentials { id, secret, token, expires: None, provider: family.name.into() });
    }
    let names: Vec<&str> = families.iter().map(|family| family.id).collect();
    Err(ProvideError::NotConfigured(format!("none of {} is set", names.join(", "))))
}

fn half(present: &'static str, missing: &'static str) -> ProvideError {
    SetupError::HalfSet { present, missing }.into()
}
