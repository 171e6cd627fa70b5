//! What may be asked: the decision that stands before every signature. Pure.

mod pin;

use http::header::ORIGIN;
use http::{HeaderMap, Method};

pub use pin::PinBreach;

use crate::caller::Caller;
use crate::oss::{Access, Bucket, Operation, Query};

/// What a listener allows.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Policy {
    /// Which operations.
    pub operations: Operations,
    /// Origins of web pages that may ask, as browsers write them: `https://app.example.com`.
    pub allowed_origins: Vec<String>,
    /// What is done with requests that must not be signed.
    pub unsigned: Unsigned,
}

/// Which operations are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Operations {
    /// All.
    #[default]
    All,
    /// GET, HEAD and listing.
    ReadOnly,
}

/// What is done with form uploads and preflights: their credentials, if any, are not in headers, so a signature of ours would
/// turn an anonymous question into one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Unsigned {
    /// They are refused.
    #[default]
    Refuse,
    /// They are passed on without a signature.
    Pass,
}

/// The parts of a request that policy decides by.
#[derive(Clone, Copy, Debug)]
pub struct RequestShape<'a> {
    /// The caller.
    pub caller: Caller,
    /// The operation.
    pub operation: Operation,
    /// The method.
    pub method: &'a Method,
    /// The parameters.
    pub query: &'a Query,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The only bucket that may be named, where the upstream is fixed to one.
    pub pin: Option<&'a Bucket>,
}

/// What policy says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be signed.
    Sign,
    /// It may be passed on, but never signed.
    PassUnsigned,
    /// It may not.
    Deny(Denial),
}

/// Why a request is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The listener is read-only.
    #[error("this listener is read-only, and {0:?} writes")]
    ReadOnly(Operation),
    /// A web page asks.
    #[error(
        "requests of web pages from other origins are refused; add the page's origin to `allowed_origins` of the listener"
    )]
    Browser,
    /// A form upload.
    #[error(
        "form uploads carry their credentials in the body and cannot be signed; use PUT, or set `unsigned_forms` to pass them as they are"
    )]
    PostForm,
    /// A preflight.
    #[error("a preflight carries no credentials and is not signed; set `unsigned_forms` to pass it as it is")]
    Preflight,
    /// Another bucket than the pinned one is named, or could be.
    #[error(transparent)]
    Pinned(#[from] PinBreach),
}

impl Policy {
    /// Decides about a request. Nobody is known by name in this build, so the caller does not matter yet.
    #[must_use]
    pub fn decide(&self, request: &RequestShape<'_>) -> Decision {
        let (Caller::Open, operation) = (request.caller, request.operation);
        if self.is_foreign_page(request.headers) {
            return Decision::Deny(Denial::Browser);
        }
        if let Some(breach) = request.pin.and_then(|pin| pin::check(pin, request).err()) {
            return Decision::Deny(breach.into());
        }
        match (operation, self.operations, self.unsigned) {
            (Operation::PostObject, Operations::All, Unsigned::Pass) => Decision::PassUnsigned,
            (Operation::Preflight, _, Unsigned::Pass) => Decision::PassUnsigned,
            (Operation::PostObject, _, _) => Decision::Deny(Denial::PostForm),
            (Operation::Preflight, _, _) => Decision::Deny(Denial::Preflight),
            (_, Operations::ReadOnly, _) if operation.access() == Access::Write => {
                Decision::Deny(Denial::ReadOnly(operation))
            }
            _ => Decision::Sign,
        }
    }

    /// Whether a browser says that a page of another origin asks, and the origin is not allowed.
    fn is_foreign_page(&self, headers: &HeaderMap) -> bool {
        let allowed = |origin: &[u8]| {
            self.allowed_origins.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(origin))
        };
        let (mut named, mut foreign, mut cross_site) = (false, false, false);
        for (name, value) in headers {
            if *name == ORIGIN {
                named = true;
                foreign |= !allowed(value.as_bytes());
            } else if name.as_str() == SEC_FETCH_SITE {
                cross_site |= value.as_bytes() == b"cross-site";
            }
        }
        // Who names his origin is judged by it alone.
        if named { foreign } else { cross_site }
    }
}

/// Where a browser says from what page a request comes.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::{Decision, Denial, Operations, Policy, RequestShape, Unsigned};
    use crate::caller::Caller;
    use crate::oss::{Operation, Query};

    fn decide(
        policy: &Policy,
        operation: Operation,
        header: Option<(&'static str, &'static str)>,
    ) -> Decision {
        let line = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers: HeaderMap = header.into_iter().map(line).collect();
        let (method, query) = (&Method::GET, &Query::default());
        let shape =
            RequestShape { caller: Caller::Open, operation, method, query, headers: &headers, pin: None };
        policy.decide(&shape)
    }

    #[test]
    fn a_read_only_listener_lets_reads_pass() {
        let policy = Policy { operations: Operations::ReadOnly, ..Policy::default() };
        assert_eq!(decide(&policy, Operation::ListObjects, None), Decision::Sign);
        for operation in
            [Operation::PutObject, Operation::DeleteMultipleObjects, Operation::PostObjectSettings]
        {
            let denied = Decision::Deny(Denial::ReadOnly(operation));
            assert_eq!(decide(&policy, operation, None), denied);
        }
    }

    #[test]
    fn web_pages_of_other_origins_are_refused_unless_named() {
        let policy = Policy { allowed_origins: vec!["https://app.example".to_owned()], ..Policy::default() };
        let rows = [
            (("origin", "https://app.example"), Decision::Sign),
            (("origin", "https://evil.example"), Decision::Deny(Denial::Browser)),
            (("origin", "null"), Decision::Deny(Denial::Browser)),
            (("sec-fetch-site", "cross-site"), Decision::Deny(Denial::Browser)),
            (("sec-fetch-site", "none"), Decision::Sign),
        ];
        for (header, expected) in rows {
            assert_eq!(decide(&policy, Operation::GetObject, Some(header)), expected, "{header:?}");
        }
    }

    #[test]
    fn forms_and_preflights_are_never_signed() {
        for unsigned in [Unsigned::Refuse, Unsigned::Pass] {
            let policy = Policy { unsigned, ..Policy::default() };
            for operation in [Operation::PostObject, Operation::Preflight] {
                assert_ne!(decide(&policy, operation, None), Decision::Sign);
            }
        }
        let read_only =
            Policy { operations: Operations::ReadOnly, unsigned: Unsigned::Pass, ..Policy::default() };
        assert_eq!(decide(&read_only, Operation::PostObject, None), Decision::Deny(Denial::PostForm));
    }
}
