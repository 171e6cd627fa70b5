//! A snapshot of a source for operators and metrics. It contains no credentials.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::histogram::HistogramSnapshot;
use crate::time::Timestamp;

/// A snapshot of the state of a source.
#[derive(Clone, Debug)]
pub(crate) struct SourceStatus {
    /// The name in the configuration.
    pub(crate) name: String,
    /// The state of the current credentials.
    pub(crate) stage: CredentialState,
    /// The provider that returned them.
    pub(crate) provider: Option<Arc<str>>,
    /// The time at which they expire.
    pub(crate) expires: Option<Timestamp>,
    /// The time from which they are refreshed.
    pub(crate) renewal: Option<Timestamp>,
    /// The number of times that new credentials were kept.
    pub(crate) generation: u64,
    /// Failed attempts, by [`ProvideError::kind`].
    pub(crate) failed: BTreeMap<&'static str, u64>,
    /// Failures since the last success.
    pub(crate) failures: u32,
    /// Rejections of the credentials by OSS, by error code.
    pub(crate) rejected: BTreeMap<&'static str, u64>,
    /// The number of changes of the provider that signs.
    pub(crate) identity_changes: u64,
    /// The number of requests that wait for credentials.
    pub(crate) waiting: usize,
    /// The duration of the attempt in progress; `None` if there is none.
    pub(crate) asking_for: Option<Duration>,
    /// True once an attempt has ended, with or without success.
    pub(crate) has_answered: bool,
    /// Requests by the state of the credentials at that time, including requests that got none.
    pub(crate) served: [(CredentialState, u64); 6],
    /// The time that requests have waited for credentials.
    pub(crate) waits: HistogramSnapshot,
    /// The duration of attempts, separately for successes and failures.
    pub(crate) refreshes: [(&'static str, HistogramSnapshot); 2],
    /// The error of the last attempt; `None` if it succeeded.
    pub(crate) last_error: Option<String>,
    /// The origin of the credentials, and the reasons why other providers were skipped.
    pub(crate) explanation: Vec<String>,
}

/// The state of the credentials of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CredentialState {
    /// There are no credentials.
    Empty,
    /// The credentials are valid, and no refresh is due.
    Fresh,
    /// The credentials are valid, and are being refreshed.
    Advisory,
    /// The credentials expire soon.
    Mandatory,
    /// The credentials have expired.
    Expired,
    /// The credentials have no known expiry.
    NonExpiring,
}

impl CredentialState {
    /// All states.
    pub(crate) const ALL: [Self; 6] =
        [Self::Empty, Self::Fresh, Self::Advisory, Self::Mandatory, Self::Expired, Self::NonExpiring];

    /// Returns the name of the state in logs and metrics.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Fresh => "fresh",
            Self::Advisory => "advisory",
            Self::Mandatory => "mandatory",
            Self::Expired => "expired",
            Self::NonExpiring => "non_expiring",
        }
    }

    /// Returns whether requests are signed in this state.
    #[must_use]
    pub(crate) fn signs(self) -> bool {
        match self {
            Self::Fresh | Self::Advisory | Self::Mandatory | Self::NonExpiring => true,
            Self::Empty | Self::Expired => false,
        }
    }
}

impl fmt::Display for CredentialState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
