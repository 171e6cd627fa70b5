//! Access policy: the decision made before every signature. Pure.

mod allow_rule;
mod caller_rights;
#[cfg(test)]
mod decision_tests;
#[cfg(test)]
mod differential_tests;
mod document;
mod judgement;
mod listener_request;
mod permission;
mod pin;
mod request_facts;
mod session_document;
mod shape;

pub(crate) use allow_rule::{AllowRule, AllowedGroup, everything, read_only, translate};
pub use caller_rights::CallerRights;
pub(crate) use document::{DocumentFinding, DocumentOptions, InvalidDocument, PolicyDocument, find_mistakes};
use http::header::ORIGIN;
pub(crate) use judgement::{MissingPermission, PermissionDecision};
pub use listener_request::ClientProof;
pub use listener_request::ListenerRequest;
pub use listener_request::NamedHost;
pub(crate) use permission::{PermissionResource, RequiredPermission};
pub(crate) use pin::PinBreach;
pub(crate) use request_facts::{RequestFacts, RequestOrigin};
pub(crate) use shape::{NotUnderstood, RequestShape, ShapeInput};

use crate::oss::{AccessKind, Operation};

/// The access policy of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AccessPolicy {
    /// The allowed operations.
    pub(crate) operations: AllowedOperations,
    /// Origins of web pages that may send requests, as browsers write them:
    /// `https://app.example.com`.
    pub(crate) allowed_origins: Vec<String>,
    /// The handling of requests that must not be signed.
    pub(crate) unsigned: UnsignedForms,
    /// Whether the signatures of form uploads are verified and replaced.
    pub(crate) verified_forms: bool,
    /// Access of pages of any site to objects, at host names configured by the operator.
    pub(crate) cross_site_reads: CrossSiteReads,
}

/// Access of pages of other sites to objects without an `Origin`: images, scripts and links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum CrossSiteReads {
    /// Rejected.
    #[default]
    Reject,
    /// Allowed at host names configured by the operator.
    AllowByName,
}

/// The operations that a listener allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum AllowedOperations {
    /// All operations.
    #[default]
    All,
    /// GET, HEAD and listing.
    ReadOnly,
}

/// The handling of form uploads and preflights. Their credentials, if any, are not in headers. A
/// signature of the proxy would turn an anonymous request into an authenticated one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum UnsignedForms {
    /// Rejected.
    #[default]
    Refuse,
    /// Forwarded without a signature.
    Pass,
}

/// The decision of the policy about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyDecision {
    /// The request may be signed.
    Sign,
    /// The request may be signed if the rights of the caller grant all that it requires.
    Judge,
    /// The request may be forwarded, but not signed.
    PassUnsigned,
    /// The request is denied.
    Deny(DenyReason),
}

/// The reason why a request is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DenyReason {
    /// The caller has no rights.
    #[error("the caller may not use any operation; set `allow` of the caller")]
    NoRights,
    /// The caller may only read.
    #[error("the caller may only read; {0:?} is a write operation")]
    ReadOnlyCaller(Operation),
    /// The listener is read-only.
    #[error("this listener is read-only; {0:?} is a write operation")]
    ReadOnly(Operation),
    /// The request comes from a web page of another origin.
    #[error(
        "requests from web pages of other origins are rejected; add the page's origin to `allowed_origins` of the listener"
    )]
    Browser,
    /// The request comes from a web page without an origin, such as a file or a sandboxed frame.
    #[error(
        "requests from web pages without an origin (Origin: null) are rejected; serve the page from a site, and add its origin to `allowed_origins` of the listener"
    )]
    OpaqueOrigin,
    /// The request comes from a page of another site and has no `Origin`.
    #[error(
        "requests from pages of other sites without an Origin are rejected; for images, scripts and links, set `cross_site_reads` of the listener and use a name of its `domains` or of `match.host` of a route, not an address; for other requests, make the page send an Origin (CORS) that `allowed_origins` contains"
    )]
    CrossSite,
    /// The request is a form upload.
    #[error(
        "form uploads carry their credentials in the body and cannot be signed; use PUT, or set `verified_forms` to verify them, or `unsigned_forms` to forward them unsigned"
    )]
    PostForm,
    /// The request is a preflight.
    #[error(
        "preflight requests carry no credentials and are not signed; set `unsigned_forms` to forward them unsigned"
    )]
    Preflight,
    /// The request names, or could name, a bucket other than the pinned one.
    #[error(transparent)]
    Pinned(#[from] PinBreach),
}

impl AccessPolicy {
    /// Decides whether a request may be signed.
    #[must_use]
    pub fn decide(&self, request: &ListenerRequest<'_>) -> PolicyDecision {
        let operation = request.operation;
        // guard: caller-without-rights
        if request.rights.is_some_and(CallerRights::is_empty) {
            return PolicyDecision::Deny(DenyReason::NoRights);
        }
        // guard: pages-of-other-sites
        if let Some(denial) = self.foreign_page(request) {
            return PolicyDecision::Deny(denial);
        }
        if let Some(breach) = request.pin.and_then(|pin| pin::check(pin, request).err()) {
            return PolicyDecision::Deny(breach.into());
        }
        let is_unrestricted = request.rights.is_none_or(CallerRights::is_unrestricted);
        let announces_url = request.proof == ClientProof::Announced;
        // The caller of a form is identified by the signature in it.
        let is_verified_form = self.verified_forms && request.rights.is_some();
        match (operation, self.operations, self.unsigned) {
            (Operation::PostObject, AllowedOperations::All, UnsignedForms::Pass)
                if is_unrestricted && !is_verified_form =>
            {
                PolicyDecision::PassUnsigned
            }
            (Operation::Preflight, _, UnsignedForms::Pass) => PolicyDecision::PassUnsigned,
            // The bucket has the rules of OSS for other origins. `foreign_page` has checked this one.
            // guard: preflight-has-origin
            (Operation::Preflight, _, _) if announces_url && request.headers.contains_key(ORIGIN) => {
                PolicyDecision::PassUnsigned
            }
            // guard: form-is-not-signed
            (Operation::PostObject, _, _) if !is_verified_form => PolicyDecision::Deny(DenyReason::PostForm),
            (Operation::Preflight, _, _) => PolicyDecision::Deny(DenyReason::Preflight),
            // guard: read-only
            (_, AllowedOperations::ReadOnly, _) if operation.access() == AccessKind::Write => {
                PolicyDecision::Deny(DenyReason::ReadOnly(operation))
            }
            // guard: read-only-caller
            _ if request.rights.is_some_and(CallerRights::is_read_only)
                && operation.access() == AccessKind::Write =>
            {
                PolicyDecision::Deny(DenyReason::ReadOnlyCaller(operation))
            }
            _ if is_unrestricted => PolicyDecision::Sign,
            _ => PolicyDecision::Judge,
        }
    }

    /// Returns the denial if a browser reports a page of another origin that is not allowed.
    fn foreign_page(&self, request: &ListenerRequest<'_>) -> Option<DenyReason> {
        let allowed = |origin: &[u8]| {
            self.allowed_origins.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(origin))
        };
        let mut named = false;
        let mut foreign = None;
        let mut cross_site = false;
        for (name, value) in request.headers {
            if *name == ORIGIN {
                named = true;
                let origin = value.as_bytes();
                if !allowed(origin) {
                    let denial =
                        if origin == b"null" { DenyReason::OpaqueOrigin } else { DenyReason::Browser };
                    foreign = foreign.or(Some(denial));
                }
            } else if name.as_str() == SEC_FETCH_SITE {
                cross_site |= value.as_bytes() == b"cross-site";
            }
        }
        // Pages add `?20240131` to URLs to bypass cached copies. OSS has no such parameter.
        let operation = request.operation;
        let reads_object = matches!(operation, Operation::GetObject | Operation::HeadObject)
            || (operation == Operation::GetObjectSettings && Operation::selects_nothing(request.query));
        // guard: names-that-are-set-up
        let is_set_up = request.host == NamedHost::SetUp;
        // guard: no-cross-site-reads-by-ambient-proof
        let is_ambient = request.proof == ClientProof::Ambient;
        let shown = self.cross_site_reads == CrossSiteReads::AllowByName && is_set_up && !is_ambient;
        // If `Origin` is present, `Sec-Fetch-Site` is ignored.
        if named {
            foreign
        } else {
            (cross_site && !(shown && reads_object)).then_some(DenyReason::CrossSite)
        }
    }
}

/// The header in which a browser reports the relation between the page and the target.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::{
        AccessPolicy, AllowedOperations, CallerRights, ClientProof, CrossSiteReads, DenyReason,
        ListenerRequest, NamedHost, PolicyDecision, UnsignedForms,
    };
    use crate::oss::{Operation, Query};

    fn decide(
        policy: &AccessPolicy,
        operation: Operation,
        header: Option<(&'static str, &'static str)>,
    ) -> PolicyDecision {
        let line = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers: HeaderMap = header.into_iter().map(line).collect();
        decide_at(policy, NamedHost::Other, operation, &headers)
    }

    fn decide_at(
        policy: &AccessPolicy,
        host: NamedHost,
        operation: Operation,
        headers: &HeaderMap,
    ) -> PolicyDecision {
        let method = &Method::GET;
        let query = &Query::default();
        policy.decide(&ListenerRequest {
            rights: None,
            proof: ClientProof::Explicit,
            operation,
            host,
            method,
            query,
            headers,
            pin: None,
        })
    }

    #[test]
    fn a_preflight_of_a_presigned_url_passes_unsigned_from_an_allowed_origin() {
        let policy = AccessPolicy {
            allowed_origins: vec!["https://app.example".to_owned()],
            ..AccessPolicy::default()
        };
        let decide = |origin: Option<&'static str>, rights: CallerRights, proof| {
            let value = |origin| (http::header::ORIGIN, HeaderValue::from_static(origin));
            policy.decide(&ListenerRequest {
                rights: Some(&rights),
                proof,
                operation: Operation::Preflight,
                host: NamedHost::Other,
                method: &Method::OPTIONS,
                query: &Query::default(),
                headers: &origin.map(value).into_iter().collect(),
                pin: None,
            })
        };
        let own = Some("https://app.example");
        let rows = [
            (own, CallerRights::read(), ClientProof::Announced, PolicyDecision::PassUnsigned),
            (
                own,
                CallerRights::nothing(),
                ClientProof::Announced,
                PolicyDecision::Deny(DenyReason::NoRights),
            ),
            (own, CallerRights::read(), ClientProof::Explicit, PolicyDecision::Deny(DenyReason::Preflight)),
            (own, CallerRights::read(), ClientProof::Ambient, PolicyDecision::Deny(DenyReason::Preflight)),
            (None, CallerRights::read(), ClientProof::Announced, PolicyDecision::Deny(DenyReason::Preflight)),
            (
                Some("https://evil.example"),
                CallerRights::read(),
                ClientProof::Announced,
                PolicyDecision::Deny(DenyReason::Browser),
            ),
        ];
        for (origin, rights, proof, expected) in rows {
            assert_eq!(decide(origin, rights.clone(), proof), expected, "{origin:?} {rights:?} {proof:?}");
        }
    }

    #[test]
    fn other_sites_show_no_objects_with_a_password_of_the_browser() {
        let policy =
            AccessPolicy { cross_site_reads: CrossSiteReads::AllowByName, ..AccessPolicy::default() };
        let cross_site = (HeaderName::from_static("sec-fetch-site"), HeaderValue::from_static("cross-site"));
        for (proof, expected) in [
            (ClientProof::Ambient, PolicyDecision::Deny(DenyReason::CrossSite)),
            (ClientProof::Explicit, PolicyDecision::Sign),
        ] {
            let decision = policy.decide(&ListenerRequest {
                rights: Some(&CallerRights::everything()),
                proof,
                operation: Operation::GetObject,
                host: NamedHost::SetUp,
                method: &Method::GET,
                query: &Query::default(),
                headers: &[cross_site.clone()].into_iter().collect(),
                pin: None,
            });
            assert_eq!(decision, expected, "{proof:?}");
        }
    }

    #[test]
    fn a_read_only_listener_lets_reads_pass() {
        let policy = AccessPolicy { operations: AllowedOperations::ReadOnly, ..AccessPolicy::default() };
        assert_eq!(decide(&policy, Operation::ListObjects, None), PolicyDecision::Sign);
        for operation in
            [Operation::PutObject, Operation::DeleteMultipleObjects, Operation::PutPublicAccessBlock]
        {
            let denied = PolicyDecision::Deny(DenyReason::ReadOnly(operation));
            assert_eq!(decide(&policy, operation, None), denied);
        }
    }

    #[test]
    fn callers_may_do_what_they_are_allowed() {
        let decide = |rights: &CallerRights, operation, unsigned| {
            let policy = AccessPolicy { unsigned, ..AccessPolicy::default() };
            policy.decide(&ListenerRequest {
                rights: Some(rights),
                proof: ClientProof::Explicit,
                operation,
                host: NamedHost::Other,
                method: &Method::GET,
                query: &Query::default(),
                headers: &HeaderMap::new(),
                pin: None,
            })
        };
        let rows = [
            (CallerRights::everything(), Operation::PutObject, PolicyDecision::Sign),
            (CallerRights::read(), Operation::GetObject, PolicyDecision::Judge),
            (CallerRights::read(), Operation::ListObjects, PolicyDecision::Judge),
            (
                CallerRights::read(),
                Operation::PutObject,
                PolicyDecision::Deny(DenyReason::ReadOnlyCaller(Operation::PutObject)),
            ),
            (CallerRights::nothing(), Operation::GetObject, PolicyDecision::Deny(DenyReason::NoRights)),
            (CallerRights::nothing(), Operation::Preflight, PolicyDecision::Deny(DenyReason::NoRights)),
        ];
        for (rights, operation, expected) in rows {
            assert_eq!(decide(&rights, operation, UnsignedForms::Pass), expected, "{rights:?} {operation:?}");
        }
        let form = |rights| decide(&rights, Operation::PostObject, UnsignedForms::Pass);
        assert_eq!(form(CallerRights::everything()), PolicyDecision::PassUnsigned);
        assert_eq!(form(CallerRights::read()), PolicyDecision::Deny(DenyReason::PostForm));
    }

    #[test]
    fn web_pages_of_other_origins_are_refused_unless_named() {
        let policy = AccessPolicy {
            allowed_origins: vec!["https://app.example".to_owned()],
            ..AccessPolicy::default()
        };
        let rows = [
            (("origin", "https://app.example"), PolicyDecision::Sign),
            (("origin", "https://evil.example"), PolicyDecision::Deny(DenyReason::Browser)),
            (("origin", "null"), PolicyDecision::Deny(DenyReason::OpaqueOrigin)),
            (("sec-fetch-site", "cross-site"), PolicyDecision::Deny(DenyReason::CrossSite)),
            (("sec-fetch-site", "none"), PolicyDecision::Sign),
        ];
        for (header, expected) in rows {
            assert_eq!(decide(&policy, Operation::GetObject, Some(header)), expected, "{header:?}");
        }
    }

    #[test]
    fn other_sites_show_objects_only_by_the_switch_and_at_names_that_are_set_up() {
        let headers: HeaderMap =
            [(HeaderName::from_static("sec-fetch-site"), HeaderValue::from_static("cross-site"))]
                .into_iter()
                .collect();
        for cross_site_reads in [CrossSiteReads::Reject, CrossSiteReads::AllowByName] {
            let policy = AccessPolicy { cross_site_reads, ..AccessPolicy::default() };
            for host in [NamedHost::SetUp, NamedHost::Other] {
                let open = cross_site_reads == CrossSiteReads::AllowByName && host == NamedHost::SetUp;
                for (operation, expected) in [
                    (Operation::GetObject, open),
                    (Operation::HeadObject, open),
                    (Operation::ListObjects, false),
                    (Operation::GetObjectAcl, false),
                    (Operation::PutObject, false),
                ] {
                    let decision = decide_at(&policy, host, operation, &headers);
                    let expected = if expected {
                        PolicyDecision::Sign
                    } else {
                        PolicyDecision::Deny(DenyReason::CrossSite)
                    };
                    assert_eq!(decision, expected, "{policy:?} {host:?} {operation:?}");
                }
            }
        }
    }

    #[test]
    fn forms_and_preflights_are_never_signed() {
        for unsigned in [UnsignedForms::Refuse, UnsignedForms::Pass] {
            let policy = AccessPolicy { unsigned, ..AccessPolicy::default() };
            for operation in [Operation::PostObject, Operation::Preflight] {
                assert_ne!(decide(&policy, operation, None), PolicyDecision::Sign);
            }
        }
        let read_only = AccessPolicy {
            operations: AllowedOperations::ReadOnly,
            unsigned: UnsignedForms::Pass,
            ..AccessPolicy::default()
        };
        assert_eq!(
            decide(&read_only, Operation::PostObject, None),
            PolicyDecision::Deny(DenyReason::PostForm)
        );
    }
}
