//! `[credentials.NAME]` for sources that call STS: always `assume_role` and `oidc`, optionally
//! `env` and `chain`.

use std::path::PathBuf;
use std::time::Duration;

use super::diagnostics::ConfigReport;
use super::duration;
use super::error::ConfigErrorKind;
use super::section::ConfigSection;
use crate::credentials::{
    AssumeRoleConfig, AssumeRoleParams, ChainConfig, ChainOrder, EnvConfig, OidcConfig, ProviderSpec,
    StsEndpointConfig, StsSignature,
};
use crate::oss::Region;
use crate::transport::Url;

/// Reads a role that the identity of another source assumes.
pub(super) fn assume_role(section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<ProviderSpec> {
    let sts_endpoint = sts_endpoint(section, report);
    let signature = section.word_or_default("sts_signature", &SIGNATURES, report).value;
    let source = required(section, "source", "set it to the credentials that assume the role", report);
    let params = signed_role_params(section, report);
    if params.role_arn.is_none() && !section.has("role_arn") {
        let problem = ConfigErrorKind::Missing("write acs:ram::ACCOUNT:role/NAME");
        report.error(&section.at("role_arn"), problem);
    }
    let role = params.to_role(params.role_arn.clone()?);
    let role = Box::new(AssumeRoleConfig { role, sts_endpoint, signature });
    Some(ProviderSpec::AssumeRole { source: source?, role })
}

/// Reads a source with the OIDC token of a service account. Missing settings are read from the
/// environment when they are needed.
pub(super) fn oidc(section: &ConfigSection<'_>, report: &mut ConfigReport) -> OidcConfig {
    OidcConfig {
        role: role_params(section, report),
        provider_arn: text(section, "oidc_provider_arn", report),
        token_file: text(section, "token_file", report).map(PathBuf::from),
        sts_endpoint: sts_endpoint(section, report),
    }
}

/// Reads the role that an access key from the environment assumes.
pub(super) fn wanted(section: &ConfigSection<'_>, report: &mut ConfigReport) -> EnvConfig {
    EnvConfig {
        role: signed_role_params(section, report),
        from_env: section.is_true("assume_role_from_env", report),
        sts_endpoint: sts_endpoint(section, report),
    }
}

/// Reads a provider chain.
pub(super) fn chain(section: &ConfigSection<'_>, strict: bool, report: &mut ConfigReport) -> ChainConfig {
    let orders = [("default", ChainOrder::Usual), ("alibaba", ChainOrder::Alibaba)];
    let identity = |text: &str| {
        let fits = text.strip_prefix("acs:ram::").and_then(|rest| rest.split_once(':'));
        let fits = fits.is_some_and(|(account, who)| {
            let known = who == "root" || who.starts_with("role/") || who.starts_with("user/");
            known && !account.is_empty() && account.bytes().all(|b| b.is_ascii_digit())
        });
        if fits { Ok(text.to_owned()) } else { Err(ConfigErrorKind::Identity(text.to_owned())) }
    };
    let pin = section.parsed("pin_identity", identity, report);
    ChainConfig {
        order: section.word_or_default("order", &orders, report).value,
        wanted: wanted(section, report),
        pin_identity: pin.map(|given| given.value),
        strict,
    }
}

pub(super) fn sts_endpoint(section: &ConfigSection<'_>, report: &mut ConfigReport) -> StsEndpointConfig {
    let url = |text: &str| {
        let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        Url::parse(&text).map_err(ConfigErrorKind::Url)
    };
    let endpoint = section.parsed("sts_endpoint", url, report);
    let region =
        section.parsed("sts_region", |text| Region::parse(text).map_err(ConfigErrorKind::Region), report);
    StsEndpointConfig {
        endpoint: endpoint.map(|given| given.value),
        region: region.map(|given| given.value),
        vpc: false,
        of_oss: None,
    }
}

/// Reads the parameters for assuming a role with an access key.
fn signed_role_params(section: &ConfigSection<'_>, report: &mut ConfigReport) -> AssumeRoleParams {
    let params = role_params(section, report);
    AssumeRoleParams { external_id: external_id(section, report), ..params }
}

/// Reads the parameters for assuming a role, except for the external id.
fn role_params(section: &ConfigSection<'_>, report: &mut ConfigReport) -> AssumeRoleParams {
    AssumeRoleParams {
        role_arn: role_arn(section, report),
        session_name: text(section, "session_name", report),
        duration: duration(section, report),
        policy: policy(section, report),
        external_id: None,
    }
}

fn role_arn(section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<String> {
    let arn = |text: &str| {
        let fits = text.strip_prefix("acs:ram::").and_then(|rest| rest.split_once(":role/"));
        match fits {
            Some((account, name))
                if !account.is_empty() && account.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() =>
            {
                Ok(text.to_owned())
            }
            Some(_) | None => Err(ConfigErrorKind::RoleArn(text.to_owned())),
        }
    };
    section.parsed("role_arn", arn, report).map(|given| given.value)
}

fn duration(section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<Duration> {
    let lifetime = |text: &str| {
        let lifetime = duration::parse(text)?;
        if LIFE.contains(&lifetime) {
            Ok(lifetime)
        } else {
            Err(ConfigErrorKind::RoleDuration(text.to_owned()))
        }
    };
    section.parsed("duration", lifetime, report).map(|given| given.value)
}

fn policy(section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<String> {
    let policy = |text: &str| {
        let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok();
        if is_object && text.len() <= POLICY_MAX { Ok(text.to_owned()) } else { Err(ConfigErrorKind::Policy) }
    };
    section.parsed("policy", policy, report).map(|given| given.value)
}

fn external_id(section: &ConfigSection<'_>, report: &mut ConfigReport) -> Option<String> {
    let id = |text: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
        let fits = (2..=1224).contains(&text.len()) && text.bytes().all(fits);
        if fits { Ok(text.to_owned()) } else { Err(ConfigErrorKind::ExternalId) }
    };
    section.parsed("external_id", id, report).map(|given| given.value)
}

fn text(section: &ConfigSection<'_>, key: &str, report: &mut ConfigReport) -> Option<String> {
    section.text(key, report).map(|given| given.value).filter(|text| !text.is_empty())
}

fn required(
    section: &ConfigSection<'_>,
    key: &'static str,
    remedy: &'static str,
    report: &mut ConfigReport,
) -> Option<String> {
    let given = text(section, key, report);
    if given.is_none() {
        report.error(&section.at(key), ConfigErrorKind::Missing(remedy));
    }
    given
}

/// The lifetimes that STS accepts; the role itself may allow less.
const LIFE: std::ops::RangeInclusive<Duration> = Duration::from_secs(900)..=Duration::from_secs(43_200);
/// The maximum length of a policy in STS.
const POLICY_MAX: usize = 2048;
const SIGNATURES: [(&str, StsSignature); 2] = [("acs3", StsSignature::Acs3), ("rpc", StsSignature::Rpc)];
