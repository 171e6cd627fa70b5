//! The properties of a request that conditions of a policy test.

use std::net::IpAddr;

use crate::time::Timestamp;

/// The properties of a request that conditions test.
#[derive(Clone, Debug)]
pub(crate) struct RequestFacts<'a> {
    /// The origin of the request.
    pub(crate) origin: RequestOrigin<'a>,
    /// The region of the route; empty if the route has none.
    pub(crate) region: &'a str,
    /// `User-Agent`.
    pub(crate) user_agent: Option<&'a str>,
    /// The prefix of a listing. A listing without a prefix has an empty one.
    pub(crate) prefix: Option<&'a str>,
    /// The delimiter of a listing.
    pub(crate) delimiter: Option<&'a str>,
    /// `x-oss-acl`.
    pub(crate) bucket_acl: Option<&'a str>,
    /// `x-oss-object-acl`.
    pub(crate) object_acl: Option<&'a str>,
    /// `x-oss-tagging`, decoded.
    pub(crate) tags: Vec<ObjectTag>,
}

/// A tag that a request gives to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectTag {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// The time and the client of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestOrigin<'a> {
    /// The name of the caller.
    pub(crate) caller: &'a str,
    /// The address of the client; `None` on a Unix socket.
    pub(crate) address: Option<IpAddr>,
    /// Whether the client uses TLS.
    pub(crate) secure: bool,
    /// The current time.
    pub(crate) now: Timestamp,
}
