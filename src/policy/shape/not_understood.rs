//! The reasons why a request is not understood.

use crate::oss::Operation;

/// The reason why a request is not understood, and therefore rejected whatever the policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotUnderstood {
    /// No operation of the table.
    #[error("the operation is unknown; only a caller with every permission may send it")]
    UnknownOperation,
    /// The operation has other methods.
    #[error("{name} is not requested with this method", name = .0.name())]
    Method(Operation),
    /// A preflight has no credentials.
    #[error("preflight requests carry no credentials and are not signed")]
    Preflight,
    /// OSS ignores header signatures of forms.
    #[error("form uploads cannot be signed; use PUT")]
    Form,
    /// The target of a task is known only to OSS.
    #[error(
        "asynchronous processing names its target with variables; only a caller with every permission may use it"
    )]
    AsynchronousProcess,
    /// The key is not text.
    #[error("the object key is not UTF-8, so no policy can name it")]
    KeyEncoding,
    /// The bucket is an alias.
    #[error(
        "the name of an access point (-ossalias) does not say which bucket it stands for; use the bucket"
    )]
    AccessPointAlias,
    /// A parameter is not text.
    #[error("the parameter {0} is not UTF-8")]
    ParameterEncoding(String),
    /// A parameter occurs twice.
    #[error("the parameter {0} occurs twice")]
    RepeatedParameter(String),
    /// The operation does not have the parameter.
    #[error("{name} has no parameter {0}", name = .1.name())]
    UnknownParameter(String, Operation),
    /// A value of a parameter is invalid.
    #[error("the parameter {0} has an invalid value")]
    ParameterValue(&'static str),
    /// A header occurs twice.
    #[error("the header {0} occurs twice")]
    RepeatedHeader(String),
    /// The operation does not have the header.
    #[error("{name} has no header {0}", name = .1.name())]
    UnknownHeader(String, Operation),
    /// A value of a header is invalid.
    #[error("the header {0} has an invalid value")]
    HeaderValue(&'static str),
    /// A copy source is invalid.
    #[error(
        "x-oss-copy-source is not /BUCKET/KEY, with the key percent-encoded, or with ?versionId=ID after it"
    )]
    CopySource,
    /// A callback that the caller may not use.
    #[error("a callback lets OSS send requests to other servers; set `callbacks` of the caller to allow it")]
    Callback,
    /// A callback in a header and in a parameter.
    #[error("a callback is given by a header and by a parameter")]
    TwoCallbacks,
    /// A processing instruction is invalid or unknown.
    #[error("the processing instruction is unknown or invalid: {0}")]
    Process(&'static str),
    /// A body is invalid.
    #[error("the body is invalid: {0}")]
    Body(&'static str),
}
