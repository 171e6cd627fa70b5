//! Request addressing: maps host and path to bucket, key and upstream, and these to the request
//! line and Host that are sent to OSS. Pure: no IO, no clock. The path is never normalised.

mod asked_host;
mod endpoint;
mod host;
mod locate;
mod locate_error;
mod oss_endpoint;
mod pattern;
mod resolved_endpoint;
mod routing_table;
mod served_host;
mod service;

pub use endpoint::{Endpoint, InvalidEndpoint, UrlScheme};
pub use host::{Host, Port};
pub use locate::LocatedObject;
pub use locate_error::LocateError;
pub use oss_endpoint::{EndpointKind, OssEndpoint, OssName};
pub use pattern::{InvalidPattern, NamePattern};
pub use resolved_endpoint::ResolvedEndpoint;
pub use routing_table::{BucketAddressing, RouteMatch, RoutingTable, UpstreamAddress, UpstreamId};
pub use served_host::ListenerNames;
pub use service::{ServiceFamily, ServiceName};

#[cfg(test)]
mod table_tests;
