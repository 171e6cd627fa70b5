//! `ini`: the shared file of the Alibaba Cloud SDKs, and the file of the OSS SDKs. The paths are
//! `~/.alibabacloud/credentials` (or `credentials.ini`) and `~/.oss/credentials`.

use std::path::PathBuf;
use std::time::Duration;

use super::assume_role::FileRoleConfig;
use super::external_file::{ExternalFileConfig, ExternalFormat, FileLocations, UnsupportedProfile};
use super::ini::{IniDocument, IniSection};
use super::provider_config::ProviderConfig;
use super::static_keys::StaticKeyConfig;
use super::sts::AssumedRole;
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
        let NamedSection { name, section } = section(&document, tool, "ALIBABA_CLOUD_PROFILE", env)?;
        if section.get(&["enable"]).is_some_and(|enable| enable.eq_ignore_ascii_case("false")) {
            return Err(UnsupportedProfile::Absent(format!(
                "the section [{name}] is disabled (enable = false)"
            )));
        }
        let wrong = |why: String| UnsupportedProfile::Wrong(format!("the section [{name}] {why}"));
        let need = |keys: &[&str]| section.get(keys).ok_or_else(|| wrong(format!("has no {}", keys[0])));
        let sts_endpoint = || {
            let vpc = section.get(&["enable_vpc"]).is_some_and(|value| value.eq_ignore_ascii_case("true"));
            tool.sts_endpoint(section.get(&["sts_endpoint"]), section.get(&["sts_region"]), vpc)
                .map_err(|mistake| wrong(format!("is invalid: {}", mistake.0)))
        };
        let role = || -> Result<AssumedRole, UnsupportedProfile> {
            let session = section.get(&["role_session_name", "session_name"]).map(str::to_owned);
            Ok(AssumedRole {
                arn: need(&["role_arn"])?.to_owned(),
                session_name: session.or_else(|| env.variable("ALIBABA_CLOUD_ROLE_SESSION_NAME")),
                duration: seconds(section).map_err(wrong)?,
                policy: section.get(&["policy"]).map(str::to_owned),
                external_id: section.get(&["external_id"]).map(str::to_owned),
            })
        };
        let key = |token: Option<&str>| -> Result<StaticKeyConfig, UnsupportedProfile> {
            Ok(StaticKeyConfig {
                id: Secret::from(need(&["access_key_id"])?),
                secret: Secret::from(need(&["access_key_secret"])?),
                token: token.map(Secret::from),
            })
        };
        match section.get(&["type"]) {
            Some("access_key") => Ok(Box::new(key(None)?)),
            Some("sts") => Ok(Box::new(key(Some(need(&["sts_token", "security_token"])?))?)),
            Some("ram_role_arn") => {
                let signer = Box::new(key(section.get(&["sts_token", "security_token"]))?);
                Ok(Box::new(FileRoleConfig {
                    signer,
                    signer_name: NAME,
                    role: role()?,
                    sts_endpoint: sts_endpoint()?,
                }))
            }
            Some("ecs_ram_role") => {
                let role_name = section.get(&["role_name"]).map(str::to_owned);
                Ok(Box::new(EcsConfig { role_name, ..EcsConfig::default() }))
            }
            Some("oidc_role_arn") => {
                let pod = OidcConfig {
                    role: role()?.into(),
                    provider_arn: Some(need(&["oidc_provider_arn"])?.to_owned()),
                    token_file: Some(PathBuf::from(need(&["oidc_token_file_path", "oidc_token_file"])?)),
                    sts_endpoint: sts_endpoint()?,
                };
                Ok(Box::new(pod))
            }
            Some("credentials_uri") => {
                let url = Url::parse(need(&["credentials_uri", "url"])?);
                let url = url.map_err(|error| wrong(format!("has a credentials_uri that {error}")))?;
                Ok(Box::new(UriConfig { url: Some(url), authorization_file: None }))
            }
            Some("external") => Err(wrong(
                "runs a command (type external), which is not allowed in this file; configure the command in credentials of type \"process\"".to_owned(),
            )),
            Some("rsa_key_pair") => Err(wrong(
                "has the type rsa_key_pair, which the vendor has withdrawn; use an access key or a role".to_owned(),
            )),
            Some("bearer") => {
                Err(wrong("has the type bearer, but OSS does not support bearer tokens; use an access key or a role".to_owned()))
            }
            Some(_) => Err(wrong(
                "has an unknown type; expected one of access_key, sts, ram_role_arn, ecs_ram_role, oidc_role_arn, credentials_uri".to_owned(),
            )),
            None => Err(wrong("has no type; set it, for example type = access_key".to_owned())),
        }
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
        let NamedSection { name, section } = section(&document, tool, "OSS_PROFILE", env)?;
        let need = |keys: &[&str]| {
            section
                .get(keys)
                .ok_or_else(|| UnsupportedProfile::Wrong(format!("the section [{name}] has no {}", keys[0])))
        };
        Ok(Box::new(StaticKeyConfig {
            id: Secret::from(need(&["access_key_id", "oss_access_key_id"])?),
            secret: Secret::from(need(&["access_key_secret", "oss_secret_access_key"])?),
            token: section
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

fn seconds(section: &IniSection) -> Result<Duration, String> {
    let keys = ["role_session_expiration", "duration_seconds"];
    let text = section.get(&keys).unwrap_or("3600");
    let seconds =
        text.parse().map_err(|_| format!("has an invalid {}; expected a number of seconds", keys[0]))?;
    Ok(Duration::from_secs(seconds))
}

/// The name that the Alibaba Cloud SDKs use for the provider that reads their shared file.
const NAME: &str = "profile";

#[cfg(test)]
#[path = "ini_file_tests.rs"]
mod tests;
