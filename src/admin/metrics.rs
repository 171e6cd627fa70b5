//! `/metrics`: counts and the states of credentials, as OpenMetrics text. No label comes from a request or a key.

use std::sync::atomic::AtomicU64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::credentials::{EndpointStatus, Noted, Stage, Status, clocks, endpoints};
use crate::time::Timestamp;

/// Names and values of labels.
type Labels = Vec<(&'static str, String)>;

/// The text that is scraped.
pub(super) fn text(counts: &[(&'static str, u64)], sources: &[Status], now: Timestamp) -> String {
    let mut registry = Registry::with_prefix("oss_proxy");
    for (name, count) in counts {
        let counter: Counter<u64, AtomicU64> = Counter::default();
        counter.inc_by(*count);
        registry.register(*name, format!("How many {name} there were"), counter);
    }
    let endpoints = endpoints();
    services(&mut registry, &endpoints);
    let registry_of_credentials = registry.sub_registry_with_prefix("credential");
    circuits(registry_of_credentials, endpoints);
    credentials(registry_of_credentials, sources, now);
    served(registry_of_credentials, sources);
    let mut text = String::new();
    // A String takes everything.
    let _ = encode(&mut text, &registry);
    text
}

/// How the services that give credentials are.
fn services(registry: &mut Registry, endpoints: &[EndpointStatus]) {
    let labels = |endpoint: &EndpointStatus| vec![("endpoint", endpoint.name.clone())];
    let waits = endpoints.iter().map(|endpoint| (labels(endpoint), endpoint.budget_wait.clone()));
    registry.register_collector(Box::new(Histograms {
        name: "sts_budget_wait",
        help: "How long calls to a service that gives credentials have waited for the budget",
        rows: waits.collect(),
    }));
    let clock = Family::<Labels, Gauge>::default();
    for (endpoint, ahead_s) in clocks() {
        clock.get_or_create(&vec![("endpoint", endpoint)]).set(ahead_s);
    }
    let help = "How far the clock of a service was ahead of ours when it last answered";
    registry.register_with_unit("clock_offset", help, Unit::Seconds, clock);
}

fn circuits(registry: &mut Registry, endpoints: Vec<EndpointStatus>) {
    let circuit = Family::<Labels, Gauge>::default();
    for endpoint in endpoints {
        circuit.get_or_create(&vec![("endpoint", endpoint.name)]).set(i64::from(endpoint.is_left_alone));
    }
    registry.register("circuit_state", "1 while a service that gives credentials is left alone", circuit);
}

/// What requests got, and how long it took.
fn served(registry: &mut Registry, sources: &[Status]) {
    let requests = Family::<Labels, Counter>::default();
    let (mut waits, mut refreshes) = (Vec::new(), Vec::new());
    for source in sources {
        let name = ("source", source.name.clone());
        for (stage, count) in source.served {
            let labels = vec![name.clone(), ("state", stage.name().to_owned())];
            requests.get_or_create(&labels).inc_by(count);
        }
        waits.push((vec![name.clone()], source.waits.clone()));
        for (result, noted) in &source.refreshes {
            refreshes.push((vec![name.clone(), ("result", (*result).to_owned())], noted.clone()));
        }
    }
    let help = "Requests by the state of what they were signed with; empty and expired were not";
    registry.register("served", help, requests);
    for (name, help, rows) in [
        ("wait", "How long requests have waited for the source", waits),
        ("refresh", "How long the source took, by what it came to", refreshes),
    ] {
        registry.register_collector(Box::new(Histograms { name, help, rows }));
    }
}

/// Durations by labels.
#[derive(Debug)]
struct Histograms {
    name: &'static str,
    help: &'static str,
    rows: Vec<(Labels, Noted)>,
}

impl Collector for Histograms {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let kind = MetricType::Histogram;
        let mut family = encoder.encode_descriptor(self.name, self.help, Some(&Unit::Seconds), kind)?;
        for (labels, Noted { sum_s, count, buckets }) in &self.rows {
            family.encode_family(labels)?.encode_histogram::<NoLabelSet>(*sum_s, *count, buckets, None)?;
        }
        Ok(())
    }
}

fn credentials(registry: &mut Registry, sources: &[Status], now: Timestamp) {
    let (state, expiry) = (Family::<Labels, Gauge>::default(), Family::<Labels, Gauge>::default());
    let (generation, waiting) = (Family::<Labels, Gauge>::default(), Family::<Labels, Gauge>::default());
    let refresh = Family::<Labels, Counter>::default();
    let (rejected, changes) = (Family::<Labels, Counter>::default(), Family::<Labels, Counter>::default());
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    for source in sources {
        let with = |more: Labels| -> Labels {
            std::iter::once(("source", source.name.clone())).chain(more).collect()
        };
        for stage in Stage::ALL {
            let is = i64::from(stage == source.stage);
            state.get_or_create(&with(vec![("state", stage.name().to_owned())])).set(is);
        }
        if let Some(expires) = source.expires {
            let provider = source.provider.as_deref().unwrap_or_default().to_owned();
            expiry.get_or_create(&with(vec![("provider", provider)])).set(expires.unix_s() - now.unix_s());
        }
        let plain = with(Vec::new());
        generation.get_or_create(&plain).set(signed(source.generation));
        waiting.get_or_create(&plain).set(i64::try_from(source.waiting).unwrap_or(i64::MAX));
        for (code, count) in &source.rejected {
            rejected.get_or_create(&with(vec![("code", (*code).to_owned())])).inc_by(*count);
        }
        changes.get_or_create(&plain).inc_by(source.identity_changes);
        for (result, count) in [("ok", source.generation), ("failed", source.failed)] {
            refresh.get_or_create(&with(vec![("result", result.to_owned())])).inc_by(count);
        }
    }
    registry.register("state", "1 for the state that the source is in", state);
    registry.register_with_unit(
        "expiry",
        "How long what the source gave is still good",
        Unit::Seconds,
        expiry,
    );
    registry.register("generation", "How often the source has given something", generation);
    registry.register("waiters", "Requests that wait for the source", waiting);
    registry.register("refresh", "How often the source was asked, by what it came to", refresh);
    registry.register("rejected", "How often OSS has refused what the source gave, by its code", rejected);
    registry.register("identity_changes", "How often somebody else signed than before", changes);
}
