//! `profile`: the configuration of the vendor's command line, `~/.aliyun/config.json`. It is read, never written.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::recipe::{Recipe, place};
use super::sts::Role;
use super::tool::{Format, Places, Tool, Unfit};
use super::{Edge, Instance, Pod, Program};
use crate::secret::Secret;
use crate::transport::Url;

/// The file of the vendor's command line.
pub(super) struct Cli;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    current: String,
    #[serde(default)]
    profiles: Vec<Profile>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Profile {
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
    /// What the Python library calls it.
    role_session_name: String,
    expired_seconds: u64,
    external_id: String,
    policy: String,
    source_profile: String,
    process_command: String,
    credentials_uri: String,
    oidc_provider_arn: String,
    oidc_token_file: String,
}

impl Format for Cli {
    fn name(&self) -> &'static str {
        "cli_profile"
    }

    fn places(&self, edge: &dyn Edge) -> Places {
        for off in [
            "ALIBABA_CLOUD_CLI_PROFILE_DISABLED",
            "ALIBABA_CLOUD_IGNORE_PROFILE",
            "ALIBABACLOUD_IGNORE_PROFILE",
        ] {
            if edge.is_true(off) {
                return Places::Off(off);
            }
        }
        match edge.variable("ALIBABA_CLOUD_CONFIG_FILE") {
            Some(path) => Places::Named(PathBuf::from(path)),
            None => Places::Home(&[".aliyun/config.json"]),
        }
    }

    fn read(&self, text: &str, tool: &Tool, edge: &dyn Edge) -> Result<Recipe, Unfit> {
        let file: File = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Unfit::Wrong(format!("is no configuration of the command line (line {line}, column {column}); correct it, or give another path"))
        })?;
        let File { current, profiles } = file;
        let wanted = tool.profile.clone().or_else(|| edge.variable("ALIBABA_CLOUD_PROFILE"));
        let by_name = wanted.is_some();
        let name = wanted.or_else(|| Some(current).filter(|name| !name.is_empty()));
        let name = name.ok_or_else(|| Unfit::Absent("no profile is current".to_owned()))?;
        let mut reading = Reading { profiles, tool, edge };
        match reading.take(&name) {
            Some(profile) => reading.recipe(profile),
            None if by_name => Err(Unfit::Wrong(format!("there is no profile {name:?}"))),
            None => Err(Unfit::Absent(format!("there is no profile {name:?}, which is current"))),
        }
    }
}

/// The profiles that have not been needed yet: one that is needed twice needs itself.
struct Reading<'a> {
    profiles: Vec<Profile>,
    tool: &'a Tool,
    edge: &'a dyn Edge,
}

impl Reading<'_> {
    fn take(&mut self, name: &str) -> Option<Profile> {
        let at = self.profiles.iter().position(|profile| profile.name == name)?;
        Some(self.profiles.swap_remove(at))
    }

    fn recipe(&mut self, profile: Profile) -> Result<Recipe, Unfit> {
        let name = profile.name.clone();
        let wrong = |why: String| Unfit::Wrong(format!("the profile {name:?} {why}"));
        let missing = |key: &str| wrong(format!("has no {key}"));
        let mode = if profile.mode.is_empty() { guessed(&profile) } else { profile.mode.as_str() };
        let mode = MODES.iter().find(|known| known.eq_ignore_ascii_case(mode)).copied();
        match mode.unwrap_or(&profile.mode) {
            "AK" => key(profile, false).map_err(missing),
            "StsToken" => key(profile, true).map_err(missing),
            "RamRoleArn" => {
                let role = self.role(&profile).map_err(missing)?;
                let place = self.place(&profile).map_err(wrong)?;
                Ok(Recipe::Role { of: Box::new(key(profile, false).map_err(missing)?), role, place })
            }
            "RamRoleArnWithRoleName" => {
                let role = self.role(&profile).map_err(missing)?;
                let place = self.place(&profile).map_err(wrong)?;
                Ok(Recipe::Role { of: Box::new(self.instance(&profile)), role, place })
            }
            "ChainableRamRoleArn" => {
                let role = self.role(&profile).map_err(missing)?;
                let place = self.place(&profile).map_err(wrong)?;
                if profile.source_profile.is_empty() {
                    return Err(missing("source_profile"));
                }
                let of = self.take(&profile.source_profile).ok_or_else(|| {
                    wrong(format!(
                        "needs the profile {:?}, which is not there or needs this one itself",
                        profile.source_profile
                    ))
                })?;
                Ok(Recipe::Role { of: Box::new(self.recipe(of)?), role, place })
            }
            "EcsRamRole" => Ok(self.instance(&profile)),
            "OIDC" => {
                let role = self.role(&profile).map_err(missing)?;
                let place = self.place(&profile).map_err(wrong)?;
                let pod = Pod {
                    role_arn: Some(role.arn),
                    provider_arn: Some(text(&profile.oidc_provider_arn).ok_or_else(|| missing("oidc_provider_arn"))?),
                    token_file: Some(PathBuf::from(
                        text(&profile.oidc_token_file).ok_or_else(|| missing("oidc_token_file"))?,
                    )),
                    session_name: role.session_name,
                    duration: Some(role.duration),
                    policy: role.policy,
                };
                Ok(Recipe::Oidc(pod, place))
            }
            "CredentialsURI" => {
                let url = text(&profile.credentials_uri).ok_or_else(|| missing("credentials_uri"))?;
                Ok(Recipe::Uri(Url::parse(&url).map_err(|error| wrong(format!("has a credentials_uri that {error}")))?))
            }
            "External" if !self.tool.allow_process => Err(wrong(
                "runs a command (mode External), which needs to be allowed: name this file in credentials of type \"profile\" with allow_process = true, or the command in credentials of type \"process\""
                    .to_owned(),
            )),
            "External" => {
                let command = shlex::split(&profile.process_command).filter(|words| !words.is_empty());
                let command = command.ok_or_else(|| wrong("has no process_command that can be split into words".to_owned()))?;
                Ok(Recipe::Process(Program { command, environment: Vec::new(), cache: CACHE }))
            }
            "" => Err(wrong("has no mode, and nothing that tells one".to_owned())),
            mode => Err(wrong(match UNSUPPORTED.iter().find(|(known, _)| known.eq_ignore_ascii_case(mode)) {
                Some((mode, instead)) => format!("has the mode {mode}, which this build does not support; {instead}"),
                None => "has a mode that nobody knows; write one of AK, StsToken, RamRoleArn, EcsRamRole, OIDC, CredentialsURI".to_owned(),
            })),
        }
    }

    fn instance(&self, profile: &Profile) -> Recipe {
        Recipe::Ecs(Instance { role_name: text(&profile.ram_role_name), ..Instance::default() })
    }

    fn role(&self, profile: &Profile) -> Result<Role, &'static str> {
        let session = text(&profile.ram_session_name).or_else(|| text(&profile.role_session_name));
        Ok(Role {
            arn: text(&profile.ram_role_arn).ok_or("ram_role_arn")?,
            session_name: session.or_else(|| self.edge.variable("ALIBABA_CLOUD_ROLE_SESSION_NAME")),
            duration: Duration::from_secs(if profile.expired_seconds == 0 {
                3600
            } else {
                profile.expired_seconds
            }),
            policy: text(&profile.policy),
            external_id: text(&profile.external_id),
        })
    }

    fn place(&self, profile: &Profile) -> Result<super::Place, String> {
        let Profile { sts_endpoint, sts_region, enable_vpc, .. } = profile;
        let (endpoint, region) = (text(sts_endpoint), text(sts_region));
        place(endpoint.as_deref(), region.as_deref(), *enable_vpc, &self.tool.place)
            .map_err(|mistake| mistake.0)
    }
}

fn key(profile: Profile, with_token: bool) -> Result<Recipe, &'static str> {
    let given = |value: Option<Secret>| value.filter(|value| !value.expose().is_empty());
    let token = given(profile.sts_token);
    Ok(Recipe::Key {
        id: given(profile.access_key_id).ok_or("access_key_id")?,
        secret: given(profile.access_key_secret).ok_or("access_key_secret")?,
        token: if with_token { Some(token.ok_or("sts_token")?) } else { None },
    })
}

/// The mode of a profile that names none, as the command line guesses it.
fn guessed(profile: &Profile) -> &'static str {
    let has = |value: &Option<Secret>| value.as_ref().is_some_and(|value| !value.expose().is_empty());
    let pair = has(&profile.access_key_id) && has(&profile.access_key_secret);
    let has = |value: &Option<Secret>| value.as_ref().is_some_and(|value| !value.expose().is_empty());
    match () {
        () if pair && !profile.ram_role_arn.is_empty() => "RamRoleArn",
        () if pair && has(&profile.sts_token) => "StsToken",
        () if pair => "AK",
        () if !profile.ram_role_name.is_empty() => "EcsRamRole",
        () if !profile.process_command.is_empty() => "External",
        () if !profile.oidc_token_file.is_empty() => "OIDC",
        () if !profile.credentials_uri.is_empty() => "CredentialsURI",
        () => "",
    }
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned()).filter(|value| !value.is_empty())
}

const MODES: [&str; 9] = [
    "AK",
    "StsToken",
    "RamRoleArn",
    "EcsRamRole",
    "RamRoleArnWithRoleName",
    "ChainableRamRoleArn",
    "CredentialsURI",
    "OIDC",
    "External",
];
/// Modes that exist, and what does the same.
const UNSUPPORTED: [(&str, &str); 5] = [
    (
        "CloudSSO",
        "it needs somebody to log in; use an instance role, RRSA, or a command that prints what it gives (type \"process\")",
    ),
    (
        "OAuth",
        "renewing it would end the login of the command line; use an instance role, RRSA, or a command (type \"process\")",
    ),
    ("RsaKeyPair", "it is withdrawn by the vendor; use an access key or a role"),
    ("BearerToken", "OSS takes no bearer tokens; use an access key or a role"),
    ("Anonymous", "use credentials of type \"anonymous\""),
];
/// How long the answer of a command without an end is used.
const CACHE: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
