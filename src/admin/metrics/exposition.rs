//! The OpenMetrics families: counters, gauges and histograms, written with their labels.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::histogram::HistogramSnapshot;

/// The names and values of labels.
pub(super) type MetricLabels<'a> = Vec<(&'static str, &'a str)>;

/// The values of a metric, each with its labels.
pub(super) type MetricValues<'a, T> = Vec<(MetricLabels<'a>, T)>;

pub(super) fn counter(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: MetricValues<'_, u64>,
) -> fmt::Result {
    let encoder = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    family(encoder, values, |value, out| ConstCounter::new(value).encode(out))
}

/// Encodes a counter of bytes, whose name ends with the unit.
pub(super) fn byte_counter(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: MetricValues<'_, u64>,
) -> fmt::Result {
    let encoder = out.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Counter)?;
    family(encoder, values, |value, out| ConstCounter::new(value).encode(out))
}

pub(super) fn gauge(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: MetricValues<'_, i64>,
) -> fmt::Result {
    let encoder = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
    family(encoder, values, |value, out| ConstGauge::new(value).encode(out))
}

/// Encodes a histogram in seconds.
pub(super) fn histogram(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &[(MetricLabels<'_>, &HistogramSnapshot)],
) -> fmt::Result {
    let mut encoder = out.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for (labels, durations) in values {
        let mut out = encoder.encode_family(labels)?;
        out.encode_histogram::<NoLabelSet>(durations.sum_s(), durations.count(), &durations.buckets(), None)?;
    }
    Ok(())
}

/// Encodes the values of a family. A value without labels is the only one.
fn family<T>(
    mut encoder: MetricEncoder<'_>,
    values: MetricValues<'_, T>,
    encode: impl Fn(T, MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    for (labels, value) in values {
        if labels.is_empty() {
            return encode(value, encoder);
        }
        encode(value, encoder.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Converts a count to the type of gauges.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
