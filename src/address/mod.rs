//! Request addressing: maps host and path to bucket, key and upstream, and those to the request
//! line and Host sent to OSS. Pure: no IO, no clock. The path is never normalised.

mod asked_host;
mod endpoint;
mod host;
mod local_request;
mod locate;
mod locate_error;
mod oss_endpoint;
mod pattern;
mod resolved_endpoint;
mod routing_table;
mod served_host;
mod service;

pub use endpoint::Endpoint;
pub(crate) use endpoint::InvalidEndpoint;
pub use endpoint::UrlScheme;
pub use host::Host;
pub(crate) use host::Port;
pub(crate) use local_request::{ListenerReach, PageRequest};
pub use locate::LocatedObject;
pub(crate) use locate_error::LocateError;
pub(crate) use oss_endpoint::{EndpointKind, OssEndpoint, OssName};
pub(crate) use pattern::{InvalidPattern, NamePattern};
pub use resolved_endpoint::ResolvedEndpoint;
pub use routing_table::BucketAddressing;
pub use routing_table::RoutingTable;
pub use routing_table::UpstreamAddress;
pub(crate) use routing_table::{RouteMatch, UpstreamId};
pub use served_host::ListenerNames;
pub(crate) use service::{ServiceFamily, ServiceName};

#[cfg(test)]
mod table_tests;
