//! Which STS is asked: the one that is named, else that of the region, as near to OSS as can be.

use crate::credentials::{Edge, Failure, ProvideError};
use crate::oss::Region;
use crate::transport::Url;

/// What is known about where STS is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The endpoint that the configuration names.
    pub endpoint: Option<Url>,
    /// The region that it names.
    pub region: Option<Region>,
    /// Whether it asks for the one inside the VPC.
    pub vpc: bool,
    /// The region of the OSS that is asked with the credentials, and whether by its internal endpoint.
    pub of_oss: Option<(Region, bool)>,
}

impl Place {
    /// Where to ask, and who says so. The configuration goes before the environment, and both before what the upstream suggests.
    pub(super) fn url(&self, edge: &dyn Edge) -> Result<(Url, &'static str), ProvideError> {
        if let Some(endpoint) = &self.endpoint {
            return Ok((endpoint.clone(), "sts_endpoint"));
        }
        if let Some(text) = edge.variable(ENDPOINT) {
            let text = if text.contains("://") { text } else { format!("https://{text}") };
            return Url::parse(&text)
                .map(|url| (url, ENDPOINT))
                .map_err(|error| ProvideError::Refused(format!("{ENDPOINT} {error}")));
        }
        let region = match &self.region {
            Some(region) => Some(region.clone()),
            None => match edge.variable(REGION) {
                Some(text) => Some(
                    Region::parse(&text)
                        .map_err(|error| ProvideError::Refused(format!("{REGION}: {error}")))?,
                ),
                None => None,
            },
        };
        let vpc = self.vpc || edge.is_true(VPC);
        let (host, why) = match (region, &self.of_oss) {
            (Some(region), _) if self.region.is_some() => (name(&region, vpc), "sts_region"),
            (Some(region), _) => (name(&region, vpc), REGION),
            (None, Some((region, internal))) => (name(region, vpc || *internal), "the upstream's region"),
            (None, None) if vpc => {
                return Err(Failure::VpcWithoutRegion { variable: VPC }.into());
            }
            (None, None) => ("sts.aliyuncs.com".to_owned(), "nothing says where else"),
        };
        Url::parse(&format!("https://{host}"))
            .map(|url| (url, why))
            .map_err(|error| ProvideError::Refused(format!("STS at {host}: {error}")))
    }
}

fn name(region: &Region, vpc: bool) -> String {
    // The finance cloud of Hangzhou has no STS of its own.
    let region = match region.as_str() {
        "cn-hangzhou-finance" => "cn-hangzhou",
        other => other,
    };
    let service = if vpc { "sts-vpc" } else { "sts" };
    format!("{service}.{region}.aliyuncs.com")
}

const ENDPOINT: &str = "ALIBABA_CLOUD_STS_ENDPOINT";
const REGION: &str = "ALIBABA_CLOUD_STS_REGION";
const VPC: &str = "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED";

/// What helps when it cannot be reached.
pub(super) const HINT: &str = "if it cannot be reached from here, set sts_endpoint or sts_region";
