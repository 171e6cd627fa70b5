//! Reasons why the identity of a client is rejected, and the texts and elements with which OSS
//! reports them ("Error codes", OSS API reference). SDKs correct themselves by some of the texts.

use super::jwt_error::JwtError;
use crate::time::Timestamp;

/// The reason why the identity of a client is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentityError {
    /// The request has no identity, and no caller is open.
    #[error("the request is not signed; sign it with an access key of this proxy")]
    Missing,
    /// The request has no identity, no caller is open, and the listener accepts tokens and signatures.
    #[error(
        "the request has no identity; send the token of a caller as bearer token or as password, or sign with an access key of this proxy"
    )]
    NoToken,
    /// As [`Self::NoToken`], on a listener that accepts no signatures.
    #[error("the request has no identity; send the token of a caller as bearer token or as password")]
    NoTokenAlone,
    /// The bearer token is of no caller.
    #[error("the token is of no caller; check it, or ask for a new one")]
    UnknownToken,
    /// The connection is of no caller, no caller is open, and the listener accepts only identities
    /// of connections.
    #[error(
        "neither the client certificate nor the user of the client is of a caller; check the identities of the callers"
    )]
    UnknownPeer,
    /// The certificate of the client is not for clients.
    #[error("the client certificate is not for clients; issue one with the extended key usage clientAuth")]
    CertificateUsage,
    /// The certificate of the client has expired since it connected.
    #[error("the client certificate has expired; connect with a new one")]
    ExpiredCertificate {
        /// The end of its validity.
        expires: Timestamp,
        /// The time of the proxy.
        server_time: Timestamp,
    },
    /// A reload has revoked the certificate of the client, or removed its issuer.
    #[error("the client certificate was revoked, or its issuer is no longer trusted")]
    WithdrawnCertificate,
    /// The JSON Web Token is rejected.
    #[error(transparent)]
    Jwt(#[from] JwtError),
    /// The access key id belongs to no caller, or was revoked.
    #[error("The OSS Access Key Id you provided does not exist in our records.")]
    UnknownKey {
        /// The access key id that the client sent.
        id: String,
    },
    /// A security token accompanies the key of a caller, which has none, or that of a handed-out key is
    /// missing, of another key, or of no master.
    #[error("The OSS Access Key Id you provided does not exist in our records.")]
    UnexpectedToken {
        /// The access key id that the client sent.
        id: String,
    },
    /// The handed-out key has expired. SDKs obtain new keys after this text.
    #[error("The security token you provided has expired.")]
    TokenExpired {
        /// The end of its lifetime.
        expires: Timestamp,
        /// The time of the proxy.
        server_time: Timestamp,
    },
    /// The handed-out key was issued before the time from which those of its caller are valid.
    #[error("The security token you provided is invalid.")]
    TokenTooOld,
    /// The signature is not that of the request.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your key and signing method."
    )]
    Mismatch(Box<SignatureMismatch>),
    /// The request has a parameter that its V1 signature does not cover.
    #[error("a V1 signature does not cover the parameter {0}; sign with V4 instead")]
    UnsignedParameter(String),
    /// A presigned URL with a V1 signature selects an operation that V1 cannot protect.
    #[error(
        "a presigned URL with a V1 signature cannot use the parameter {0}; presign the URL with V4 instead"
    )]
    UrlParameter(String),
    /// The day in the scope of a V4 signature is not that of the request. SDKs for mobile devices
    /// correct their clock when they read this text.
    #[error("Invalid signing date in Authorization header.")]
    OtherDay {
        /// The time of the proxy.
        server_time: Timestamp,
    },
    /// The time of the request differs too much from that of the proxy.
    #[error("The difference between the request time and the current time is too large.")]
    Skewed {
        /// The time in the request.
        request_time: Timestamp,
        /// The time of the proxy.
        server_time: Timestamp,
    },
    /// A presigned URL has expired.
    #[error("Request has expired.")]
    Expired {
        /// The end of its lifetime.
        expires: Timestamp,
        /// The time of the proxy.
        server_time: Timestamp,
    },
    /// A presigned URL is valid for longer than its caller may sign URLs for.
    #[error(
        "the presigned URL is valid for longer than {max_s} seconds, the limit of its caller; presign it for a shorter time"
    )]
    LongLived {
        /// The maximum lifetime in seconds.
        max_s: u64,
    },
    /// A presigned URL is not valid yet.
    #[error("Request is not valid yet.")]
    NotYetValid {
        /// The time of the proxy.
        server_time: Timestamp,
    },
    /// The signature cannot be read.
    #[error(transparent)]
    Malformed(#[from] MalformedSignature),
}

/// A signature that does not match, with the texts that the proxy computed from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignatureMismatch {
    /// The access key id.
    pub(crate) id: String,
    /// The signature that the client sent.
    pub(crate) provided: String,
    /// The string to sign.
    pub(crate) string_to_sign: Vec<u8>,
    /// The canonical request of V4.
    pub(crate) canonical_request: Option<Vec<u8>>,
    /// `true` if the URL carried the signature.
    pub(crate) is_url: bool,
}

/// A signature that cannot be read or is ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct MalformedSignature {
    message: &'static str,
    /// The error code number of OSS for the same cause.
    ec: Option<&'static str>,
    kind: MalformedKind,
}

/// The OSS error code of a malformed signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MalformedKind {
    /// `InvalidArgument`.
    Argument,
    /// `AccessDenied`.
    Denied,
}

/// An element of an error document.
pub(crate) type ErrorElement = (&'static str, String);

impl MalformedSignature {
    /// Returns an error that OSS reports as `InvalidArgument`.
    pub(super) const fn argument(message: &'static str) -> Self {
        Self { message, ec: None, kind: MalformedKind::Argument }
    }

    /// Returns an error that OSS reports as `AccessDenied`.
    pub(super) const fn denied(message: &'static str) -> Self {
        Self { message, ec: None, kind: MalformedKind::Denied }
    }

    /// Adds the error code number of OSS.
    pub(super) const fn with_ec(self, ec: &'static str) -> Self {
        Self { ec: Some(ec), ..self }
    }

    /// Returns the OSS error code.
    pub(crate) fn kind(self) -> MalformedKind {
        self.kind
    }
}

impl IdentityError {
    /// Returns the error code number of OSS (`EC`), if the cause is the same.
    #[must_use]
    pub(crate) fn ec(&self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::NoToken | Self::NoTokenAlone => Some("0003-00000905"),
            Self::UnknownKey { .. } => Some("0002-00000902"),
            Self::TokenTooOld => Some("0002-00000006"),
            Self::TokenExpired { .. } => Some("0002-00000007"),
            Self::Mismatch(mismatch) if mismatch.is_url => Some("0002-00000040"),
            Self::Mismatch(_) => Some("0002-00000201"),
            Self::Skewed { .. } => Some("0002-00000504"),
            Self::NotYetValid { .. } => Some("0002-00000235"),
            Self::Malformed(malformed) => malformed.ec,
            Self::UnknownToken
            | Self::Jwt(_)
            | Self::UnknownPeer
            | Self::CertificateUsage
            | Self::ExpiredCertificate { .. }
            | Self::WithdrawnCertificate
            | Self::UnexpectedToken { .. }
            | Self::UnsignedParameter(_)
            | Self::UrlParameter(_)
            | Self::OtherDay { .. }
            | Self::LongLived { .. }
            | Self::Expired { .. } => None,
        }
    }

    /// Returns the time with which that of the client was compared, if they differ too much.
    #[must_use]
    pub(crate) fn server_time(&self) -> Option<Timestamp> {
        if let Self::OtherDay { server_time }
        | Self::Skewed { server_time, .. }
        | Self::NotYetValid { server_time } = self
        {
            return Some(*server_time);
        }
        None
    }

    /// Returns the elements that the error document has besides code and message.
    #[must_use]
    pub(crate) fn elements(&self) -> Vec<ErrorElement> {
        match self {
            Self::UnknownKey { id } | Self::UnexpectedToken { id } => {
                vec![("OSSAccessKeyId", id.clone())]
            }
            Self::Mismatch(mismatch) => mismatch.elements(),
            Self::OtherDay { server_time } => vec![("ServerTime", server_time.iso_extended())],
            Self::Skewed { request_time, server_time } => vec![
                ("MaxAllowedSkewMilliseconds", "900000".to_owned()),
                ("RequestTime", request_time.iso_extended()),
                ("ServerTime", server_time.iso_extended()),
            ],
            Self::Expired { expires, server_time }
            | Self::ExpiredCertificate { expires, server_time }
            | Self::Jwt(JwtError::Expired { expires, server_time })
            | Self::TokenExpired { expires, server_time } => {
                vec![("Expires", expires.iso_extended()), ("ServerTime", server_time.iso_extended())]
            }
            Self::NotYetValid { server_time } | Self::Jwt(JwtError::NotYetValid { server_time }) => {
                vec![("ServerTime", server_time.iso_extended())]
            }
            Self::Missing
            | Self::NoToken
            | Self::NoTokenAlone
            | Self::UnknownToken
            | Self::UnknownPeer
            | Self::CertificateUsage
            | Self::WithdrawnCertificate
            | Self::TokenTooOld
            | Self::Jwt(_)
            | Self::UnsignedParameter(_)
            | Self::UrlParameter(_)
            | Self::LongLived { .. }
            | Self::Malformed(_) => Vec::new(),
        }
    }
}

impl SignatureMismatch {
    fn elements(&self) -> Vec<ErrorElement> {
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(ECHOED_BYTES_MAX)]).into_owned();
        let signed = &self.string_to_sign[..self.string_to_sign.len().min(ECHOED_BYTES_MAX / 3)];
        let mut hex = base16ct::upper::encode_string(signed);
        let mut at = 2;
        while at < hex.len() {
            hex.insert(at, ' ');
            at += 3;
        }
        let mut elements = vec![
            ("OSSAccessKeyId", self.id.clone()),
            ("SignatureProvided", self.provided.clone()),
            ("StringToSign", text(&self.string_to_sign)),
            ("StringToSignBytes", hex),
        ];
        if let Some(canonical) = &self.canonical_request {
            elements.push(("CanonicalRequest", text(canonical)));
        }
        elements
    }
}

/// The maximum size of an echoed text.
const ECHOED_BYTES_MAX: usize = 8 * 1024;
