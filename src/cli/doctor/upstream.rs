//! Checks one upstream, from its name to a signed request. Each step requires the previous one.

use std::net::SocketAddr;
use std::sync::Arc;

use super::super::exit::CommandExit;
use super::super::explain::masked;
use super::connectivity;
use super::fault::FaultKind;
use super::interpret::{self, ProbeContext};
use super::probe::{ProbeError, ProbeRequest};
use super::report::{Finding, FindingLevel, ReportSection};
use super::upstream_signer::UpstreamSigner;
use crate::address::{UpstreamAddress, UpstreamId, UrlScheme};
use crate::app::build::to_upstreams;
use crate::app::system_env::SystemEnv;
use crate::config::{ProxyConfig, UpstreamSettings};
use crate::credentials::Credentials;
use crate::oss::Bucket;
use crate::proxy::SigningKeyError;
use crate::time::Clock as _;
use crate::transport::{
    InvalidRoots, TrustStore, TrustStoreEntry, TrustStoreId, UpstreamReachability, UpstreamTransport,
};

/// The upstream to check, and the findings so far.
struct UpstreamCheck<'a> {
    upstream: &'a UpstreamAddress,
    settings: &'a UpstreamSettings,
    question: ProbeRequest<'a>,
    findings: Vec<Finding>,
}

pub(super) async fn examine(
    config: &ProxyConfig,
    index: usize,
    bucket: Option<&Bucket>,
    signer: UpstreamSigner<'_>,
) -> ReportSection {
    let id = UpstreamId(index);
    let upstream = config.routing_table.get(id);
    let name = id.to_string();
    let endpoint = &upstream.endpoint;
    let scheme = endpoint.scheme.as_str();
    let region = upstream.region.as_ref().map_or("-", |region| region.as_str());
    let wanted = config.routing_table.wanted(id).map_or(String::new(), |wanted| format!("{wanted}  "));
    let about =
        format!("{wanted}{scheme}://{}:{}  region {region}", endpoint.host.bracketed(), endpoint.port);
    let Some(settings) = config.upstreams.get(index) else {
        return ReportSection { name, about, findings: Vec::new() };
    };
    let trust = match trust(upstream, settings) {
        Ok(trust) => trust,
        Err(error) => {
            let remedy = "set `ca_file` to the PEM file of the authority";
            let findings =
                vec![Finding::fail("tls", FaultKind::CaFile, CommandExit::Config, error.to_string(), remedy)];
            return ReportSection { name, about, findings };
        }
    };
    let own: Vec<SocketAddr> = config.listen.iter().filter_map(|listen| listen.address.socket()).collect();
    let mut limits = to_upstreams(&config.timeouts, &config.limits);
    limits.first_byte = limits.first_byte.min(RESPONSE_TIMEOUT);
    let transport = UpstreamTransport::new(limits, trust, Arc::new(UpstreamReachability::new(own.clone())));
    let bucket = upstream.pin.as_ref().or(bucket);
    let question = ProbeRequest::new(bucket, id, &config.routing_table, settings.signature, &transport);
    let mut examination = UpstreamCheck { upstream, settings, question, findings: Vec::new() };
    examination.run(&own, signer).await;
    ReportSection { name, about, findings: examination.findings }
}

/// Returns the trust store that the certificate is verified against. The list is empty without TLS.
fn trust(
    upstream: &UpstreamAddress,
    settings: &UpstreamSettings,
) -> Result<Vec<TrustStoreEntry>, InvalidRoots> {
    Ok(match (upstream.endpoint.scheme, &settings.ca_file) {
        (UrlScheme::Http, _) => Vec::new(),
        (UrlScheme::Https, Some(path)) => {
            vec![TrustStoreEntry { id: TrustStoreId(0), store: TrustStore::file(path)? }]
        }
        (UrlScheme::Https, None) => vec![TrustStoreEntry { id: TrustStoreId(0), store: TrustStore::host()? }],
    })
}

impl UpstreamCheck<'_> {
    /// Runs the checks in order, until one fails that the next one requires.
    async fn run(&mut self, own: &[SocketAddr], signer: UpstreamSigner<'_>) {
        let names = connectivity::names(&self.question.endpoint, self.upstream, own).await;
        if !self.record(names) {
            return;
        }
        let response = match self.question.unsigned().await {
            Ok(response) => response,
            Err(error) => {
                self.record(connectivity::unanswered(&error, &self.question.endpoint, self.upstream));
                return;
            }
        };
        self.record(Finding::ok("connect", self.connected()));
        if !self.record(interpret::manners(&response)) {
            return;
        }
        self.record(interpret::clocks(response.ahead_s));
        self.sign(signer).await;
    }

    fn connected(&self) -> String {
        let (name, port) = &self.question.endpoint.dial;
        match (self.question.endpoint.scheme, &self.settings.ca_file) {
            (UrlScheme::Http, _) => format!("connected to {name}:{port}, without TLS"),
            (UrlScheme::Https, None) => format!(
                "connected to {name}:{port}; the certificate is valid for {}, and this host trusts its authority",
                self.question.endpoint.name
            ),
            (UrlScheme::Https, Some(file)) => format!(
                "connected to {name}:{port}; the certificate is valid for {}, signed by an authority in {}",
                self.question.endpoint.name,
                file.display()
            ),
        }
    }

    async fn sign(&mut self, signer: UpstreamSigner<'_>) {
        let skipped = |text: String| {
            let remedy = "correct that first, then run doctor again";
            Finding::warn("signed", FaultKind::Skipped, text, remedy)
        };
        let source = match signer {
            UpstreamSigner::Source(source) => source,
            UpstreamSigner::Nobody => {
                let text = "requests are not signed (anonymous); no signed request was sent";
                self.record(Finding::ok("signed", text));
                return;
            }
            UpstreamSigner::Broken => {
                self.record(skipped(format!("its provider {:?} is not usable", self.settings.credentials)));
                return;
            }
        };
        let Ok(key) = source.get(SystemEnv.now()) else {
            self.record(skipped(format!("its provider {:?} has no credentials", source.name())));
            return;
        };
        if let Some(ahead_s) = self.ask(&key, 0).await {
            // Other faults show only if the signing time is right.
            self.ask(&key, ahead_s).await;
        }
    }

    /// Sends the signed request. Returns how far the clock of OSS is ahead, if OSS rejects the
    /// request for that reason.
    async fn ask(&mut self, key: &Arc<Credentials>, ahead_s: i64) -> Option<i64> {
        let answered = match self.question.signed(key, ahead_s).await {
            Ok(answered) => answered,
            Err(ProbeError::Send(error)) => {
                self.record(connectivity::unanswered(&error, &self.question.endpoint, self.upstream));
                return None;
            }
            Err(ProbeError::SigningKey(error @ SigningKeyError::Unsendable(_))) => {
                let remedy = "check id and token for line breaks and stray characters";
                let exit = CommandExit::Credentials;
                self.record(Finding::fail(
                    "signed",
                    FaultKind::UnsendableKey,
                    exit,
                    error.to_string(),
                    remedy,
                ));
                return None;
            }
            Err(ProbeError::SigningKey(error @ SigningKeyError::NoRegion)) => {
                let exit = CommandExit::Config;
                self.record(Finding::fail(
                    "signed",
                    FaultKind::NoRegion,
                    exit,
                    error.to_string(),
                    "set `region`",
                ));
                return None;
            }
        };
        let when = if ahead_s == 0 { "" } else { ", signed with the time of OSS," };
        let asked = ProbeContext {
            what: format!("{} by {}{when}", answered.what, masked(&key.id)),
            key,
            region: self.question.endpoint.region.as_ref(),
            endpoint: self.upstream.endpoint.host.as_str(),
        };
        let finding = interpret::judge(&answered, &asked);
        let is_clock = finding.fault == FaultKind::ClockSkewed && ahead_s == 0;
        self.record(finding);
        answered.response.ahead_s.filter(|_| is_clock)
    }

    /// Records a finding. Returns whether further checks are useful.
    fn record(&mut self, finding: Finding) -> bool {
        let may_continue = !matches!(finding.level, FindingLevel::Fail(_));
        self.findings.push(finding);
        may_continue
    }
}

/// The limit on the wait for a response. A fault should not delay the report any longer.
const RESPONSE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
