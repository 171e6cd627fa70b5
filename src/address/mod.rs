//! Where a request is for and where it goes: from the host and the path to bucket, key and upstream, and from there to the
//! request line and host that OSS is asked with. Pure: no IO, no clock. The path is never normalised.

mod asked_host;
mod directory;
mod endpoint;
mod host;
mod locate;
mod pattern;
mod place;
mod route;
mod service;

pub use directory::{Addressing, Directory, Match, Upstream, UpstreamId};
pub use endpoint::{Endpoint, InvalidEndpoint, Scheme};
pub use host::{Host, Port};
pub use locate::{Entrance, Located, Misdirected};
pub use pattern::{InvalidPattern, Pattern};
pub use place::{EndpointKind, OssName, Place};
pub use route::Way;
pub use service::{ServiceFamily, ServiceName};

#[cfg(test)]
mod table_tests;
