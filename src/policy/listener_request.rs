//! The parts of a request that the policy of a listener depends on.

use http::{HeaderMap, Method};

use super::caller_rights::CallerRights;
use crate::oss::{Bucket, Operation, Query};

/// The kind of host that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedHost {
    /// A name configured by the operator, so that its requests are meant for this proxy.
    SetUp,
    /// An IP address, `localhost`, or an OSS endpoint name.
    Other,
}

/// The proof of identity of a request, as far as the policy of a listener depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientProof {
    /// A proof in the request itself, or none.
    Explicit,
    /// A proof that browsers add by themselves, also for pages of other sites.
    Ambient,
    /// A preflight that names the caller of the request after it.
    Announced,
}

/// The parts of a request that the policy of a listener depends on.
#[derive(Clone, Copy, Debug)]
pub struct ListenerRequest<'a> {
    /// The rights of the caller; `None` if the configuration has no callers.
    pub rights: Option<&'a CallerRights>,
    /// The proof of identity.
    pub proof: ClientProof,
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
