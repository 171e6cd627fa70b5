//! The snapshot that one scrape of `/metrics` exports.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::super::certificate::ListenerCertificate;
use super::super::process::{AdminProcess, AdminRoute};
use super::credentials::CredentialMetrics;
use super::exposition::{MetricValues, byte_counter, counter, gauge, histogram, signed};
use super::key_sets;
use crate::histogram::HistogramSnapshot;
use crate::jwks::KeySetStatus;
use crate::oss::Operation;
use crate::telemetry::{
    AuditStatus, CallerSnapshot, ClientConnectionCounts, DroppedLineCount, MetricsSnapshot,
    OperationSnapshot, RejectionCode, ReloadStatus, RequestCounts,
};
use crate::transport::PoolStatsSnapshot;

/// A snapshot of everything that is exported.
#[derive(Debug)]
pub(super) struct MetricsScrape {
    ready: bool,
    counts: RequestCounts,
    /// The number of rejected requests by error code.
    refusals: BTreeMap<RejectionCode, u64>,
    reloads: ReloadStatus,
    connections: ClientConnectionCounts,
    /// The connections closed because of the PROXY protocol, by reason.
    proxy_rejections: [(&'static str, u64); 2],
    total: MetricsSnapshot,
    callers: Vec<CallerSnapshot>,
    broken_callers_files: u64,
    upstream: Vec<PoolStatsSnapshot>,
    credentials: CredentialMetrics,
    key_sets: Vec<KeySetStatus>,
    routes: Vec<AdminRoute>,
    certificates: Vec<ListenerCertificate>,
    log_losses: Vec<DroppedLineCount>,
    audit: Option<AuditStatus>,
}

impl Collector for MetricsScrape {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        self.process(&mut out)?;
        self.requests(&mut out)?;
        self.upstream(&mut out)?;
        self.credentials.encode(&mut out)?;
        key_sets::encode(&self.key_sets, &mut out)
    }
}

impl MetricsScrape {
    /// Takes a snapshot of the process.
    pub(super) fn take(process: &dyn AdminProcess) -> Self {
        let counters = process.counters();
        Self {
            ready: process.ready().is_ok(),
            counts: counters.requests(),
            refusals: counters.refusals(),
            reloads: counters.reloads(),
            connections: counters.connections(),
            proxy_rejections: counters.proxy_rejections.counts(),
            total: counters.total(),
            callers: counters.callers(),
            broken_callers_files: counters.broken_callers_files(),
            upstream: process.upstream(),
            credentials: CredentialMetrics::take(process),
            key_sets: process.key_sets(),
            routes: process.routes(),
            certificates: process.certificates(),
            log_losses: process.log_losses(),
            audit: process.audit(),
        }
    }

    fn process(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        gauge(out, "build_info", "1, labelled with the version", vec![(version, 1)])?;
        gauge(
            out,
            "ready",
            "1 while requests should be sent to this proxy",
            vec![(Vec::new(), i64::from(self.ready))],
        )?;
        let ReloadStatus { taken, failed, last, at } = self.reloads;
        let results = vec![(vec![("result", "taken")], taken), (vec![("result", "refused")], failed)];
        counter(out, "config_reload", "Configuration reloads by result", results)?;
        let last = i64::from(last != Some(false));
        gauge(out, "config_last_reload_successful", "0 if the last reload failed", vec![(Vec::new(), last)])?;
        if let Some(at) = at {
            let since = vec![(Vec::new(), at.unix_s())];
            gauge(
                out,
                "config_since_timestamp_seconds",
                "When the current configuration was applied",
                since,
            )?;
        }
        let broken = vec![(Vec::new(), signed(self.broken_callers_files))];
        let help = "Files of callers that cannot be used; each keeps its previous callers";
        gauge(out, "config_broken_callers_files", help, broken)?;
        let losses = self.log_losses.iter().map(|lost| (vec![("reason", lost.reason)], lost.count));
        counter(out, "log_lines_dropped", "Dropped log lines", losses.collect())?;
        if let Some(AuditStatus { written, dropped, is_failing }) = self.audit {
            let results =
                vec![(vec![("result", "written")], written), (vec![("result", "dropped")], dropped)];
            counter(out, "audit_records", "Records of the audit log by result", results)?;
            let failing = vec![(Vec::new(), i64::from(is_failing))];
            gauge(out, "audit_failing", "1 while the audit log cannot be written", failing)?;
        }
        let ClientConnectionCounts { opened, closed } = self.connections;
        counter(out, "client_connections_opened", "Client connections accepted", vec![(Vec::new(), opened)])?;
        let open = vec![(Vec::new(), signed(opened - closed))];
        gauge(out, "client_connections", "Client connections open", open)?;
        let rejections = self.proxy_rejections.map(|(reason, count)| (vec![("reason", reason)], count));
        let help = "Connections closed because of the PROXY protocol: untrusted peers, and invalid headers";
        counter(out, "proxy_protocol_rejected", help, rejections.into())?;
        let expiry = |certificate: &'_ ListenerCertificate| certificate.expires.unix_s();
        let certificates = self.certificates.iter();
        let expiries = certificates.map(|one| (vec![("listener", one.listener.as_str())], expiry(one)));
        let help = "When the certificate of a listener expires";
        gauge(out, "listener_certificate_expiry_timestamp_seconds", help, expiries.collect())
    }

    fn requests(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let RequestCounts { read, rejected, own_answers, malformed, unframed } = self.counts;
        for (name, help, count) in [
            ("requests", "Requests whose head was read", read),
            ("refused", "Requests answered with an error from the proxy", rejected),
            ("answered", "Requests answered by the proxy without an error, and not forwarded", own_answers),
            ("malformed", "Connections closed because of malformed HTTP", malformed),
            (
                "unframed",
                "Upstream responses with neither a length nor chunked coding, on plain TCP",
                unframed,
            ),
        ] {
            counter(out, name, help, vec![(Vec::new(), count)])?;
        }
        let refusals =
            self.refusals.iter().map(|(code, count)| (vec![("code", code.as_str())], *count)).collect();
        counter(out, "refusals", "Requests answered with an error from the proxy, by error code", refusals)?;
        let MetricsSnapshot { operations, bytes_in, bytes_out, in_flight, signed_v4, signed_v1 } =
            &self.total;
        let mut ended = MetricValues::new();
        for row in operations {
            for (outcome, count) in row.outcomes.iter().filter(|(_, count)| *count > 0) {
                ended.push((vec![("operation", name(row)), ("status", outcome.name())], *count));
            }
        }
        let help = "Requests that have ended, by operation and status class; broken if the upstream failed during the response, cut if the drain timed out, none if the client disconnected first";
        counter(out, "requests_ended", help, ended)?;
        gauge(
            out,
            "requests_in_flight",
            "Requests that have not ended",
            vec![(Vec::new(), signed(*in_flight))],
        )?;
        let each = |of: fn(&OperationSnapshot) -> &HistogramSnapshot| {
            operations.iter().map(|row| (vec![("operation", name(row))], of(row))).collect::<Vec<_>>()
        };
        let durations = each(|row| &row.duration);
        histogram(
            out,
            "request_duration",
            "From the end of the request head to the end of the response",
            &durations,
        )?;
        let first = each(|row| &row.first_byte);
        histogram(out, "first_byte", "From the end of the request head to the response head", &first)?;
        let bytes = vec![(vec![("direction", "in")], *bytes_in), (vec![("direction", "out")], *bytes_out)];
        let body = "Body bytes: in from clients, counted when the request ends; out to clients, counted as they are sent";
        byte_counter(out, "body", body, bytes)?;
        self.callers(out)?;
        let signatures =
            vec![(vec![("signature", "v4")], *signed_v4), (vec![("signature", "v1")], *signed_v1)];
        counter(out, "signed", "Signed requests", signatures)
    }

    fn callers(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut ended = MetricValues::new();
        let mut rejected = MetricValues::new();
        let mut bytes = MetricValues::new();
        let mut limited = MetricValues::new();
        let mut waiting = MetricValues::new();
        for snapshot in &self.callers {
            let CallerSnapshot { caller, outcomes, bytes_in, bytes_out, .. } = snapshot;
            for (outcome, count) in outcomes.iter().filter(|(_, count)| *count > 0) {
                ended.push((vec![("caller", &**caller), ("status", outcome.name())], *count));
            }
            bytes.push((vec![("caller", &**caller), ("direction", "in")], *bytes_in));
            bytes.push((vec![("caller", &**caller), ("direction", "out")], *bytes_out));
            limited.push((vec![("caller", &**caller)], snapshot.limited));
            waiting.push((vec![("caller", &**caller)], signed(snapshot.waiting)));
            rejected.push((vec![("caller", &**caller)], snapshot.rejected_claims));
        }
        let help = "Requests of callers that have ended, by status class as in requests_ended; callers beyond the first 200 are counted as (other)";
        counter(out, "caller_requests_ended", help, ended)?;
        let help =
            "Rejected requests that named an access key id of the caller, and that any client may have sent";
        counter(out, "caller_requests_rejected", help, rejected)?;
        byte_counter(out, "caller_body", "Body bytes of requests of callers that have ended", bytes)?;
        let help = "Requests of callers that their limits rejected";
        counter(out, "caller_limited", help, limited)?;
        gauge(out, "caller_waiting", "Requests of callers that wait for their limits", waiting)
    }

    fn upstream(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let sum = |of: fn(&PoolStatsSnapshot) -> u64| self.upstream.iter().map(of).sum::<u64>();
        let dials = vec![
            (vec![("result", "ok")], sum(|stats| stats.dialled)),
            (vec![("result", "failed")], sum(|stats| stats.failed)),
            (vec![("result", "cancelled")], sum(|stats| stats.abandoned)),
        ];
        let help = "Attempts to connect to upstreams; cancelled if the client disconnected meanwhile";
        counter(out, "upstream_connects", help, dials)?;
        let reused = vec![(Vec::new(), sum(|stats| stats.reused))];
        counter(out, "upstream_reused", "Requests sent on a reused connection", reused)?;
        let repeated = vec![(Vec::new(), sum(|stats| stats.repeated))];
        counter(
            out,
            "upstream_repeated",
            "Requests that failed on a reused connection and were retried",
            repeated,
        )?;
        let connections = vec![
            (vec![("state", "in_use")], signed(sum(|stats| stats.in_use))),
            (vec![("state", "kept")], signed(sum(|stats| stats.idle))),
        ];
        gauge(out, "upstream_connections", "Connections to upstreams", connections)?;
        let waiting = vec![(Vec::new(), signed(sum(|stats| stats.waiting)))];
        gauge(out, "upstream_queue", "Requests waiting for an upstream connection", waiting)?;
        let errors = self
            .refusals
            .iter()
            .filter_map(|(code, count)| Some((vec![("reason", code.upstream_reason()?)], *count)));
        counter(out, "upstream_errors", "Requests without a response from the upstream", errors.collect())?;
        let mut routes = MetricValues::new();
        for route in &self.routes {
            let source = route.source.as_deref().unwrap_or("none");
            let labels = vec![
                ("route", route.name.as_str()),
                ("endpoint", route.endpoint.as_str()),
                ("source", source),
            ];
            routes.push((labels, 1));
        }
        gauge(out, "route_info", "1 for each route", routes)
    }
}

fn name(row: &OperationSnapshot) -> &'static str {
    row.operation.map_or("unknown", Operation::name)
}
