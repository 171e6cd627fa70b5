//! `[upstream]` and the upstreams of routes: the settings of a destination, validated against each
//! other.

use std::collections::HashMap;

use super::callers::CallerNames;
use super::diagnostics::ConfigReport;
use super::error::{ConfigErrorKind, ConfigWarning};
use super::listen::reaches;
use super::origin::{SpannedValue, ValueOrigin};
use super::section::ConfigSection;
use crate::address::{
    BucketAddressing, Endpoint, EndpointKind, Host, OssEndpoint, Port, ServiceFamily, UpstreamAddress,
    UrlScheme,
};
use crate::oss::{Bucket, Region, SigningProduct};
use crate::server::ListenSettings;
use crate::sign::SignatureVersion;

/// The five settings that belong together: a route that sets one inherits none of them from
/// `[upstream]`.
pub(super) struct EndpointSettings {
    region: Option<SpannedValue<Region>>,
    internal: Option<SpannedValue<bool>>,
    endpoint: Option<SpannedValue<Endpoint>>,
    connect: Option<SpannedValue<(Host, u16)>>,
    bucket: Option<SpannedValue<Bucket>>,
    /// True if one of the settings is invalid. The meaning of the others is then unknown.
    broken: bool,
}

/// The settings of `[upstream]` that also apply to its routes.
pub(super) struct SharedSettings {
    pub(super) addressing: Option<SpannedValue<BucketAddressing>>,
    signature: SpannedValue<SignatureVersion>,
    tell_upstream: bool,
    /// True if one of the settings is invalid.
    broken: bool,
}

/// The context against which the settings of an upstream are validated.
#[derive(Clone, Copy)]
pub(super) struct UpstreamChecks<'a> {
    pub(super) shared: &'a SharedSettings,
    pub(super) addressing: Option<&'a SpannedValue<BucketAddressing>>,
    /// The listeners on TCP sockets by port.
    pub(super) listeners: &'a HashMap<u16, Vec<&'a ListenSettings>>,
    /// The names of the callers.
    pub(super) caller_names: &'a CallerNames,
}

/// The values of `addressing`.
pub(super) const ADDRESSING: [(&str, BucketAddressing); 3] = [
    ("virtual", BucketAddressing::Virtual),
    ("path", BucketAddressing::Path),
    ("cname", BucketAddressing::Cname),
];

/// The keys of [`EndpointSettings`].
pub(super) const FIVE: [&str; 5] = ["region", "internal", "endpoint", "connect", "bucket"];

impl EndpointSettings {
    pub(super) fn read(section: &ConfigSection<'_>, report: &mut ConfigReport) -> Self {
        let before = report.count();
        let region = |text: &str| Region::parse(text).map_err(ConfigErrorKind::from);
        let bucket = |text: &str| Bucket::parse(text).map_err(ConfigErrorKind::from);
        let five = Self {
            region: section.parsed("region", region, report),
            internal: section.truth("internal", report),
            endpoint: section.parsed("endpoint", endpoint, report),
            connect: section.parsed("connect", destination, report),
            bucket: section.parsed("bucket", bucket, report),
            broken: false,
        };
        Self { broken: report.count() > before, ..five }
    }

    /// Returns the settings of a route for one bucket.
    pub(super) fn of_bucket(
        bucket: SpannedValue<Bucket>,
        region: Option<SpannedValue<Region>>,
        endpoint: SpannedValue<Endpoint>,
    ) -> Self {
        Self {
            region,
            internal: None,
            endpoint: Some(endpoint),
            connect: None,
            bucket: Some(bucket),
            broken: false,
        }
    }
}

impl SharedSettings {
    pub(super) fn read(section: &ConfigSection<'_>, report: &mut ConfigReport) -> Self {
        let before = report.count();
        let addressing = section.word("addressing", &ADDRESSING, report);
        let signature = [("v4", SignatureVersion::V4), ("v1", SignatureVersion::V1)];
        Self {
            addressing,
            signature: section.word_or_default("signature", &signature, report),
            tell_upstream: section.is_true("tell_upstream", report),
            broken: report.count() > before,
        }
    }

    pub(super) fn signature(&self) -> SignatureVersion {
        self.signature.value
    }

    /// Returns whether requests name their caller to the upstream.
    pub(super) fn tell_upstream(&self) -> bool {
        self.tell_upstream
    }
}

impl UpstreamChecks<'_> {
    /// Returns the checks for a route with separate endpoint settings and an optional `addressing`.
    /// If the route does not set it, an OSS endpoint is addressed as OSS requires. The addressing
    /// of the default upstream applies only to other endpoints.
    pub(super) fn of_route<'b>(
        &'b self,
        five: &EndpointSettings,
        own: Option<&'b SpannedValue<BucketAddressing>>,
    ) -> UpstreamChecks<'b> {
        let is_oss = five.endpoint.as_ref().is_none_or(|given| given.value.oss_endpoint().is_some());
        let inherited = self.addressing.filter(|_| !is_oss);
        UpstreamChecks { addressing: own.or(inherited), ..*self }
    }

    /// Resolves the settings to an upstream. Returns `None` if they are invalid or contradict each
    /// other, which is reported.
    pub(super) fn resolve(
        &self,
        five: &EndpointSettings,
        section: &ConfigSection<'_>,
        report: &mut ConfigReport,
    ) -> Option<UpstreamAddress> {
        if five.broken || self.shared.broken {
            return None;
        }
        let region = self.region(five, section, report);
        if let Some(given) = &five.endpoint {
            check_internal(given, five, report);
        }
        if self.wants(BucketAddressing::Cname) && five.bucket.is_none() {
            report.error(&section.at("bucket"), ConfigErrorKind::CnameBucket);
        }
        let endpoint = endpoint_of(five, region.iter().flatten().next(), section, report)?;
        let addressing = self.addressing(&endpoint, report);
        self.check_dialled(&endpoint, five, report);
        Some(UpstreamAddress {
            region: region?,
            endpoint: endpoint.value,
            addressing: addressing?,
            pin: five.bucket.as_ref().map(|given| given.value.clone()),
            connect: five.connect.as_ref().map(|given| given.value.clone()),
        })
    }

    fn wants(&self, addressing: BucketAddressing) -> bool {
        self.addressing.is_some_and(|given| given.value == addressing)
    }

    /// Returns the region, given or named by the endpoint. The outer `None` means that a required
    /// region is missing.
    fn region(
        &self,
        five: &EndpointSettings,
        section: &ConfigSection<'_>,
        report: &mut ConfigReport,
    ) -> Option<Option<Region>> {
        let endpoint = five.endpoint.as_ref();
        let named = endpoint.and_then(|given| given.value.region());
        if let (Some(given), Some(named), Some(endpoint)) = (&five.region, &named, endpoint)
            && given.value != *named
        {
            let signed = given.value.to_string();
            let warning = ConfigWarning::Regions(named.to_string(), signed, given.at.to_string());
            report.warn(&endpoint.at, &warning);
        }
        let region = five.region.as_ref().map(|given| given.value.clone()).or(named);
        match (&region, self.shared.signature.value) {
            (None, SignatureVersion::V4) => {
                report.error(&section.at("region"), ConfigErrorKind::NoRegion);
                return None;
            }
            (None, SignatureVersion::V1) if endpoint.is_none() => {
                report.error(&section.at("region"), ConfigErrorKind::Nowhere);
                return None;
            }
            (Some(region), SignatureVersion::V1) if region.product() == SigningProduct::CloudBox => {
                report.error(&self.shared.signature.at, ConfigErrorKind::CloudBoxV1);
            }
            (_, SignatureVersion::V1 | SignatureVersion::V4) => {}
        }
        Some(region)
    }

    fn addressing(
        &self,
        endpoint: &SpannedValue<Endpoint>,
        report: &mut ConfigReport,
    ) -> Option<BucketAddressing> {
        let host = &endpoint.value.host;
        let is_oss = endpoint.value.oss_endpoint().is_some();
        let bucket = endpoint.value.oss_name().and_then(|name| name.bucket);
        let service = endpoint.value.service_name().map(|name| name.service);
        let problem = match self.addressing.map(|given| given.value) {
            None | Some(BucketAddressing::Path)
                if host.is_own() || service == Some(ServiceFamily::PrivateLink) =>
            {
                return Some(BucketAddressing::Path);
            }
            Some(BucketAddressing::Virtual) if service == Some(ServiceFamily::PrivateLink) => {
                ConfigErrorKind::PrivateLinkBucket(host.as_str().to_owned())
            }
            Some(_) if host.is_own() => ConfigErrorKind::AddressedBucket(host.as_str().to_owned()),
            Some(BucketAddressing::Cname) if is_oss => {
                ConfigErrorKind::CnameEndpoint(host.as_str().to_owned())
            }
            Some(BucketAddressing::Cname) => return Some(BucketAddressing::Cname),
            addressing => match bucket {
                Some(bucket) => ConfigErrorKind::EndpointBucket(format!("{bucket}.")),
                None => {
                    let addressing = addressing.unwrap_or(BucketAddressing::Virtual);
                    if addressing == BucketAddressing::Path && is_oss {
                        report.warn(&endpoint.at, &ConfigWarning::PathOnOss);
                    }
                    return Some(addressing);
                }
            },
        };
        report.error(&endpoint.at, problem);
        None
    }

    /// Checks the address that will be dialed. Reports an error if it is a listener of this proxy,
    /// and a warning if plain HTTP leaves this machine.
    fn check_dialled(
        &self,
        endpoint: &SpannedValue<Endpoint>,
        five: &EndpointSettings,
        report: &mut ConfigReport,
    ) {
        let (host, port, at) = match &five.connect {
            Some(given) => (&given.value.0, given.value.1, &given.at),
            None => (&endpoint.value.host, endpoint.value.port, &endpoint.at),
        };
        for listener in self.listeners.get(&port).into_iter().flatten() {
            if listener.address.socket().is_some_and(|address| reaches(address, host, port)) {
                report.error(at, ConfigErrorKind::Loop(listener.address.to_string()));
            }
        }
        let loopback = |address: std::net::IpAddr| address.to_canonical().is_loopback();
        let stays_here = host.as_str() == "localhost" || host.address().is_some_and(loopback);
        if endpoint.value.scheme == UrlScheme::Http && !stays_here {
            report.warn(&endpoint.at, &ConfigWarning::Plain);
        }
    }
}

/// Returns the endpoint, given or implied by the region.
fn endpoint_of(
    five: &EndpointSettings,
    region: Option<&Region>,
    section: &ConfigSection<'_>,
    report: &mut ConfigReport,
) -> Option<SpannedValue<Endpoint>> {
    if let Some(given) = &five.endpoint {
        return Some(given.clone());
    }
    let region = region?;
    if region.product() == SigningProduct::CloudBox {
        let problem = ConfigErrorKind::CloudBoxEndpoint(region.to_string());
        report.error(&section.at("region"), problem);
        return None;
    }
    let kind = match five.internal {
        Some(SpannedValue { value: true, .. }) => EndpointKind::Internal,
        _ => EndpointKind::Public,
    };
    let Some(oss_endpoint) = OssEndpoint::new(kind, region.clone()) else {
        report.error(&section.at("internal"), ConfigErrorKind::NoInternal(region.to_string()));
        return None;
    };
    Some(SpannedValue {
        value: Endpoint::from_place(&oss_endpoint, UrlScheme::Https),
        at: section.at("endpoint"),
    })
}

/// Reports `internal = true` together with an endpoint that is not internal. `false` is the default
/// and contradicts nothing. A setting of a lower layer does not contradict the endpoint: a flag
/// overrides the environment, and both override the file.
fn check_internal(endpoint: &SpannedValue<Endpoint>, five: &EndpointSettings, report: &mut ConfigReport) {
    let Some(internal) = five.internal.as_ref().filter(|internal| internal.value) else { return };
    let layer = |at: &ValueOrigin| match at {
        ValueOrigin::File { .. } => 0,
        ValueOrigin::Variable(_) => 1,
        ValueOrigin::Flag(_) => 2,
    };
    if layer(&endpoint.at) > layer(&internal.at) {
        return;
    }
    if !endpoint.value.is_internal() {
        report.error(&endpoint.at, ConfigErrorKind::Internal(internal.at.to_string()));
    }
}

/// Parses an endpoint of the object API.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, ConfigErrorKind> {
    if text.contains('@') {
        return Err(ConfigErrorKind::UserInfo);
    }
    let endpoint = Endpoint::parse(text)?;
    match endpoint.service_name() {
        Some(name) if !name.service.is_object_api() => {
            Err(ConfigErrorKind::OtherService(endpoint.host.as_str().to_owned(), name.service))
        }
        Some(_) | None => Ok(endpoint),
    }
}

/// Parses `HOST:PORT`.
fn destination(text: &str) -> Result<(Host, u16), ConfigErrorKind> {
    if text.contains('@') {
        return Err(ConfigErrorKind::UserInfo);
    }
    match Host::parse(text) {
        Ok((host, Port::Given(port))) if port != 0 => Ok((host, port)),
        _ => Err(ConfigErrorKind::Destination(text.to_owned())),
    }
}
