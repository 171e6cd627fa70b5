//! Isolation of pages that a browser may show from a bucket. Such a page has the origin of the
//! listener, so its scripts could read all objects with the identity of the person who views it.

use http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};

use crate::caller::{CallerIdentity, IdentityKinds};

/// The isolation of a response in a browser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PageIsolation {
    /// None: the identity does not depend on the browser.
    #[default]
    Unneeded,
    /// An origin of its own, without scripts.
    Sandbox,
}

impl PageIsolation {
    /// Returns the isolation for an identity, on a listener that accepts `kinds`.
    pub(super) fn for_identity(identity: &CallerIdentity, kinds: IdentityKinds) -> Self {
        // guard: responses-in-sandbox
        if identity.proof().is_some_and(|proof| proof.needs_sandbox(kinds)) {
            Self::Sandbox
        } else {
            Self::Unneeded
        }
    }

    /// Sets the headers of a response. They replace those of the upstream.
    pub(super) fn apply(self, headers: &mut HeaderMap) {
        match self {
            Self::Unneeded => {}
            Self::Sandbox => {
                headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
                headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            }
        }
    }
}
