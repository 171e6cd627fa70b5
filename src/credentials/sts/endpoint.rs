//! Selects the STS endpoint: a configured one, otherwise that of the region, as close to OSS as
//! possible.

use crate::credentials::{ProvideError, SetupError, SourceEnv};
use crate::oss::{Region, SigningProduct};
use crate::transport::Url;

/// The settings that select an STS endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct StsEndpointConfig {
    /// The endpoint in the configuration.
    pub(crate) endpoint: Option<Url>,
    /// The region in the configuration.
    pub(crate) region: Option<Region>,
    /// True if the configuration requests the endpoint inside the VPC.
    pub(crate) vpc: bool,
    /// The OSS that the credentials are used for.
    pub(crate) of_oss: Option<OssLocation>,
}

/// A region of OSS, and the endpoint of it that is used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OssLocation {
    /// The region.
    pub(crate) region: Region,
    /// True if its internal endpoint is used.
    pub(crate) is_internal: bool,
}

/// A selected STS endpoint.
#[derive(Debug)]
pub(crate) struct SelectedEndpoint {
    pub(crate) url: Url,
    /// The setting that selected it.
    pub(crate) setting: &'static str,
}

impl StsEndpointConfig {
    /// Selects the endpoint. The configuration takes precedence over the environment, and both over
    /// the region of the upstream.
    pub(crate) fn select(&self, env: &dyn SourceEnv) -> Result<SelectedEndpoint, ProvideError> {
        if let Some(endpoint) = &self.endpoint {
            return Ok(SelectedEndpoint { url: endpoint.clone(), setting: "sts_endpoint" });
        }
        if let Some(text) = env.variable(ENDPOINT) {
            let text = if text.contains("://") { text } else { format!("https://{text}") };
            return Url::parse(&text)
                .map(|url| SelectedEndpoint { url, setting: ENDPOINT })
                .map_err(|error| ProvideError::Refused(format!("{ENDPOINT} {error}")));
        }
        let region = match &self.region {
            Some(region) => Some(region.clone()),
            None => match env.variable(REGION) {
                Some(text) => Some(
                    Region::parse(&text)
                        .map_err(|error| ProvideError::Refused(format!("{REGION}: {error}")))?,
                ),
                None => None,
            },
        };
        let vpc = self.vpc || env.is_true(VPC);
        let (host, setting) = match (region, &self.of_oss) {
            (Some(region), _) if self.region.is_some() => (name(&region, vpc), "sts_region"),
            (Some(region), _) => (name(&region, vpc), REGION),
            (None, Some(OssLocation { region, is_internal })) => {
                (name(region, vpc || *is_internal), "the upstream's region")
            }
            (None, None) if vpc => {
                return Err(SetupError::VpcWithoutRegion { variable: VPC }.into());
            }
            (None, None) => (CENTRAL.to_owned(), "the default"),
        };
        Url::parse(&format!("https://{host}"))
            .map(|url| SelectedEndpoint { url, setting })
            .map_err(|error| ProvideError::Refused(format!("the STS host {host} {error}")))
    }
}

/// Returns the STS host of a region. The id of a `CloudBox` is not a region with an STS.
fn name(region: &Region, vpc: bool) -> String {
    let row = IRREGULAR.iter().find(|(id, ..)| *id == region.as_str());
    match row {
        Some((_, public, inside)) => (if vpc { *inside } else { *public }).to_owned(),
        None if region.product() == SigningProduct::CloudBox => CENTRAL.to_owned(),
        None => format!("{}.{region}.aliyuncs.com", if vpc { "sts-vpc" } else { "sts" }),
    }
}

/// The central STS of mainland China.
const CENTRAL: &str = "sts.aliyuncs.com";

/// Regions whose STS hosts do not follow the pattern, with the public host and the host inside a
/// VPC.
const IRREGULAR: [(&str, &str, &str); 5] = [
    ("cn-hangzhou-finance", CENTRAL, "sts-vpc.cn-hangzhou.aliyuncs.com"),
    ("cn-shenzhen-finance-1", CENTRAL, "sts-vpc.cn-shenzhen-finance-1.aliyuncs.com"),
    ("cn-north-2-gov-1", "sts-vpc.cn-north-2-gov-1.aliyuncs.com", "sts-vpc.cn-north-2-gov-1.aliyuncs.com"),
    ("rg-china-mainland", CENTRAL, CENTRAL),
    ("rus-west-1", CENTRAL, CENTRAL),
];

const ENDPOINT: &str = "ALIBABA_CLOUD_STS_ENDPOINT";
const REGION: &str = "ALIBABA_CLOUD_STS_REGION";
const VPC: &str = "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED";

/// The advice in errors of an unreachable STS.
pub(super) const HINT: &str = "if this host cannot reach it, set sts_endpoint or sts_region";
