//! `ossutil`: the file of the ossutil tool, `~/.ossutilconfig`, in the formats of versions 1 and 2.

use std::path::PathBuf;
use std::time::Duration;

use super::assume_role::FileRoleConfig;
use super::external_file::{ExternalFileConfig, ExternalFormat, FileLocations, UnsupportedProfile};
use super::ini::{IniDocument, IniSection};
use super::ossutil_options::{DEFAULT, ID, NAME, SECRET, TOKEN, key, region_of};
use super::ossutil_profile::ProfileSettings;
use super::provider_config::ProviderConfig;
use super::sts::AssumedRole;
use super::uri::UriConfig;
use super::{EcsConfig, SourceEnv};
use crate::transport::Url;

/// The configuration file of ossutil.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OssutilFile;

/// The credentials section of version 1.
const LEGACY: &str = "Credentials";
/// The section of version 1 that names a credential service.
const SERVICE: &str = "AkService";
/// The variable with the path of the file.
const FILE_VARIABLE: &str = "OSSUTIL_CONFIG_FILE";
/// The variable with the name of the profile.
const PROFILE_VARIABLE: &str = "OSSUTIL_PROFILE";

/// A section of version 1 with its name.
struct LegacySection<'a> {
    name: &'a str,
    section: &'a IniSection,
}

/// The part of the file that describes credentials.
enum SelectedSection<'a> {
    /// The credentials section of version 1, or another of that format.
    Legacy(LegacySection<'a>),
    /// The service section of version 1, without a credentials section.
    Service(&'a IniSection),
    /// A profile of version 2.
    Profile(ProfileSettings<'a>),
}

impl ExternalFormat for OssutilFile {
    fn name(&self) -> &'static str {
        NAME
    }

    fn locations(&self, env: &dyn SourceEnv) -> FileLocations {
        match env.variable(FILE_VARIABLE) {
            Some(path) => FileLocations::Named(PathBuf::from(path)),
            None => FileLocations::Home(&[".ossutilconfig"]),
        }
    }

    fn read(
        &self,
        text: &str,
        tool: &ExternalFileConfig,
        env: &dyn SourceEnv,
    ) -> Result<Box<dyn ProviderConfig>, UnsupportedProfile> {
        let document = IniDocument::parse(text).map_err(|line| {
            UnsupportedProfile::Wrong(format!(
                "line {line} is invalid; expected a [section], option = value or a comment"
            ))
        })?;
        let wanted = tool.profile.clone().or_else(|| env.variable(PROFILE_VARIABLE));
        match select(&document, wanted.as_deref())? {
            SelectedSection::Profile(settings) => settings.provider(tool, env),
            SelectedSection::Service(section) => match service(section)? {
                Some(uri) => Ok(Box::new(uri)),
                None => Err(UnsupportedProfile::Absent(format!("[{SERVICE}] has no ecsAk"))),
            },
            SelectedSection::Legacy(legacy) => legacy.config(&document, tool, env),
        }
    }
}

/// Selects the profile requested by name, or else the only one that ossutil would use.
fn select<'a>(
    document: &'a IniDocument,
    wanted: Option<&'a str>,
) -> Result<SelectedSection<'a>, UnsupportedProfile> {
    if let Some(name) = wanted {
        return match (ProfileSettings::find(document, name)?, document.section(name)) {
            (Some(settings), _) => Ok(SelectedSection::Profile(settings)),
            (None, Some(section)) => Ok(SelectedSection::Legacy(LegacySection { name, section })),
            (None, None) => {
                let sections = document.listing();
                Err(UnsupportedProfile::Wrong(format!(
                    "[profile {name}] does not exist; the file has {sections}"
                )))
            }
        };
    }
    let current = ProfileSettings::find(document, DEFAULT)?;
    if let (None, None, Some(section)) = (document.section(LEGACY), &current, document.section(SERVICE)) {
        return Ok(SelectedSection::Service(section));
    }
    match (document.section(LEGACY), current) {
        (Some(section), Some(settings))
            if section.get(&ID).is_some() && settings.has_credentials() && !settings.is_same_key(section) =>
        {
            Err(UnsupportedProfile::Wrong(format!(
                "[{LEGACY}] (ossutil 1) and [{DEFAULT}] (ossutil 2) have different access keys; set profile or {PROFILE_VARIABLE} to the one to use"
            )))
        }
        (Some(section), Some(settings)) if !settings.has_credentials() => {
            Ok(SelectedSection::Legacy(LegacySection { name: LEGACY, section }))
        }
        (_, Some(settings)) => Ok(SelectedSection::Profile(settings)),
        (Some(section), None) => Ok(SelectedSection::Legacy(LegacySection { name: LEGACY, section })),
        (None, None) if document.is_empty() => {
            Err(UnsupportedProfile::Absent("the file is empty".to_owned()))
        }
        (None, None) if document.has_only(is_of_buckets) => {
            Err(UnsupportedProfile::Absent("the file has only bucket endpoints".to_owned()))
        }
        (None, None) => Err(UnsupportedProfile::Wrong(format!(
            "neither [{DEFAULT}] nor [{LEGACY}] exists; the file has {}; set profile or {PROFILE_VARIABLE}",
            document.listing()
        ))),
    }
}

impl LegacySection<'_> {
    /// Returns the provider that the section describes.
    fn config(
        &self,
        document: &IniDocument,
        tool: &ExternalFileConfig,
        env: &dyn SourceEnv,
    ) -> Result<Box<dyn ProviderConfig>, UnsupportedProfile> {
        let Self { name: wanted, section } = self;
        let missing = |name: &str| UnsupportedProfile::Wrong(format!("[{wanted}] has no {name}"));
        let key = |token: Option<&str>| key(section, token).map_err(missing);
        let mode = section.get(&["mode"]);
        let is = |wanted: &str| mode.is_some_and(|mode| mode.eq_ignore_ascii_case(wanted));
        if is("AK") {
            return Ok(Box::new(key(None)?));
        }
        if is("StsToken") {
            let token = section.get(&TOKEN).ok_or_else(|| missing("stsToken"))?;
            return Ok(Box::new(key(Some(token))?));
        }
        if is("RamRoleArn") {
            let seconds = section.get(&["tokenTimeout"]).unwrap_or("3600").parse();
            let seconds = seconds.map_err(|_| {
                UnsupportedProfile::Wrong(format!(
                    "[{wanted}] has an invalid tokenTimeout; expected a number of seconds"
                ))
            })?;
            let session = section.get(&["roleSessionName"]).map(str::to_owned);
            let role = AssumedRole {
                arn: section.get(&["ramRoleArn"]).ok_or_else(|| missing("ramRoleArn"))?.to_owned(),
                session_name: session.or_else(|| env.variable("ALIBABA_CLOUD_ROLE_SESSION_NAME")),
                duration: Duration::from_secs(seconds),
                policy: None,
                external_id: None,
            };
            let sts_endpoint = tool.sts_endpoint(None, region_of(section), false)?;
            let signer = Box::new(key(section.get(&TOKEN))?);
            return Ok(Box::new(FileRoleConfig { signer, signer_name: NAME, role, sts_endpoint }));
        }
        if is("EcsRamRole") {
            let role_name = section.get(&["ecsRoleName"]).map(str::to_owned);
            return Ok(Box::new(EcsConfig { role_name, ..EcsConfig::default() }));
        }
        if mode.is_some() {
            return Err(UnsupportedProfile::Wrong(format!(
                "[{wanted}] has an unknown mode; expected one of AK, StsToken, RamRoleArn, EcsRamRole"
            )));
        }
        // Without a mode, ossutil uses what is present, a key before a service.
        if section.get(&ID).is_some() {
            return Ok(Box::new(key(section.get(&TOKEN))?));
        }
        match document.section(SERVICE).map(service).transpose()?.flatten() {
            Some(uri) => Ok(Box::new(uri)),
            None if LEGACY_PARTS.iter().any(|keys| section.get(keys).is_some()) => {
                Err(missing("accessKeyID and no mode"))
            }
            None => Err(UnsupportedProfile::Absent(format!("[{wanted}] has no access key"))),
        }
    }
}

/// Returns the service that `[AkService]` names, if any.
fn service(section: &IniSection) -> Result<Option<UriConfig>, UnsupportedProfile> {
    let Some(url) = section.get(&["ecsAk"]) else { return Ok(None) };
    let url =
        Url::parse(url).map_err(|error| UnsupportedProfile::Wrong(format!("[{SERVICE}] ecsAk {error}")))?;
    Ok(Some(UriConfig { url: Some(url), ..UriConfig::default() }))
}

/// Returns whether a section of this name holds bucket endpoints.
fn is_of_buckets(name: &str) -> bool {
    let first = name.split_whitespace().next().unwrap_or_default();
    ["Bucket-Endpoint", "Bucket-Cname", "buckets"].iter().any(|known| known.eq_ignore_ascii_case(first))
}

/// Options that have no effect without a key or a mode.
const LEGACY_PARTS: [&[&str]; 4] = [&SECRET, &TOKEN, &["ramRoleArn"], &["ecsRoleName"]];
