//! The proofs of an identity, and what the proxy grants to browsers for each.

use super::settings::IdentityKinds;

/// The way in which a client proves its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityProof {
    /// A signature in the header.
    Signature,
    /// A signature in the URL.
    PresignedUrl,
    /// The presigned URL of the request that a preflight announces. The signature covers the
    /// announced request, so that of the preflight cannot be verified.
    Announced,
    /// A bearer token.
    Bearer,
    /// A token as the password of Basic authentication.
    Basic,
    /// A client certificate.
    Certificate,
    /// The user at the other end of a Unix socket.
    UnixPeer,
    /// None: the caller is open.
    Open,
}

impl IdentityProof {
    /// Returns the name of the proof in the audit log.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::PresignedUrl => "presigned-url",
            Self::Announced => "announced",
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::Certificate => "certificate",
            Self::UnixPeer => "unix-peer",
            Self::Open => "open",
        }
    }

    /// Returns whether a browser adds the proof by itself to requests of any page.
    #[must_use]
    pub(crate) fn is_ambient(self) -> bool {
        match self {
            Self::Basic | Self::Certificate => true,
            Self::Signature
            | Self::PresignedUrl
            | Self::Announced
            | Self::Bearer
            | Self::UnixPeer
            | Self::Open => false,
        }
    }

    /// Returns whether a browser must isolate a response to this proof, on a listener that accepts
    /// `kinds`. A page from a bucket could otherwise send requests with the ambient proof of the
    /// person who views it. A presigned URL can lead to such a page too.
    #[must_use]
    pub(crate) fn needs_sandbox(self, kinds: IdentityKinds) -> bool {
        match self {
            Self::Basic | Self::Certificate => true,
            Self::PresignedUrl => kinds.accepts_bearer() || kinds.certificate,
            Self::Signature | Self::Announced | Self::Bearer | Self::UnixPeer | Self::Open => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{IdentityKinds, IdentityProof};

    #[test]
    fn pages_are_isolated_where_a_browser_repeats_an_identity_by_itself() {
        let none = IdentityKinds::default();
        let repeated = [
            IdentityKinds { token: true, ..none },
            IdentityKinds { jwt: true, ..none },
            IdentityKinds { certificate: true, ..none },
        ];
        for kinds in repeated {
            assert!(IdentityProof::PresignedUrl.needs_sandbox(kinds), "{kinds:?}");
        }
        for kinds in [none, IdentityKinds { key: true, uid: true, ..none }] {
            assert!(!IdentityProof::PresignedUrl.needs_sandbox(kinds), "{kinds:?}");
        }
        for proof in [IdentityProof::Basic, IdentityProof::Certificate] {
            assert!(proof.needs_sandbox(none) && proof.is_ambient(), "{proof:?}");
        }
        for proof in [IdentityProof::Bearer, IdentityProof::Signature, IdentityProof::UnixPeer] {
            assert!(!proof.needs_sandbox(repeated[0]) && !proof.is_ambient(), "{proof:?}");
        }
    }
}
