//! `/metrics`: counts and the states of credentials, as OpenMetrics text. No label comes from a request or a key.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::credentials::{Stage, Status, endpoints};
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
    credentials(registry.sub_registry_with_prefix("credential"), sources, now);
    let mut text = String::new();
    // A String takes everything.
    let _ = encode(&mut text, &registry);
    text
}

fn credentials(registry: &mut Registry, sources: &[Status], now: Timestamp) {
    let (state, expiry) = (Family::<Labels, Gauge>::default(), Family::<Labels, Gauge>::default());
    let (generation, waiting) = (Family::<Labels, Gauge>::default(), Family::<Labels, Gauge>::default());
    let refresh = Family::<Labels, Counter>::default();
    let (rejected, changes) = (Family::<Labels, Counter>::default(), Family::<Labels, Counter>::default());
    let circuit = Family::<Labels, Gauge>::default();
    for (endpoint, is_left_alone) in endpoints() {
        circuit.get_or_create(&vec![("endpoint", endpoint)]).set(i64::from(is_left_alone));
    }
    registry.register("circuit_state", "1 while a service that gives credentials is left alone", circuit);
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
        rejected.get_or_create(&plain).inc_by(source.rejected);
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
    registry.register("rejected", "How often OSS has refused what the source gave", rejected);
    registry.register("identity_changes", "How often somebody else signed than before", changes);
}
