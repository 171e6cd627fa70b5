//! `/metrics`: counters and the state of credential sources as OpenMetrics text. No label comes
//! from a request or a key.

mod credentials;
mod exposition;
mod key_sets;
mod scrape;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::process::AdminProcess;
use scrape::MetricsScrape;

/// Returns the OpenMetrics text.
pub(super) fn text(process: &dyn AdminProcess) -> String {
    let mut registry = Registry::with_prefix("oss_proxy");
    registry.register_collector(Box::new(MetricsScrape::take(process)));
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = encode(&mut text, &registry);
    text
}
