//! The reasons why a request for access keys is rejected.

use crate::address::PageRequest;
use crate::caller::HandOutError;

/// The reason why a request for access keys is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyRequestError {
    /// The host is no name of the listener.
    #[error("invalid host; address this listener by IP address, as localhost, or by one of its domains")]
    ForeignHost,
    /// A web page has sent the request.
    #[error("requests from web pages are rejected")]
    ForeignPage,
    /// The path is none of the listener.
    #[error(
        "this listener serves no objects; available: /credentials, /aws and /latest/meta-data/ram/security-credentials/"
    )]
    Path,
    /// The path has no such method.
    #[error("method not allowed for this path")]
    Method,
    /// A reload has removed the masters or the callers.
    #[error("no keys are handed out here any more")]
    Withdrawn,
    /// The credentials to pass on are not those of another proxy.
    #[error("the credentials to pass on are not handed-out keys of another proxy; see the proxy log")]
    NotHandedOut,
    /// No key was made.
    #[error(transparent)]
    NotMade(#[from] HandOutError),
}

impl From<PageRequest> for KeyRequestError {
    fn from(reason: PageRequest) -> Self {
        match reason {
            PageRequest::ForeignHost => Self::ForeignHost,
            PageRequest::ForeignPage => Self::ForeignPage,
        }
    }
}
