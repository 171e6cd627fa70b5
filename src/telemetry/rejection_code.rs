//! The stable codes of the errors that the proxy returns itself.

use std::fmt;

/// The stable code of an error, in the order of the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RejectionCode {
    AuditUnavailable,
    BadRequest,
    BadSignature,
    Browser,
    CallerLimit,
    ClockSkew,
    CredentialsUnavailable,
    Denied,
    Expectation,
    Expired,
    HeaderLimit,
    InvalidBucket,
    InvalidKey,
    MalformedSignature,
    Method,
    NoIdentity,
    NotUnderstood,
    OverCapacity,
    Pinned,
    PostForm,
    Preflight,
    S3Body,
    TooLarge,
    UnknownHost,
    UnknownPath,
    UpstreamInvalid,
    UpstreamLoop,
    UpstreamReset,
    UpstreamStall,
    UpstreamUnreachable,
}

impl RejectionCode {
    /// Returns the code in responses, logs and metrics.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AuditUnavailable => "audit-unavailable",
            Self::BadRequest => "bad-request",
            Self::BadSignature => "bad-signature",
            Self::Browser => "browser",
            Self::CallerLimit => "caller-limit",
            Self::ClockSkew => "clock-skew",
            Self::CredentialsUnavailable => "credentials-unavailable",
            Self::Denied => "denied",
            Self::Expectation => "expectation",
            Self::Expired => "expired",
            Self::HeaderLimit => "header-limit",
            Self::InvalidBucket => "invalid-bucket",
            Self::InvalidKey => "invalid-key",
            Self::MalformedSignature => "malformed-signature",
            Self::Method => "method",
            Self::NoIdentity => "no-identity",
            Self::NotUnderstood => "not-understood",
            Self::OverCapacity => "over-capacity",
            Self::Pinned => "pinned",
            Self::PostForm => "post-form",
            Self::Preflight => "preflight",
            Self::S3Body => "s3-body",
            Self::TooLarge => "too-large",
            Self::UnknownHost => "unknown-host",
            Self::UnknownPath => "unknown-path",
            Self::UpstreamInvalid => "upstream-invalid",
            Self::UpstreamLoop => "upstream-loop",
            Self::UpstreamReset => "upstream-reset",
            Self::UpstreamStall => "upstream-stall",
            Self::UpstreamUnreachable => "upstream-unreachable",
        }
    }

    /// Returns why the upstream has not responded, as a label of metrics. Returns `None` for the
    /// other errors.
    #[must_use]
    pub(crate) fn upstream_reason(self) -> Option<&'static str> {
        match self {
            Self::UpstreamInvalid => Some("invalid"),
            Self::UpstreamLoop => Some("loop"),
            Self::UpstreamReset => Some("reset"),
            Self::UpstreamStall => Some("stall"),
            Self::UpstreamUnreachable => Some("unreachable"),
            Self::AuditUnavailable
            | Self::BadRequest
            | Self::BadSignature
            | Self::Browser
            | Self::CallerLimit
            | Self::ClockSkew
            | Self::CredentialsUnavailable
            | Self::Denied
            | Self::Expectation
            | Self::Expired
            | Self::HeaderLimit
            | Self::InvalidBucket
            | Self::InvalidKey
            | Self::MalformedSignature
            | Self::Method
            | Self::NoIdentity
            | Self::NotUnderstood
            | Self::OverCapacity
            | Self::Pinned
            | Self::PostForm
            | Self::Preflight
            | Self::S3Body
            | Self::TooLarge
            | Self::UnknownHost
            | Self::UnknownPath => None,
        }
    }
}

impl fmt::Display for RejectionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
