//! The parts of a request that the access policy depends on.

use http::{HeaderMap, Method};

use crate::caller::CallerIdentity;
use crate::oss::{Bucket, Operation, Query};

/// The kind of host that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedHost {
    /// A name configured by the operator, so that its requests are meant for this proxy.
    SetUp,
    /// An IP address, `localhost`, or an OSS endpoint name.
    Other,
}

/// The parts of a request that the policy depends on.
#[derive(Clone, Copy, Debug)]
pub struct RequestShape<'a> {
    /// The identity of the client.
    pub caller: &'a CallerIdentity,
    /// The operation.
    pub operation: Operation,
    /// The kind of host that the request names.
    pub host: NamedHost,
    /// The method.
    pub method: &'a Method,
    /// The query parameters.
    pub query: &'a Query,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The only bucket that may be named, if the upstream is fixed to one.
    pub pin: Option<&'a Bucket>,
}
