//! `profile`: the configuration of the Alibaba Cloud CLI, `~/.aliyun/config.json`. The file is
//! read, never written.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::assume_role::FileRoleConfig;
use super::external_file::{ExternalFileConfig, ExternalFormat, FileLocations, UnsupportedProfile};
use super::login::{LoginRenewal, LoginSession};
use super::process::DEFAULT_CACHE;
use super::provider_config::ProviderConfig;
use super::static_keys::StaticKeyConfig;
use super::sts::AssumedRole;
use super::uri::UriConfig;
use super::{EcsConfig, OidcConfig, ProcessConfig, SourceEnv, StsEndpointConfig};
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::transport::Url;

/// The configuration file of the Alibaba Cloud CLI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CliFile;

#[derive(Deserialize)]
struct ProfileFile {
    /// The name of the current profile; `default` if it is missing.
    current: Option<String>,
    /// The profiles. A file without this field belongs to another tool.
    profiles: Option<Vec<CliProfile>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CliProfile {
    name: String,
    mode: String,
    access_key_id: Option<Secret>,
    access_key_secret: Option<Secret>,
    sts_token: Option<Secret>,
    sts_region: String,
    sts_endpoint: String,
    enable_vpc: bool,
    ram_role_name: String,
    ram_role_arn: String,
    ram_session_name: String,
    /// The name of `ram_session_name` in the Python SDK.
    role_session_name: String,
    expired_seconds: u64,
    external_id: String,
    policy: String,
    source_profile: String,
    process_command: String,
    credentials_uri: String,
    oidc_provider_arn: String,
    oidc_token_file: String,
    cloud_sso_sign_in_url: String,
    /// The expiry of the cached keys of a login, in seconds since 1970.
    #[serde(deserialize_with = "seconds")]
    sts_expiration: i64,
    #[serde(deserialize_with = "seconds")]
    cloud_sso_access_token_expire: i64,
    #[serde(deserialize_with = "seconds")]
    oauth_access_token_expire: i64,
    #[serde(deserialize_with = "seconds")]
    oauth_refresh_token_expire: i64,
}

/// Reads a time; 0 for any value that is not an integer.
fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    Ok(Value::deserialize(from)?.as_i64().unwrap_or_default())
}

impl ExternalFormat for CliFile {
    fn name(&self) -> &'static str {
        NAME
    }

    fn locations(&self, env: &dyn SourceEnv) -> FileLocations {
        for off in [
            "ALIBABA_CLOUD_CLI_PROFILE_DISABLED",
            "ALIBABA_CLOUD_IGNORE_PROFILE",
            "ALIBABACLOUD_IGNORE_PROFILE",
        ] {
            if env.is_true(off) {
                return FileLocations::Off(off);
            }
        }
        match env.variable("ALIBABA_CLOUD_CONFIG_FILE") {
            Some(path) => FileLocations::Named(PathBuf::from(path)),
            None => FileLocations::Home(&[".aliyun/config.json"]),
        }
    }

    fn read(
        &self,
        text: &str,
        tool: &ExternalFileConfig,
        env: &dyn SourceEnv,
    ) -> Result<Box<dyn ProviderConfig>, UnsupportedProfile> {
        let file: ProfileFile = serde_json::from_str(text).map_err(|error| {
            let line = error.line();
            let column = error.column();
            UnsupportedProfile::Wrong(format!("invalid configuration of the Alibaba Cloud CLI (line {line}, column {column}); correct it or set another path"))
        })?;
        let ProfileFile { current, profiles } = file;
        let profiles = profiles.ok_or_else(|| {
            UnsupportedProfile::Wrong(
                "invalid configuration of the Alibaba Cloud CLI: no list of profiles".to_owned(),
            )
        })?;
        let variable = || VARIABLES.iter().find_map(|name| env.variable(name));
        let wanted = tool.profile.clone().or_else(variable);
        if profiles.is_empty() && wanted.is_none() {
            return Err(UnsupportedProfile::Absent("the file has no profiles".to_owned()));
        }
        let current = current.unwrap_or_else(|| DEFAULT.to_owned());
        let is_chosen = wanted.is_some();
        let (name, which) = match wanted {
            Some(name) => (name, "profile"),
            None if current.is_empty() => {
                return Err(UnsupportedProfile::Wrong(format!("no current profile is set; {CHOOSE}")));
            }
            None => (current, "current profile"),
        };
        let mut reading = ProfileReader { profiles, tool, env };
        match reading.take(&name) {
            Some(profile) if !is_chosen && !profile.has_credentials() => {
                Err(UnsupportedProfile::Absent(format!("the {which} {name:?} has no credentials")))
            }
            Some(profile) => reading.provider(&profile),
            // Skipping the existing profiles would change the signing identity.
            None => Err(UnsupportedProfile::Wrong(format!("the {which} {name:?} does not exist; {CHOOSE}"))),
        }
    }
}

impl CliProfile {
    /// Returns whether any field describes credentials. The default mode, AK, does not by itself.
    fn has_credentials(&self) -> bool {
        let secrets = [&self.access_key_id, &self.access_key_secret, &self.sts_token];
        let texts = [
            &self.ram_role_name,
            &self.ram_role_arn,
            &self.source_profile,
            &self.process_command,
            &self.credentials_uri,
            &self.oidc_provider_arn,
            &self.oidc_token_file,
            &self.cloud_sso_sign_in_url,
        ];
        !(self.mode.is_empty() || self.mode.eq_ignore_ascii_case("AK"))
            || secrets.into_iter().flatten().any(|secret| !secret.expose().is_empty())
            || texts.iter().any(|text| !text.is_empty())
    }

    /// Returns a field that must be set.
    fn required(&self, key: &str, value: &str) -> Result<String, UnsupportedProfile> {
        text(value).ok_or_else(|| self.missing(key))
    }

    fn missing(&self, key: &str) -> UnsupportedProfile {
        self.wrong(&format!("has no {key}"))
    }

    fn wrong(&self, why: &str) -> UnsupportedProfile {
        UnsupportedProfile::Wrong(format!("the profile {:?} {why}", self.name))
    }
}

/// The profiles that are not used yet. A profile that is needed twice depends on itself.
struct ProfileReader<'a> {
    profiles: Vec<CliProfile>,
    tool: &'a ExternalFileConfig,
    env: &'a dyn SourceEnv,
}

impl ProfileReader<'_> {
    fn take(&mut self, name: &str) -> Option<CliProfile> {
        let at = self.profiles.iter().position(|profile| profile.name == name)?;
        Some(self.profiles.swap_remove(at))
    }

    /// Returns the configuration of the provider that the mode of the profile selects.
    fn provider(&mut self, profile: &CliProfile) -> Result<Box<dyn ProviderConfig>, UnsupportedProfile> {
        let mode = if profile.mode.is_empty() { guessed(profile) } else { profile.mode.as_str() };
        let known = MODES.iter().find(|known| known.eq_ignore_ascii_case(mode)).copied();
        match known.unwrap_or(mode) {
            "AK" => Ok(Box::new(key(profile, TokenUse::Ignored)?)),
            "StsToken" => Ok(Box::new(key(profile, TokenUse::Required)?)),
            "CloudSSO" | "OAuth" => Ok(Box::new(login(profile, self.env.now())?)),
            "RamRoleArn" => self.role_of(profile, |_| Ok(Box::new(key(profile, TokenUse::IfPresent)?))),
            "RamRoleArnWithRoleName" => self.role_of(profile, |_| Ok(Box::new(instance(profile)))),
            "ChainableRamRoleArn" => self.role_of(profile, |reader| {
                let source = reader.source_profile(profile)?;
                reader.provider(&source)
            }),
            "EcsRamRole" => Ok(Box::new(instance(profile))),
            "OIDC" => Ok(Box::new(OidcConfig {
                role: self.role(profile)?.into(),
                provider_arn: Some(profile.required("oidc_provider_arn", &profile.oidc_provider_arn)?),
                token_file: Some(profile.required("oidc_token_file", &profile.oidc_token_file)?.into()),
                sts_endpoint: self.sts_endpoint(profile)?,
            })),
            "CredentialsURI" => {
                let url = Url::parse(&profile.required("credentials_uri", &profile.credentials_uri)?);
                let url =
                    url.map_err(|error| profile.wrong(&format!("has a credentials_uri that {error}")))?;
                Ok(Box::new(UriConfig { url: Some(url), ..UriConfig::default() }))
            }
            "External" if !self.tool.allow_process => Err(profile.wrong(
                "runs a command (mode External), which must be allowed: configure this file in credentials of type \"profile\" with allow_process = true, or the command in credentials of type \"process\"",
            )),
            "External" => {
                let command = shlex::split(&profile.process_command).filter(|words| !words.is_empty());
                let command = command
                    .ok_or_else(|| profile.wrong("has no process_command that can be split into words"))?;
                Ok(Box::new(ProcessConfig { command, environment: Vec::new(), cache: DEFAULT_CACHE }))
            }
            mode => Err(profile.wrong(&unsupported_mode(mode))),
        }
    }

    /// Takes the profile whose credentials assume the role of another profile.
    fn source_profile(&mut self, profile: &CliProfile) -> Result<CliProfile, UnsupportedProfile> {
        let name = profile.required("source_profile", &profile.source_profile)?;
        self.take(&name).ok_or_else(|| {
            profile.wrong(&format!(
                "uses the source_profile {name:?}, which does not exist or uses this profile itself"
            ))
        })
    }

    /// Returns the configuration of the role of a profile, which the provider from `signer` assumes.
    fn role_of(
        &mut self,
        profile: &CliProfile,
        signer: impl FnOnce(&mut Self) -> Result<Box<dyn ProviderConfig>, UnsupportedProfile>,
    ) -> Result<Box<dyn ProviderConfig>, UnsupportedProfile> {
        let role = self.role(profile)?;
        let sts_endpoint = self.sts_endpoint(profile)?;
        let signer = signer(self)?;
        Ok(Box::new(FileRoleConfig { signer, signer_name: NAME, role, sts_endpoint }))
    }

    fn role(&self, profile: &CliProfile) -> Result<AssumedRole, UnsupportedProfile> {
        let session = text(&profile.ram_session_name).or_else(|| text(&profile.role_session_name));
        Ok(AssumedRole {
            arn: profile.required("ram_role_arn", &profile.ram_role_arn)?,
            session_name: session.or_else(|| self.env.variable("ALIBABA_CLOUD_ROLE_SESSION_NAME")),
            duration: Duration::from_secs(if profile.expired_seconds == 0 {
                3600
            } else {
                profile.expired_seconds
            }),
            policy: text(&profile.policy),
            external_id: text(&profile.external_id),
        })
    }

    fn sts_endpoint(&self, profile: &CliProfile) -> Result<StsEndpointConfig, UnsupportedProfile> {
        let CliProfile { sts_endpoint, sts_region, enable_vpc, .. } = profile;
        let endpoint = text(sts_endpoint);
        let region = text(sts_region);
        self.tool
            .sts_endpoint(endpoint.as_deref(), region.as_deref(), *enable_vpc)
            .map_err(|mistake| profile.wrong(&format!("is invalid: {}", mistake.0)))
    }
}

/// Returns why a mode cannot be used.
fn unsupported_mode(mode: &str) -> String {
    match UNSUPPORTED.iter().find(|(known, _)| known.eq_ignore_ascii_case(mode)) {
        Some((mode, instead)) => format!("has the unsupported mode {mode}; {instead}"),
        None if mode.is_empty() => "has no mode, and no settings that imply one".to_owned(),
        None => "has an unknown mode; expected one of AK, StsToken, RamRoleArn, EcsRamRole, OIDC, CredentialsURI, CloudSSO, OAuth".to_owned(),
    }
}

/// The treatment of a token that accompanies the key, which depends on the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenUse {
    Ignored,
    IfPresent,
    Required,
}

fn instance(profile: &CliProfile) -> EcsConfig {
    EcsConfig { role_name: text(&profile.ram_role_name), ..EcsConfig::default() }
}

fn key(profile: &CliProfile, token_use: TokenUse) -> Result<StaticKeyConfig, UnsupportedProfile> {
    let token = given(profile.sts_token.as_ref());
    let missing = |key| profile.missing(key);
    Ok(StaticKeyConfig {
        id: given(profile.access_key_id.as_ref()).ok_or_else(|| missing("access_key_id"))?,
        secret: given(profile.access_key_secret.as_ref()).ok_or_else(|| missing("access_key_secret"))?,
        token: match token_use {
            TokenUse::Ignored => None,
            TokenUse::IfPresent => token,
            TokenUse::Required => Some(token.ok_or_else(|| missing("sts_token"))?),
        },
    })
}

/// Returns the keys of a login, and the commands that renew them.
fn login(profile: &CliProfile, now: Timestamp) -> Result<LoginSession, UnsupportedProfile> {
    let is_oauth = profile.mode.eq_ignore_ascii_case("OAuth");
    let (mode, kind, login_expires) = if is_oauth {
        ("OAuth", "oauth", profile.oauth_access_token_expire.max(profile.oauth_refresh_token_expire))
    } else {
        ("CloudSSO", "cloud_sso", profile.cloud_sso_access_token_expire)
    };
    let renewal = LoginRenewal::new(&profile.name, mode, Timestamp::from_unix_s(login_expires));
    match key(profile, TokenUse::Required) {
        Ok(keys) if profile.sts_expiration > 0 => Ok(LoginSession {
            kind,
            profile: profile.name.clone(),
            keys,
            expires: Timestamp::from_unix_s(profile.sts_expiration),
            renewal,
        }),
        _ => {
            let commands = renewal.commands(now);
            Err(profile.wrong(&format!("has the mode {mode}, but no login credentials; run {commands}")))
        }
    }
}

fn given(value: Option<&Secret>) -> Option<Secret> {
    value.filter(|value| !value.expose().is_empty()).map(|value| Secret::from(value.expose()))
}

/// Returns the mode of a profile that names none, as the CLI guesses it.
fn guessed(profile: &CliProfile) -> &'static str {
    let has = |value: &Option<Secret>| value.as_ref().is_some_and(|value| !value.expose().is_empty());
    let pair = has(&profile.access_key_id) && has(&profile.access_key_secret);
    match () {
        () if pair && has(&profile.sts_token) => "StsToken",
        () if pair && !profile.ram_role_arn.is_empty() => "RamRoleArn",
        () if pair => "AK",
        () if !profile.ram_role_name.is_empty() => "EcsRamRole",
        () if !profile.process_command.is_empty() => "External",
        () if !profile.oidc_token_file.is_empty() => "OIDC",
        () if !profile.credentials_uri.is_empty() => "CredentialsURI",
        () if !profile.cloud_sso_sign_in_url.is_empty() => "CloudSSO",
        () => "",
    }
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned()).filter(|value| !value.is_empty())
}

/// The name that the Alibaba Cloud SDKs use for this provider.
const NAME: &str = "cli_profile";

/// The current profile if the file names none.
const DEFAULT: &str = "default";

/// The variables that name a profile, in the order of the CLI.
const VARIABLES: [&str; 3] = ["ALIBABACLOUD_PROFILE", "ALIBABA_CLOUD_PROFILE", "ALICLOUD_PROFILE"];

/// A hint for choosing a profile.
const CHOOSE: &str =
    "run `aliyun configure list`, and set profile or ALIBABA_CLOUD_PROFILE to a listed profile";

const MODES: [&str; 11] = [
    "AK",
    "StsToken",
    "RamRoleArn",
    "EcsRamRole",
    "RamRoleArnWithRoleName",
    "ChainableRamRoleArn",
    "CredentialsURI",
    "OIDC",
    "External",
    "CloudSSO",
    "OAuth",
];
/// Known modes that are not supported, each with an alternative.
const UNSUPPORTED: [(&str, &str); 3] = [
    ("RsaKeyPair", "the vendor has withdrawn it; use an access key or a role"),
    ("BearerToken", "OSS does not support bearer tokens; use an access key or a role"),
    ("Anonymous", "use credentials of type \"anonymous\""),
];

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
