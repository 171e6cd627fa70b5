//! `[upstream]`, and what a route makes of it: the settings that say where requests go, checked against each other.

use std::collections::HashMap;

use super::listen::reaches;
use super::origin::{Given, Origin};
use super::problem::{Caution, Problem};
use super::report::Report;
use super::section::Section;
use crate::address::{Addressing, Endpoint, Host, OssName, Place, Port, Scheme, Upstream};
use crate::oss::{Bucket, Product, Region};
use crate::server::Listen;
use crate::sign::Version;

/// The five settings that belong together: a route that sets one takes none of them from `[upstream]`.
pub(super) struct Five {
    region: Option<Given<Region>>,
    internal: Option<Given<bool>>,
    endpoint: Option<Given<Endpoint>>,
    connect: Option<Given<(Host, u16)>>,
    bucket: Option<Given<Bucket>>,
    /// Whether one was given that cannot be read; then there is no telling what the others mean.
    broken: bool,
}

/// The settings of `[upstream]` that hold for its routes too.
pub(super) struct Shared {
    pub(super) addressing: Option<Given<Addressing>>,
    signature: Given<Version>,
    /// Whether one of them cannot be read.
    broken: bool,
}

/// A resolved upstream is checked against this.
#[derive(Clone, Copy)]
pub(super) struct Checks<'a> {
    pub(super) shared: &'a Shared,
    pub(super) addressing: Option<&'a Given<Addressing>>,
    /// By their ports.
    pub(super) listeners: &'a HashMap<u16, Vec<&'a Listen>>,
}

/// The keys of [`Five`].
pub(super) const FIVE: [&str; 5] = ["region", "internal", "endpoint", "connect", "bucket"];

impl Five {
    pub(super) fn read(section: &Section<'_>, report: &mut Report) -> Self {
        let before = report.count();
        let region = |text: &str| Region::parse(text).map_err(Problem::from);
        let bucket = |text: &str| Bucket::parse(text).map_err(Problem::from);
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
}

impl Shared {
    pub(super) fn read(section: &Section<'_>, report: &mut Report) -> Self {
        let before = report.count();
        let addressing =
            [("virtual", Addressing::Virtual), ("path", Addressing::Path), ("cname", Addressing::Cname)];
        let addressing = section.word("addressing", &addressing, report);
        let signature = [("v4", Version::V4), ("v1", Version::V1)];
        let signature = section.word("signature", &signature, report);
        Self {
            addressing,
            signature: signature.unwrap_or_else(|| Given { value: Version::V4, at: section.at("signature") }),
            broken: report.count() > before,
        }
    }

    pub(super) fn signature(&self) -> Version {
        self.signature.value
    }
}

impl Checks<'_> {
    /// For a route with an upstream of its own. One that is at an endpoint of OSS's own is addressed as OSS wants it; how the
    /// default upstream is addressed says nothing about it.
    pub(super) fn of_route(&self, five: &Five) -> Self {
        let is_oss = five.endpoint.as_ref().is_none_or(|given| given.value.place().is_some());
        Self { addressing: self.addressing.filter(|_| !is_oss), ..*self }
    }

    /// The upstream that `five` says, if it says one without contradicting itself. What is wrong is reported.
    pub(super) fn resolve(
        &self,
        five: &Five,
        section: &Section<'_>,
        report: &mut Report,
    ) -> Option<Upstream> {
        if five.broken || self.shared.broken {
            return None;
        }
        let region = self.region(five, section, report);
        if let Some(given) = &five.endpoint {
            check_internal(given, five, report);
        }
        if self.wants(Addressing::Cname) && five.bucket.is_none() {
            report.error(&section.at("bucket"), Problem::CnameBucket);
        }
        let endpoint = endpoint_of(five, region.iter().flatten().next(), section, report)?;
        let addressing = self.addressing(&endpoint, report);
        self.check_dialled(&endpoint, five, report);
        Some(Upstream {
            region: region?,
            endpoint: endpoint.value,
            addressing: addressing?,
            pin: five.bucket.as_ref().map(|given| given.value.clone()),
            connect: five.connect.as_ref().map(|given| given.value.clone()),
        })
    }

    fn wants(&self, addressing: Addressing) -> bool {
        self.addressing.is_some_and(|given| given.value == addressing)
    }

    /// The region, given or told by the endpoint; `None` if a needed one is missing.
    fn region(&self, five: &Five, section: &Section<'_>, report: &mut Report) -> Option<Option<Region>> {
        let endpoint = five.endpoint.as_ref();
        let told = endpoint.and_then(|given| {
            let name = OssName::parse(given.value.host.as_str())?;
            name.place.region().cloned()
        });
        let region = match (&five.region, told) {
            (Some(given), Some(told)) if given.value != told => {
                let at = endpoint.map_or(&given.at, |endpoint| &endpoint.at);
                let (told, said) = (told.to_string(), given.value.to_string());
                report.error(at, Problem::Regions(told, said, given.at.to_string()));
                return None;
            }
            (Some(given), _) => Some(given.value.clone()),
            (None, told) => told,
        };
        match (&region, self.shared.signature.value) {
            (None, Version::V4) => {
                report.error(&section.at("region"), Problem::NoRegion);
                return None;
            }
            (None, Version::V1) if endpoint.is_none() => {
                report.error(&section.at("region"), Problem::Nowhere);
                return None;
            }
            (Some(region), Version::V1) if region.product() == Product::CloudBox => {
                report.error(&self.shared.signature.at, Problem::CloudBoxV1);
            }
            (_, Version::V1 | Version::V4) => {}
        }
        Some(region)
    }

    fn addressing(&self, endpoint: &Given<Endpoint>, report: &mut Report) -> Option<Addressing> {
        let host = &endpoint.value.host;
        let is_oss = endpoint.value.place().is_some();
        let bucket = OssName::parse(host.as_str()).and_then(|name| name.bucket);
        let problem = match self.addressing.map(|given| given.value) {
            None | Some(Addressing::Path) if host.is_own() => return Some(Addressing::Path),
            Some(_) if host.is_own() => Problem::AddressedBucket(host.as_str().to_owned()),
            Some(Addressing::Cname) if is_oss => Problem::CnameEndpoint(host.as_str().to_owned()),
            Some(Addressing::Cname) => return Some(Addressing::Cname),
            addressing => match bucket {
                Some(bucket) => Problem::EndpointBucket(format!("{bucket}.")),
                None => {
                    let addressing = addressing.unwrap_or(Addressing::Virtual);
                    if addressing == Addressing::Path && is_oss {
                        report.warn(&endpoint.at, &Caution::PathOnOss);
                    }
                    return Some(addressing);
                }
            },
        };
        report.error(&endpoint.at, problem);
        None
    }

    /// Looks at what will be dialled: never ourselves, and not in the open without a word.
    fn check_dialled(&self, endpoint: &Given<Endpoint>, five: &Five, report: &mut Report) {
        let (host, port, at) = match &five.connect {
            Some(given) => (&given.value.0, given.value.1, &given.at),
            None => (&endpoint.value.host, endpoint.value.port, &endpoint.at),
        };
        for listener in self.listeners.get(&port).into_iter().flatten() {
            if listener.address.socket().is_some_and(|address| reaches(address, host, port)) {
                report.error(at, Problem::Loop(listener.address.to_string()));
            }
        }
        let loopback = |address: std::net::IpAddr| address.to_canonical().is_loopback();
        let stays_here = host.as_str() == "localhost" || host.address().is_some_and(loopback);
        if endpoint.value.scheme == Scheme::Http && !stays_here {
            report.warn(&endpoint.at, &Caution::Plain);
        }
    }
}

/// The endpoint, given or implied by the region.
fn endpoint_of(
    five: &Five,
    region: Option<&Region>,
    section: &Section<'_>,
    report: &mut Report,
) -> Option<Given<Endpoint>> {
    if let Some(given) = &five.endpoint {
        return Some(given.clone());
    }
    let region = region?;
    if region.product() == Product::CloudBox {
        let problem = Problem::CloudBoxEndpoint(region.to_string());
        report.error(&section.at("region"), problem);
        return None;
    }
    let place = match five.internal {
        Some(Given { value: true, .. }) => Place::Internal(region.clone()),
        _ => Place::Public(region.clone()),
    };
    Some(Given { value: Endpoint::of(&place, Scheme::Https), at: section.at("endpoint") })
}

/// Reports `internal = true` beside an endpoint that is not internal. `false` is the default and contradicts nothing. An endpoint
/// overrides what a lower layer says of it: a flag the environment, and both the file.
fn check_internal(endpoint: &Given<Endpoint>, five: &Five, report: &mut Report) {
    let Some(internal) = five.internal.as_ref().filter(|internal| internal.value) else { return };
    let layer = |at: &Origin| match at {
        Origin::File { .. } => 0,
        Origin::Variable(_) => 1,
        Origin::Flag(_) => 2,
    };
    if layer(&endpoint.at) > layer(&internal.at) {
        return;
    }
    let place = OssName::parse(endpoint.value.host.as_str()).map(|name| name.place);
    if !matches!(place, Some(Place::Internal(_))) {
        report.error(&endpoint.at, Problem::Internal(internal.at.to_string()));
    }
}

fn endpoint(text: &str) -> Result<Endpoint, Problem> {
    if text.contains('@') {
        return Err(Problem::UserInfo);
    }
    Ok(Endpoint::parse(text)?)
}

/// Reads `HOST:PORT`.
fn destination(text: &str) -> Result<(Host, u16), Problem> {
    if text.contains('@') {
        return Err(Problem::UserInfo);
    }
    match Host::parse(text) {
        Ok((host, Port::Given(port))) if port != 0 => Ok((host, port)),
        _ => Err(Problem::Destination(text.to_owned())),
    }
}
