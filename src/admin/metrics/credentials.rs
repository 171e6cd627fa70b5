//! Metrics of credentials: the state of sources, the results of requests, and the endpoints that
//! the sources call.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::super::process::AdminProcess;
use super::exposition::{MetricLabels, MetricValues, counter, gauge, histogram, signed};
use crate::credentials::{CredentialState, EndpointStatus, ProvideError, SourceStatus};
use crate::time::Timestamp;

/// A snapshot of the state of credentials.
#[derive(Debug)]
pub(super) struct CredentialMetrics {
    now: Timestamp,
    sources: Vec<SourceStatus>,
    endpoints: Vec<EndpointStatus>,
    /// The offset of the clock of each service, in seconds.
    clocks: BTreeMap<String, i64>,
}

impl CredentialMetrics {
    /// Takes a snapshot of the sources and of the services that they call.
    pub(super) fn take(process: &dyn AdminProcess) -> Self {
        let services = process.services();
        Self {
            now: process.now(),
            sources: process.sources(),
            endpoints: services.endpoints(),
            clocks: services.clocks().snapshot(),
        }
    }

    /// Encodes all metrics of credentials.
    pub(super) fn encode(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        services(&self.endpoints, &self.clocks, out)?;
        states(&self.sources, self.now, out)?;
        served(&self.sources, out)?;
        counts(&self.sources, out)
    }
}

/// Encodes the metrics of credential endpoints.
fn services(
    endpoints: &[EndpointStatus],
    clocks: &BTreeMap<String, i64>,
    out: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let labels = |endpoint: &'_ EndpointStatus| vec![("endpoint", endpoint.name.clone())];
    let named: Vec<_> = endpoints.iter().map(labels).collect();
    let named: Vec<MetricLabels<'_>> = named.iter().map(|labels| borrowed(labels)).collect();
    let circuit = endpoints.iter().map(|endpoint| i64::from(endpoint.is_circuit_open));
    let help = "1 while the circuit breaker of a credential service is open";
    gauge(out, "credential_circuit_state", help, named.iter().cloned().zip(circuit).collect())?;
    let help = "Time that calls to a credential service waited for the rate limit";
    let waits = endpoints.iter().map(|endpoint| &endpoint.budget_wait);
    histogram(out, "sts_budget_wait", help, &named.into_iter().zip(waits).collect::<Vec<_>>())?;
    let offsets = clocks.iter().map(|(name, ahead_s)| (vec![("endpoint", name.as_str())], *ahead_s));
    let help = "How far the clock of a service was ahead of the local one in its last response";
    gauge(out, "clock_offset_seconds", help, offsets.collect())
}

fn borrowed<'a>(labels: &'a [(&'static str, String)]) -> MetricLabels<'a> {
    labels.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn states(sources: &[SourceStatus], now: Timestamp, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut state = MetricValues::new();
    let mut expiry = MetricValues::new();
    for source in sources {
        let name = ("source", source.name.as_str());
        for stage in CredentialState::ALL {
            state.push((vec![name, ("state", stage.name())], i64::from(stage == source.stage)));
        }
        if let Some(expires) = source.expires {
            let provider = source.provider.as_deref().unwrap_or_default();
            expiry.push((vec![name, ("provider", provider)], expires.unix_s() - now.unix_s()));
        }
    }
    gauge(out, "credential_state", "1 for the current state of the credential provider", state)?;
    gauge(out, "credential_expiry_seconds", "Remaining lifetime of the credentials", expiry)
}

/// Encodes the state of credentials at signing, and the waits and refreshes with their durations.
fn served(sources: &[SourceStatus], out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut requests = MetricValues::new();
    let mut refreshed = MetricValues::new();
    let mut waits = Vec::new();
    let mut refreshes = Vec::new();
    for source in sources {
        let name = ("source", source.name.as_str());
        for (stage, count) in source.served {
            requests.push((vec![name, ("state", stage.name())], count));
        }
        waits.push((vec![name], &source.waits));
        for (result, noted) in &source.refreshes {
            refreshes.push((vec![name, ("result", *result)], noted));
        }
        refreshed.push((vec![name, ("result", "ok")], source.generation));
        for kind in ProvideError::KINDS {
            let count = source.failed.get(kind).copied().unwrap_or_default();
            refreshed.push((vec![name, ("result", "failed"), ("kind", kind)], count));
        }
    }
    let help = "Requests by the state of the credentials that signed them; empty and expired got 503";
    counter(out, "credential_served", help, requests)?;
    counter(out, "credential_refresh", "Refresh attempts by result", refreshed)?;
    let help = "Time that requests waited for the credential provider";
    histogram(out, "credential_wait", help, &waits)?;
    let help = "Duration of refresh attempts by result";
    histogram(out, "credential_refresh", help, &refreshes)
}

fn counts(sources: &[SourceStatus], out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let counts = |of: fn(&SourceStatus) -> u64| {
        sources.iter().map(|source| (vec![("source", source.name.as_str())], of(source))).collect()
    };
    let gauges = |of: fn(&SourceStatus) -> i64| {
        sources.iter().map(|source| (vec![("source", source.name.as_str())], of(source))).collect()
    };
    let generation = gauges(|source| signed(source.generation));
    gauge(
        out,
        "credential_generation",
        "Number of times the credential provider has returned credentials",
        generation,
    )?;
    let waiting = gauges(|source| i64::try_from(source.waiting).unwrap_or(i64::MAX));
    gauge(out, "credential_waiters", "Requests waiting for the credential provider", waiting)?;
    let asking = gauges(|source| source.asking_for.map_or(0, |asking| signed(asking.as_secs())));
    let help = "Duration of the refresh attempt in progress; 0 without one";
    gauge(out, "credential_attempt_seconds", help, asking)?;
    let answered = gauges(|source| i64::from(source.has_answered));
    gauge(
        out,
        "credential_answered",
        "0 until the credential provider has responded once, with or without success",
        answered,
    )?;
    let rejected = sources.iter().flat_map(|source| {
        let name = ("source", source.name.as_str());
        source.rejected.iter().map(move |(code, count)| (vec![name, ("code", *code)], *count))
    });
    let help = "Number of times OSS rejected the credentials, by error code";
    counter(out, "credential_rejected", help, rejected.collect())?;
    let changes = counts(|source| source.identity_changes);
    counter(out, "credential_identity_changes", "Number of times the signing identity changed", changes)
}
