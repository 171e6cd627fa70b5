//! Metrics of the keys of token issuers.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::exposition::{MetricValues, counter, gauge, signed};
use crate::jwks::KeySetStatus;

/// Encodes the number of keys, the time since they were fetched, and the fetches by result.
pub(super) fn encode(all: &[KeySetStatus], out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut counts = MetricValues::new();
    let mut ages = MetricValues::new();
    let mut fetches = MetricValues::new();
    for KeySetStatus { issuer, keys, age, successes, failures } in all {
        let name = ("issuer", issuer.as_str());
        counts.push((vec![name], i64::try_from(*keys).unwrap_or(i64::MAX)));
        ages.extend(age.map(|age| (vec![name], signed(age.as_secs()))));
        fetches.push((vec![name, ("result", "ok")], *successes));
        fetches.push((vec![name, ("result", "failed")], *failures));
    }
    gauge(out, "jwks_keys", "Usable keys of a token issuer; 0 before the first fetch", counts)?;
    let help = "Time since the keys of a token issuer were last fetched; absent before the first fetch";
    gauge(out, "jwks_age_seconds", help, ages)?;
    counter(out, "jwks_fetches", "Fetches of the keys of a token issuer by result", fetches)
}
