//! `ini`: the shared file of the Alibaba Cloud SDKs, and the file of the OSS SDKs. The paths are
//! `~/.alibabacloud/credentials` (or `credentials.ini`) and `~/.oss/credentials`.

use std::path::PathBuf;
use std::time::Duration;

use super::assume_role::FileRoleConfig;
use super::external_file::{ExternalFileConfig, ExternalFormat, FileLocations, UnsupportedProfile};
use super::ini::{IniDocument, IniSection};
use super::provider_config::ProviderConfig;
use super::static_keys::StaticKeyConfig;
use super::sts::{AssumedRole, StsEndpointConfig};
use super::uri::UriConfig;
use super::{EcsConfig, OidcConfig, SourceEnv};
use crate::secret::Secret;
use crate::transport::Url;

/// The shared file of the Alibaba Cloud SDKs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SharedFile;

/// The file of the OSS SDKs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct OssFile;

impl ExternalFormat for SharedFile {
    fn name(&self) -> &'static str {
        NAME
    }

    fn locations(&self, env: &dyn SourceEnv) -> FileLocations {
        match env.variable("ALIBABA_CLOUD_CREDENTIALS_FILE") {
            Some(path) => FileLocations::Named(PathBuf::from(path)),
            None => FileLocations::Home(&[".alibabacloud/credentials", ".alibabacloud/credentials.ini"]),
        }
    }

    fn read(
        &self,
        text: &str,
        tool: &ExternalFileConfig,
        env: &dyn SourceEnv,
    ) -> Result<Box<dyn ProviderConfig>, UnsupportedProfile> {
        let document = parse(text)?;
        let named = section(&document, tool, "ALIBABA_CLOUD_PROFILE", env)?;
        let NamedSection { name, section } = &named;
        if section.get(&["enable"]).is_some_and(|enable| enable.eq_ignore_ascii_case("false")) {
            return Err(UnsupportedProfile::Absent(format!(
                "the section [{name}] is disabled (enable = false)"
            )));
        }
        SharedSection { named, tool, env }.provider()
    }
}

/// A section of the shared file, and what its values are completed with.
struct SharedSection<'a> {
    named: NamedSection<'a>,
    tool: &'a ExternalFileConfig,
    env: &'a dyn SourceEnv,
}

impl SharedSection<'_> {
    /// Returns the configuration of the provider that the `type` of the section selects.
    fn provider(&self) -> Result<Box<dyn ProviderConfig>, UnsupportedProfile> {
        match self.optional(&["type"]) {
            Some("access_key") => Ok(Box::new(self.key(None)?)),
            Some("sts") => Ok(Box::new(self.key(Some(self.required(TOKEN_KEYS)?))?)),
            Some("ram_role_arn") => Ok(Box::new(FileRoleConfig {
                signer: Box::new(self.key(self.optional(TOKEN_KEYS))?),
                signer_name: NAME,
                role: self.role()?,
                sts_endpoint: self.sts_endpoint()?,
            })),
            Some("ecs_ram_role") => {
                let role_name = self.optional(&["role_name"]).map(str::to_owned);
                Ok(Box::new(EcsConfig { role_name, ..EcsConfig::default() }))
            }
            Some("oidc_role_arn") => Ok(Box::new(OidcConfig {
                role: self.role()?.into(),
                provider_arn: Some(self.required(&["oidc_provider_arn"])?.to_owned()),
                token_file: Some(PathBuf::from(self.required(&["oidc_token_file_path", "oidc_token_file"])?)),
                sts_endpoint: self.sts_endpoint()?,
            })),
            Some("credentials_uri") => {
                let url = Url::parse(self.required(&["credentials_uri", "url"])?);
                let url = url.map_err(|error| self.wrong(&format!("has a credentials_uri that {error}")))?;
                Ok(Box::new(UriConfig { url: Some(url), ..UriConfig::default() }))
            }
            unsupported => Err(self.wrong(unsupported_type(unsupported))),
        }
    }

    fn key(&self, token: Option<&str>) -> Result<StaticKeyConfig, UnsupportedProfile> {
        Ok(StaticKeyConfig {
            id: Secret::from(self.required(&["access_key_id"])?),
            secret: Secret::from(self.required(&["access_key_secret"])?),
            token: token.map(Secret::from),
        })
    }

    fn role(&self) -> Result<AssumedRole, UnsupportedProfile> {
        let session = self.optional(&["role_session_name", "session_name"]).map(str::to_owned);
        Ok(AssumedRole {
            arn: self.required(&["role_arn"])?.to_owned(),
            session_name: session.or_else(|| self.env.variable("ALIBABA_CLOUD_ROLE_SESSION_NAME")),
            duration: self.duration()?,
            policy: self.optional(&["policy"]).map(str::to_owned),
            external_id: self.optional(&["external_id"]).map(str::to_owned),
        })
    }

    fn duration(&self) -> Result<Duration, UnsupportedProfile> {
        let keys = ["role_session_expiration", "duration_seconds"];
        let text = self.optional(&keys).unwrap_or("3600");
        let seconds = text
            .parse()
            .map_err(|_| self.wrong(&format!("has an invalid {}; expected a number of seconds", keys[0])))?;
        Ok(Duration::from_secs(seconds))
    }

    fn sts_endpoint(&self) -> Result<StsEndpointConfig, UnsupportedProfile> {
        let vpc = self.optional(&["enable_vpc"]).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        self.tool
            .sts_endpoint(self.optional(&["sts_endpoint"]), self.optional(&["sts_region"]), vpc)
            .map_err(|mistake| self.wrong(&format!("is invalid: {}", mistake.0)))
    }

    fn optional(&self, keys: &[&str]) -> Option<&str> {
        self.named.section.get(keys)
    }

    fn required(&self, keys: &[&str]) -> Result<&str, UnsupportedProfile> {
        self.named.required(keys)
    }

    fn wrong(&self, why: &str) -> UnsupportedProfile {
        self.named.wrong(why)
    }
}

/// Returns why a `type` of the shared file cannot be used.
fn unsupported_type(name: Option<&str>) -> &'static str {
    match name {
        Some("external") => {
            "runs a command (type external), which is not allowed in this file; configure the command in credentials of type \"process\""
        }
        Some("rsa_key_pair") => {
            "has the type rsa_key_pair, which the vendor has withdrawn; use an access key or a role"
        }
        Some("bearer") => {
            "has the type bearer, but OSS does not support bearer tokens; use an access key or a role"
        }
        Some(_) => {
            "has an unknown type; expected one of access_key, sts, ram_role_arn, ecs_ram_role, oidc_role_arn, credentials_uri"
        }
        None => "has no type; set it, for example type = access_key",
    }
}

impl ExternalFormat for OssFile {
    fn name(&self) -> &'static str {
        "oss_profile"
    }

    fn locations(&self, env: &dyn SourceEnv) -> FileLocations {
        match env.variable("OSS_CREDENTIAL_PROFILES_FILE") {
            Some(path) => FileLocations::Named(PathBuf::from(path)),
            None => FileLocations::Home(&[".oss/credentials"]),
        }
    }

    fn read(
        &self,
        text: &str,
        tool: &ExternalFileConfig,
        env: &dyn SourceEnv,
    ) -> Result<Box<dyn ProviderConfig>, UnsupportedProfile> {
        let document = parse(text)?;
        let named = section(&document, tool, "OSS_PROFILE", env)?;
        Ok(Box::new(StaticKeyConfig {
            id: Secret::from(named.required(&["access_key_id", "oss_access_key_id"])?),
            secret: Secret::from(named.required(&["access_key_secret", "oss_secret_access_key"])?),
            token: named
                .section
                .get(&["session_token", "oss_session_token", "security_token", "sts_token", "token"])
                .map(Secret::from),
        }))
    }
}

/// The section to read.
struct NamedSection<'a> {
    name: String,
    section: &'a IniSection,
}

impl NamedSection<'_> {
    /// Returns the value of the first of the keys that is set.
    fn required(&self, keys: &[&str]) -> Result<&str, UnsupportedProfile> {
        self.section.get(keys).ok_or_else(|| self.wrong(&format!("has no {}", keys[0])))
    }

    fn wrong(&self, why: &str) -> UnsupportedProfile {
        UnsupportedProfile::Wrong(format!("the section [{}] {why}", self.name))
    }
}

fn parse(text: &str) -> Result<IniDocument, UnsupportedProfile> {
    IniDocument::parse(text).map_err(|line| {
        UnsupportedProfile::Wrong(format!(
            "line {line} is invalid; expected a [section], key = value or a comment"
        ))
    })
}

/// Returns the section to read. The configuration or the variable names it; the default is
/// `default`.
fn section<'a>(
    document: &'a IniDocument,
    tool: &ExternalFileConfig,
    variable: &str,
    env: &dyn SourceEnv,
) -> Result<NamedSection<'a>, UnsupportedProfile> {
    let wanted = tool.profile.clone().or_else(|| env.variable(variable));
    let name = wanted.unwrap_or_else(|| "default".to_owned());
    match document.section(&name) {
        Some(section) => Ok(NamedSection { name, section }),
        None if document.is_empty() => Err(UnsupportedProfile::Absent("the file is empty".to_owned())),
        // Skipping the existing sections would change the signing identity.
        None => Err(UnsupportedProfile::Wrong(format!(
            "the section [{name}] does not exist; the file has {}; set profile or {variable} to one of them",
            document.listing()
        ))),
    }
}

/// The name that the Alibaba Cloud SDKs use for the provider that reads their shared file.
const NAME: &str = "profile";

/// The keys of a security token in the shared file.
const TOKEN_KEYS: &[&str] = &["sts_token", "security_token"];

#[cfg(test)]
#[path = "ini_file_tests.rs"]
mod tests;
