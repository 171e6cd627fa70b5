//! `[[route]]`: upstreams for requests with certain hosts and buckets.

use super::callers::CallerNames;
use super::diagnostics::ConfigReport;
use super::error::{ConfigErrorKind, ConfigWarning};
use super::section::ConfigSection;
use super::settings::{MATCH, ROUTE};
use super::upstream::{ADDRESSING, EndpointSettings, FIVE, UpstreamChecks};
use crate::address::{NamePattern, RouteMatch, ServiceName, UpstreamAddress};

/// A route of the file.
pub(super) struct RouteConfig {
    pub(super) wanted: RouteMatch,
    pub(super) upstream: UpstreamAddress,
}

/// Reads a route. `default` is the upstream that it modifies.
pub(super) fn read(
    section: &ConfigSection<'_>,
    default: Option<&UpstreamAddress>,
    checks: &UpstreamChecks<'_>,
    report: &mut ConfigReport,
) -> Option<RouteConfig> {
    section.check(&ROUTE, report);
    let wanted = wanted(&section.child("match", report), checks.caller_names, report);
    // Without a bucket in the path, the key would depend on the caller.
    if wanted.as_ref().is_some_and(|wanted| wanted.caller.is_some()) && section.has("bucket") {
        report.error(&section.at("bucket"), ConfigErrorKind::CallerBucket);
    }
    let upstream = if FIVE.iter().any(|key| section.has(key)) || section.has("addressing") {
        let five = EndpointSettings::read(section, report);
        let before = report.count();
        let own = section.word("addressing", &ADDRESSING, report);
        let is_read = report.count() == before;
        is_read.then(|| checks.of_route(&five, own.as_ref()).resolve(&five, section, report)).flatten()
    } else {
        if !section.has("credentials") {
            report.error(&section.here(), ConfigErrorKind::Effectless);
        }
        default.cloned()
    };
    let wanted = wanted?;
    let upstream = upstream?;
    if let (Some(bucket), Some(pin)) = (&wanted.bucket, &upstream.pin)
        && !bucket.matches(pin.as_str())
    {
        let pattern = section.child("match", report).text("bucket", report);
        let pattern = pattern.map(|given| given.value).unwrap_or_default();
        report.error(&section.here(), ConfigErrorKind::Unreachable(pattern, pin.to_string()));
    }
    Some(RouteConfig { wanted, upstream })
}

fn wanted(
    section: &ConfigSection<'_>,
    caller_names: &CallerNames,
    report: &mut ConfigReport,
) -> Option<RouteMatch> {
    section.check(&MATCH, report);
    let before = report.count();
    let host = section.parsed("host", host, report);
    let bucket = section.parsed("bucket", |text| Ok(NamePattern::parse(text)?), report);
    let caller = |text: &str| {
        // guard: pattern-of-team-names
        if caller_names.has_directory && text.contains('*') {
            return Err(ConfigErrorKind::CallerPattern);
        }
        Ok(NamePattern::parse(text)?)
    };
    let caller = section.parsed("caller", caller, report);
    if let Some(caller) = &caller
        && !caller_names.names.iter().any(|name| caller.value.matches(name))
    {
        if !caller_names.has_files {
            report.error(&caller.at, ConfigErrorKind::UnknownCaller);
        } else if !caller_names.are_incomplete {
            report.warn(&caller.at, &ConfigWarning::UnknownCaller);
        }
    }
    if !section.has("host") && !section.has("bucket") && !section.has("caller") {
        report.error(&section.here(), ConfigErrorKind::Matchless);
    }
    if let Some(given) = section.text("host", report)
        && given.value.ends_with('*')
        && host.is_some()
    {
        report.warn(&given.at, &ConfigWarning::OpenEnded(given.value));
    }
    (report.count() == before).then(|| RouteMatch {
        host: host.map(|given| given.value),
        bucket: bucket.map(|given| given.value),
        caller: caller.map(|given| given.value),
    })
}

/// Parses the pattern of a host. Hosts are compared in lower case and without port.
fn host(text: &str) -> Result<NamePattern, ConfigErrorKind> {
    let lower = text.to_ascii_lowercase();
    let pattern = NamePattern::parse(&lower)?;
    if !lower.contains(|c: char| c.is_ascii_alphanumeric()) {
        return Err(ConfigErrorKind::AnyHost(text.to_owned()));
    }
    // The text after the last `*` is the end of every matching host.
    let tail = lower.rsplit('*').next().unwrap_or_default().trim_start_matches('.');
    if let Some(name) = ServiceName::parse(tail).filter(|name| !name.service.is_object_api()) {
        return Err(ConfigErrorKind::OtherService(text.to_owned(), name.service));
    }
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match lower.split_once(':') {
        Some((_, port)) if is_port(port) => Err(ConfigErrorKind::HostPort(text.to_owned())),
        _ => Ok(pattern),
    }
}
