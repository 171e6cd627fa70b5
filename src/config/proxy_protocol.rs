//! `proxy_protocol` and `trusted_proxies` of a listener.

use std::sync::Arc;

use super::diagnostics::ConfigReport;
use super::error::ConfigErrorKind;
use super::section::{ConfigSection, parsed};
use crate::server::{IpNetwork, ListenAddress, TrustedProxies};

/// Reads the load balancers of the listener at `address`, if clients connect through some.
pub(super) fn trusted_proxies(
    section: &ConfigSection<'_>,
    address: Option<&ListenAddress>,
    report: &mut ConfigReport,
) -> Option<Arc<TrustedProxies>> {
    let is_on = section.is_true("proxy_protocol", report);
    let networks = section.texts("trusted_proxies", report);
    let network =
        |text: &str| IpNetwork::parse(text).ok_or_else(|| ConfigErrorKind::Network(text.to_owned()));
    let trusted = networks.iter().filter_map(|given| parsed(given, network, report));
    let trusted = TrustedProxies::new(trusted.map(|given| given.value).collect());
    if !is_on {
        return None;
    }
    if networks.is_empty() {
        report.error(&section.at("proxy_protocol"), ConfigErrorKind::NoTrustedProxies);
    }
    if matches!(address, Some(ListenAddress::Unix(_))) {
        report.error(&section.at("proxy_protocol"), ConfigErrorKind::UnixProxyProtocol);
    }
    Some(Arc::new(trusted))
}
