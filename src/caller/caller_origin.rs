//! The section of a file that defines a caller.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// The section that defines a caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallerOrigin {
    /// The name of the file, which all of its callers share.
    pub(crate) file: Arc<str>,
    /// The line on which the section begins, counted from 1.
    pub(crate) line: usize,
    /// A keyed hash of the section. It detects a change, and says nothing about the content.
    pub(crate) mark: u64,
    /// The name of the file in its directory, if it belongs to a team.
    pub(crate) team_file: Option<Arc<str>>,
}

/// The owner of a name of a caller: the operator, or a file of a team. Processes with the same files
/// have the same owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct NameOwner([u8; Self::LEN]);

impl CallerOrigin {
    /// Returns the owner of the name of the caller.
    pub(super) fn owner(&self) -> NameOwner {
        let mut owner = [0; NameOwner::LEN];
        if let Some(file) = &self.team_file {
            owner.copy_from_slice(&Sha256::digest(file.as_bytes())[..NameOwner::LEN]);
        }
        NameOwner(owner)
    }
}

impl NameOwner {
    /// The length in bytes.
    pub(super) const LEN: usize = 16;

    pub(super) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for CallerOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
