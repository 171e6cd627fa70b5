//! Routes from the configuration file of ossutil, which can set an endpoint or a CNAME for a
//! bucket.

use std::path::PathBuf;

use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::origin::{SpannedValue, ValueOrigin};
use super::section::ConfigSection;
use super::source_names::DescribedSource;
use super::upstream::{EndpointSettings, UpstreamChecks, endpoint};
use super::validation::ValidationContext;
use crate::address::{
    BucketAddressing, Endpoint, EndpointKind, NamePattern, OssEndpoint, RouteMatch, ServiceFamily,
    UpstreamAddress, UrlScheme,
};
use crate::credentials::{BucketEndpoint, BucketStyle, OssutilFile, ToolFileConfig, bucket_endpoints};
use crate::oss::{Bucket, Region};

/// A route from the file of ossutil.
pub(super) struct ImpliedRoute {
    pub(super) credentials: String,
    pub(super) wanted: RouteMatch,
    pub(super) upstream: UpstreamAddress,
}

/// Returns the routes of all `ossutil` sources with `routes = true`. `default` is the upstream that
/// they modify.
pub(super) fn read(
    root: &ConfigSection<'_>,
    context: &ValidationContext<'_>,
    default: &UpstreamAddress,
    checks: &UpstreamChecks<'_>,
    report: &mut ConfigReport,
) -> Vec<ImpliedRoute> {
    let ValidationContext { described, secrets, .. } = context;
    let all = root.child("credentials", report);
    let mut implied = Vec::new();
    for DescribedSource { name, spec } in *described {
        let tool = spec.as_ref().and_then(|spec| spec.config::<ToolFileConfig<OssutilFile>>());
        let Some(ToolFileConfig { file: tool, .. }) = tool else { continue };
        let section = all.child(name, report);
        let Some(routes) = section.truth("routes", report).filter(|given| given.value) else { continue };
        let variable = |name: &str| secrets.env.variable(name).filter(|value| !value.is_empty());
        let named = || Some(PathBuf::from(variable("OSSUTIL_CONFIG_FILE")?));
        let home = || Some(PathBuf::from(variable("HOME")?).join(".ossutilconfig"));
        let Some(path) = tool.path.clone().or_else(named).or_else(home) else {
            report.error(
                &routes.at,
                ConfigErrorKind::Missing("set path; HOME, the default directory of the file, is not set"),
            );
            continue;
        };
        let given = SpannedValue { value: path.display().to_string(), at: routes.at.clone() };
        let text = match secrets.file(&path, &given, report) {
            Ok(text) => text,
            Err(problem) => {
                report.error(&routes.at, problem);
                continue;
            }
        };
        let chosen = variable("OSSUTIL_PROFILE");
        let profile = tool.profile.as_deref().or(chosen.as_deref());
        let found = bucket_endpoints(text.expose(), profile).unwrap_or_else(|error| {
            report.error(&routes.at, ConfigErrorKind::ToolFile(given.value.clone(), error));
            Vec::new()
        });
        for route in found {
            match BucketRoute::new(&route, default, &routes.at) {
                Ok(BucketRoute { wanted, addressing, five }) => {
                    let checks = checks.of_route(&five, Some(&addressing));
                    if let Some(upstream) = checks.resolve(&five, &section, report) {
                        implied.push(ImpliedRoute { credentials: name.clone(), wanted, upstream });
                    }
                }
                Err(problem) => report.error(&routes.at, problem),
            }
        }
    }
    implied
}

/// The settings of a bucket in the file, in the form of a `[[route]]`.
struct BucketRoute {
    wanted: RouteMatch,
    addressing: SpannedValue<BucketAddressing>,
    five: EndpointSettings,
}

impl BucketRoute {
    fn new(
        route: &BucketEndpoint,
        default: &UpstreamAddress,
        at: &ValueOrigin,
    ) -> Result<Self, ConfigErrorKind> {
        let bucket = Bucket::parse(&route.bucket)?;
        let named = route.region.as_deref().map(Region::parse).transpose()?;
        let of_profile = route.region_of_profile.as_deref().map(Region::parse).transpose()?;
        let endpoint = match &route.endpoint {
            Some(text) if text.contains("://") => endpoint(text)?,
            Some(text) => match default.endpoint.scheme {
                UrlScheme::Http => endpoint(&format!("http://{text}"))?,
                UrlScheme::Https => endpoint(&format!("https://{text}"))?,
            },
            None => {
                let region = named.clone().or_else(|| of_profile.clone());
                let oss_endpoint = region.and_then(|region| OssEndpoint::new(EndpointKind::Public, region));
                let oss_endpoint = oss_endpoint.ok_or(ConfigErrorKind::Missing(
                    "set a region or an endpoint for each bucket in the file",
                ))?;
                Endpoint::from_place(&oss_endpoint, default.endpoint.scheme)
            }
        };
        let service = endpoint.service_name().map(|name| name.service);
        let addressing = match route.style {
            BucketStyle::Cname => BucketAddressing::Cname,
            BucketStyle::Path => BucketAddressing::Path,
            BucketStyle::Virtual if endpoint.host.is_own() || service == Some(ServiceFamily::PrivateLink) => {
                BucketAddressing::Path
            }
            BucketStyle::Virtual => BucketAddressing::Virtual,
        };
        let region = named.or_else(|| endpoint.region()).or(of_profile).or_else(|| default.region.clone());
        let wanted =
            RouteMatch { host: None, bucket: Some(NamePattern::parse(&route.bucket)?), caller: None };
        Ok(Self {
            wanted,
            addressing: SpannedValue { value: addressing, at: at.clone() },
            five: EndpointSettings::of_bucket(
                SpannedValue { value: bucket, at: at.clone() },
                region.map(|value| SpannedValue { value, at: at.clone() }),
                SpannedValue { value: endpoint, at: at.clone() },
            ),
        })
    }
}
