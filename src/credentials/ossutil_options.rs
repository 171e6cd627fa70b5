//! The options of the file of ossutil that its two formats share.

use super::ini::IniSection;
use super::static_keys::StaticKeyConfig;
use crate::secret::Secret;

/// Option names, without `_`, `-` and case. In this file `access_key` is the secret.
pub(super) const ID: [&str; 4] = ["accesskeyid", "accessid", "accesskeyidentifier", "keyid"];
pub(super) const SECRET: [&str; 4] = ["accesskeysecret", "accesskey", "accesssecret", "keysecret"];
pub(super) const TOKEN: [&str; 2] = ["ststoken", "securitytoken"];

/// The name of this provider in that of its credentials.
pub(super) const NAME: &str = "ossutil";
/// The default profile of version 2.
pub(super) const DEFAULT: &str = "default";

/// Returns the key of a section. The error names the missing option.
pub(super) fn key(section: &IniSection, token: Option<&str>) -> Result<StaticKeyConfig, &'static str> {
    Ok(StaticKeyConfig {
        id: Secret::from(section.get(&ID).ok_or("accessKeyID")?),
        secret: Secret::from(section.get(&SECRET).ok_or("accessKeySecret")?),
        token: token.map(Secret::from),
    })
}

/// Returns the STS region of a section. Some files hold the full host name instead.
pub(super) fn region_of(section: &IniSection) -> Option<&str> {
    let text = section.get(&["stsRegion"])?;
    let text = text.strip_prefix("sts.").unwrap_or(text);
    Some(text.strip_suffix(".aliyuncs.com").unwrap_or(text)).filter(|region| !region.is_empty())
}
