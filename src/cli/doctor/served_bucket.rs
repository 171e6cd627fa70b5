//! The upstream that the bucket of `--bucket` is routed to.

use http::{HeaderMap, HeaderValue, Method, Uri, header};

use super::super::exit::CommandExit;
use super::fault::FaultKind;
use super::report::Finding;
use crate::address::{ListenerNames, LocatedObject, UpstreamId, UrlScheme};
use crate::config::ProxyConfig;
use crate::oss::Bucket;

/// A bucket with the upstream that its requests are routed to.
pub(super) struct ServedBucket {
    pub(super) bucket: Bucket,
    pub(super) upstream: UpstreamId,
}

impl ServedBucket {
    /// Routes a request for the bucket of this name.
    pub(super) fn find(name: &str, config: &ProxyConfig) -> Result<Self, Finding> {
        let wrong = |text: String, remedy: &str| {
            Finding::fail("routing", FaultKind::BucketNotServed, CommandExit::Config, text, remedy)
        };
        let bucket =
            Bucket::parse(name).map_err(|error| wrong(error.to_string(), "name an existing bucket"))?;
        let uri: Uri = format!("/{bucket}?bucketInfo").parse().unwrap_or_default();
        let headers: HeaderMap =
            [(header::HOST, HeaderValue::from_static("localhost"))].into_iter().collect();
        let listener_names =
            ListenerNames { domains: &[], scheme: UrlScheme::Http, unnamed: false, address: None };
        let located =
            LocatedObject::find(&Method::GET, &uri, &headers, (listener_names, &config.routing_table));
        let remedy = "name the configured bucket, or add a route with match.bucket";
        match located {
            Ok(LocatedObject { bucket: Some(found), upstream, .. }) if found == bucket => {
                Ok(Self { bucket, upstream })
            }
            Ok(LocatedObject { bucket: Some(pin), .. }) => {
                Err(wrong(format!("the configuration serves only the bucket {pin}, not {bucket}"), remedy))
            }
            Ok(_) => Err(wrong(format!("no upstream serves {bucket}"), remedy)),
            Err(error) => Err(wrong(error.to_string(), remedy)),
        }
    }
}
