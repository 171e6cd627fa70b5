//! The profiles of ossutil 2: `[default]`, `[profile NAME]`, and settings inherited by
//! `source-profile`.

use std::path::PathBuf;
use std::time::Duration;

use super::assume_role::FileRoleConfig;
use super::external_file::{ExternalFileConfig, UnsupportedProfile};
use super::ini::{IniDocument, IniSection};
use super::ossutil_options::{ID, NAME, SECRET, TOKEN, key, region_of};
use super::process::DEFAULT_CACHE;
use super::provider_config::ProviderConfig;
use super::static_keys::StaticKeyConfig;
use super::sts::{AssumedRole, StsEndpointConfig};
use super::uri::UriConfig;
use super::{EcsConfig, OidcConfig, ProcessConfig, SourceEnv};
use crate::transport::Url;

/// A profile, followed by the profiles from which it inherits settings.
pub(super) struct ProfileSettings<'a> {
    name: String,
    sections: Vec<&'a IniSection>,
}

const ROLE_ARN: [&str; 2] = ["role-arn", "ram-role-arn"];
const PROCESS: [&str; 1] = ["credential-process"];
const URI: [&str; 2] = ["credential-uri", "credentials-uri"];
const OIDC_PROVIDER: [&str; 1] = ["oidc-provider-arn"];
const OIDC_TOKEN: [&str; 2] = ["oidc-token-file-path", "oidc-token-file"];
const ROLE_NAME: [&str; 1] = ["ecs-role-name"];

impl<'a> ProfileSettings<'a> {
    /// Returns the profile of this name; `None` if the file does not have it.
    pub(super) fn find(document: &'a IniDocument, name: &str) -> Result<Option<Self>, UnsupportedProfile> {
        let Some(first) = section_of(document, name) else { return Ok(None) };
        let mut settings = Self { name: name.to_owned(), sections: vec![first] };
        let mut names = vec![name.to_ascii_lowercase()];
        let mut last = first;
        while let Some(source) = last.get(&["source-profile"]) {
            let wrong =
                |why| Err(settings.wrong(format!("inherits settings from the profile {source:?}, {why}")));
            if names.contains(&source.to_ascii_lowercase()) {
                return wrong("which inherits from this one");
            }
            let Some(section) = section_of(document, source) else { return wrong("which does not exist") };
            names.push(source.to_ascii_lowercase());
            settings.sections.push(section);
            last = section;
        }
        Ok(Some(settings))
    }

    /// Returns a setting of the profile, or of the nearest profile from which it inherits settings.
    pub(super) fn get(&self, keys: &[&str]) -> Option<&'a str> {
        self.sections.iter().find_map(|section| section.get(keys))
    }

    /// Returns whether any setting describes credentials.
    pub(super) fn has_credentials(&self) -> bool {
        let groups: [&[&str]; 9] =
            [&["mode"], &ID, &SECRET, &TOKEN, &ROLE_ARN, &PROCESS, &URI, &OIDC_PROVIDER, &ROLE_NAME];
        groups.iter().any(|keys| self.get(keys).is_some())
    }

    /// Returns whether the profile describes the same key as this section of ossutil 1.
    pub(super) fn is_same_key(&self, legacy: &IniSection) -> bool {
        let groups: [&[&str]; 3] = [&ID, &SECRET, &TOKEN];
        let implied = if legacy.get(&TOKEN).is_some() { "StsToken" } else { "AK" };
        let [own, other] = [self.get(&["mode"]), legacy.get(&["mode"])].map(|mode| mode.unwrap_or(implied));
        own.eq_ignore_ascii_case(other) && groups.iter().all(|keys| self.get(keys) == legacy.get(keys))
    }

    /// Returns the provider that the profile describes.
    pub(super) fn provider(
        &self,
        tool: &ExternalFileConfig,
        env: &dyn SourceEnv,
    ) -> Result<Box<dyn ProviderConfig>, UnsupportedProfile> {
        if !self.has_credentials() {
            return Err(UnsupportedProfile::Absent(format!(
                "the profile {:?} has no credentials",
                self.name
            )));
        }
        let token = self.key_section().get(&TOKEN);
        let mode = self.get(&["mode"]);
        let known = MODES.iter().find(|known| mode.is_some_and(|mode| mode.eq_ignore_ascii_case(known)));
        match (known.copied(), mode) {
            (Some("AK"), _) => Ok(Box::new(self.key(None)?)),
            (Some("StsToken"), _) => {
                let token = token.ok_or_else(|| self.missing("sts-token"))?;
                Ok(Box::new(self.key(Some(token))?))
            }
            (Some("RamRoleArn"), _) => {
                let role = self.role(env)?;
                let signer = Box::new(self.key(token)?);
                Ok(Box::new(FileRoleConfig {
                    signer,
                    signer_name: NAME,
                    role,
                    sts_endpoint: self.sts_endpoint(tool)?,
                }))
            }
            (Some("EcsRamRole" | "Ali-EcsRamRole"), _) => {
                let role_name = self.get(&ROLE_NAME).map(str::to_owned);
                Ok(Box::new(EcsConfig { role_name, ..EcsConfig::default() }))
            }
            (Some("OIDCRoleArn"), _) => Ok(Box::new(self.pod(tool, env)?)),
            (Some("Uri"), _) => {
                let url = Url::parse(self.need(&URI)?);
                let url = url.map_err(|error| self.wrong(format!("has a credential-uri that {error}")))?;
                Ok(Box::new(UriConfig { url: Some(url), ..UriConfig::default() }))
            }
            (Some("Process"), _) => Ok(Box::new(self.process(tool)?)),
            (Some(_), _) => {
                Err(self.wrong("has the mode Anonymous; use credentials of type \"anonymous\"".to_owned()))
            }
            (None, Some(_)) => {
                let modes = MODES.join(", ");
                Err(self.wrong(format!("has an unknown mode; expected one of {modes}")))
            }
            (None, None) if self.get(&ID).is_some() || self.get(&SECRET).is_some() => {
                Ok(Box::new(self.key(token)?))
            }
            (None, None) => Err(self.missing("mode and no access-key-id")),
        }
    }

    /// Returns the first profile that has a part of a key. Parts of two keys are never mixed.
    fn key_section(&self) -> &'a IniSection {
        let has_part = |section: &&&IniSection| {
            [&ID[..], &SECRET, &TOKEN].iter().any(|keys| section.get(keys).is_some())
        };
        self.sections.iter().find(has_part).copied().unwrap_or(self.sections[0])
    }

    fn key(&self, token: Option<&str>) -> Result<StaticKeyConfig, UnsupportedProfile> {
        key(self.key_section(), token).map_err(|name| self.missing(name))
    }

    fn role(&self, env: &dyn SourceEnv) -> Result<AssumedRole, UnsupportedProfile> {
        let session = self.get(&["role-session-name"]).map(str::to_owned);
        Ok(AssumedRole {
            arn: self.need(&ROLE_ARN)?.to_owned(),
            session_name: session.or_else(|| env.variable("ALIBABA_CLOUD_ROLE_SESSION_NAME")),
            duration: DURATION,
            policy: None,
            external_id: None,
        })
    }

    fn pod(&self, tool: &ExternalFileConfig, env: &dyn SourceEnv) -> Result<OidcConfig, UnsupportedProfile> {
        Ok(OidcConfig {
            role: self.role(env)?.into(),
            provider_arn: Some(self.need(&OIDC_PROVIDER)?.to_owned()),
            token_file: Some(PathBuf::from(self.need(&OIDC_TOKEN)?)),
            sts_endpoint: self.sts_endpoint(tool)?,
        })
    }

    fn process(&self, tool: &ExternalFileConfig) -> Result<ProcessConfig, UnsupportedProfile> {
        if !tool.allow_process {
            return Err(self.wrong(
                "runs a command (mode Process), which must be allowed: configure this file in credentials of type \"ossutil\" with allow_process = true, or the command in credentials of type \"process\""
                    .to_owned(),
            ));
        }
        let command = shlex::split(self.need(&PROCESS)?).filter(|words| !words.is_empty());
        let command = command.ok_or_else(|| {
            self.wrong("has a credential-process that cannot be split into words".to_owned())
        })?;
        Ok(ProcessConfig { command, environment: Vec::new(), cache: DEFAULT_CACHE })
    }

    fn sts_endpoint(&self, tool: &ExternalFileConfig) -> Result<StsEndpointConfig, UnsupportedProfile> {
        let region = self.sections.iter().find_map(|section| region_of(section));
        Ok(tool.sts_endpoint(None, region, false)?)
    }

    fn need(&self, keys: &[&'static str]) -> Result<&'a str, UnsupportedProfile> {
        self.get(keys).ok_or_else(|| self.missing(keys[0]))
    }

    fn missing(&self, what: &str) -> UnsupportedProfile {
        self.wrong(format!("has no {what}"))
    }

    fn wrong(&self, why: String) -> UnsupportedProfile {
        UnsupportedProfile::Wrong(format!("the profile {:?} {why}", self.name))
    }
}

/// Returns the section of a profile. `[default]` is short for `[profile default]`.
fn section_of<'a>(document: &'a IniDocument, name: &str) -> Option<&'a IniSection> {
    let short = name.eq_ignore_ascii_case("default").then(|| document.section("default")).flatten();
    short.or_else(|| document.section(&format!("profile {name}")))
}

const MODES: [&str; 9] = [
    "AK",
    "StsToken",
    "RamRoleArn",
    "EcsRamRole",
    "Ali-EcsRamRole",
    "OIDCRoleArn",
    "Uri",
    "Process",
    "Anonymous",
];
/// The lifetime requested from STS.
const DURATION: Duration = Duration::from_secs(3_600);
