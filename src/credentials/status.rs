//! What a person and a monitor are told of a source: never a value.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::ProvideError;
use super::durations::AttemptSnapshot;
use crate::time::Timestamp;

/// How a source is.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    /// The configuration's name.
    pub name: String,
    /// The stage of what it gave last.
    pub stage: CredentialState,
    /// Which source gave it.
    pub provider: Option<Arc<str>>,
    /// When that ends.
    pub expires: Option<Timestamp>,
    /// From when on it is renewed.
    pub renewal: Option<Timestamp>,
    /// How often it has given something.
    pub generation: u64,
    /// How often it has failed to, by [`ProvideError::kind`].
    pub failed: BTreeMap<&'static str, u64>,
    /// Failures since it last gave something.
    pub failures: u32,
    /// How often OSS has refused what it gave, by its code.
    pub rejected: BTreeMap<&'static str, u64>,
    /// How often somebody else signed than before.
    pub identity_changes: u64,
    /// Requests that wait for it.
    pub waiting: usize,
    /// How long the attempt in progress has lasted; `None` if there is none.
    pub asking_for: Option<Duration>,
    /// Whether an attempt has ended, well or badly.
    pub has_answered: bool,
    /// How many requests were signed with what it gave, by the stage that this was in.
    pub served: [(CredentialState, u64); 6],
    /// How long requests have waited for it.
    pub waits: AttemptSnapshot,
    /// How long it took to give something, and how long to fail.
    pub refreshes: [(&'static str, AttemptSnapshot); 2],
    /// What went wrong last, if nothing went right since.
    pub last_error: Option<String>,
    /// Where the credentials come from, and why no other source gives them.
    pub explanation: Vec<String>,
}

/// A stage of what a source gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialState {
    /// It has given nothing.
    Empty,
    /// It is good for long.
    Fresh,
    /// It is good, and is being renewed.
    Advisory,
    /// It ends soon.
    Mandatory,
    /// It has ended.
    Expired,
    /// It has no known end.
    NonExpiring,
}

impl CredentialState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Empty, Self::Fresh, Self::Advisory, Self::Mandatory, Self::Expired, Self::NonExpiring];

    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Fresh => "fresh",
            Self::Advisory => "advisory",
            Self::Mandatory => "mandatory",
            Self::Expired => "expired",
            Self::NonExpiring => "non_expiring",
        }
    }

    /// Whether requests are signed.
    #[must_use]
    pub fn signs(self) -> bool {
        match self {
            Self::Fresh | Self::Advisory | Self::Mandatory | Self::NonExpiring => true,
            Self::Empty | Self::Expired => false,
        }
    }
}

impl ProvideError {
    /// Every kind there is.
    pub const KINDS: [&'static str; 4] = ["not_configured", "misconfigured", "unavailable", "refused"];

    /// What kind of error it is, in one word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotConfigured(_) => "not_configured",
            Self::Failed(_) => "misconfigured",
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_) => "refused",
        }
    }
}

impl fmt::Display for CredentialState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
