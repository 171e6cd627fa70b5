//! The callers of a configuration, by their identities.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::peer_index::PeerIndex;
use super::settings::{CallerAccess, CallerKey, CallerSettings};
use crate::secret::Secret;

/// A caller, as far as requests depend on it.
#[derive(Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name.
    pub(crate) name: Arc<str>,
    /// The operations that the caller may use.
    pub(crate) access: CallerAccess,
    /// The maximum lifetime of presigned URLs; `None` if OSS alone limits it.
    pub(crate) presign_max: Option<Duration>,
    /// The position in the directory.
    pub(crate) index: usize,
}

/// All callers, by their identities.
pub(crate) struct CallerDirectory {
    /// `true` if callers are configured, even if all of them are revoked.
    is_enforced: bool,
    callers: Vec<Arc<Caller>>,
    open: Option<Arc<Caller>>,
    keys: HashMap<Box<str>, KeyEntry>,
    /// The callers by the SHA-256 of their tokens.
    tokens: HashMap<[u8; 32], Arc<Caller>>,
    peers: PeerIndex,
    /// Secrets of no caller. Signatures with unknown ids are computed with them, so that they take
    /// as long as others.
    decoys: [NumberedSecret; SECRETS_MAX],
}

/// The caller and the valid secrets of an access key id.
pub(super) struct KeyEntry {
    pub(super) caller: Arc<Caller>,
    pub(super) secrets: Vec<NumberedSecret>,
}

/// A secret with a number that is unique in the directory.
pub(super) struct NumberedSecret {
    pub(super) number: u32,
    pub(super) secret: Secret,
}

impl CallerDirectory {
    /// Creates the directory of the configured callers. Without it every client is served.
    #[must_use]
    pub(crate) fn new(callers: Option<&[CallerSettings]>) -> Self {
        let mut number = 0;
        let mut numbered = |secret| {
            number += 1;
            NumberedSecret { number, secret }
        };
        // They only take time, so they may be known.
        let decoys = [(); SECRETS_MAX].map(|()| numbered(Secret::from("the secret of no caller at all")));
        let is_enforced = callers.is_some();
        let callers = callers.unwrap_or_default();
        let mut directory = Self {
            is_enforced,
            callers: Vec::with_capacity(callers.len()),
            open: None,
            keys: HashMap::with_capacity(callers.len()),
            tokens: HashMap::new(),
            peers: PeerIndex::default(),
            decoys,
        };
        for (index, settings) in callers.iter().enumerate() {
            let CallerSettings { name, access, presign_max, limits: _, keys, token, peer, is_open } =
                settings;
            let caller = Arc::new(Caller {
                name: name.as_str().into(),
                access: *access,
                presign_max: *presign_max,
                index,
            });
            directory.callers.push(Arc::clone(&caller));
            for CallerKey { id, secret } in keys {
                let entry = directory.keys.entry(id.as_str().into());
                let entry = entry.or_insert_with(|| KeyEntry {
                    caller: Arc::clone(&caller),
                    secrets: Vec::with_capacity(1),
                });
                entry.secrets.push(numbered(Secret::from(secret.expose())));
            }
            if let Some(token) = token {
                let digest = Sha256::digest(token.expose()).into();
                directory.tokens.insert(digest, Arc::clone(&caller));
            }
            directory.peers.insert(index, peer);
            if *is_open {
                directory.open = Some(caller);
            }
        }
        directory
    }

    /// Returns whether clients must be callers, or be served as the open one.
    #[must_use]
    pub(crate) fn is_enforced(&self) -> bool {
        self.is_enforced
    }

    /// Returns all callers.
    #[must_use]
    pub(crate) fn callers(&self) -> &[Arc<Caller>] {
        &self.callers
    }

    /// Returns the caller of requests without an identity.
    pub(super) fn open(&self) -> Option<&Arc<Caller>> {
        self.open.as_ref()
    }

    /// Returns the callers by the identities of their connections.
    pub(super) fn peers(&self) -> &PeerIndex {
        &self.peers
    }

    /// Returns the entry of an access key id.
    pub(super) fn key(&self, id: &str) -> Option<&KeyEntry> {
        self.keys.get(id)
    }

    /// Returns the caller with this token. The lookup compares digests, whose timing says nothing
    /// about the tokens.
    pub(super) fn token(&self, token: &[u8]) -> Option<&Arc<Caller>> {
        self.tokens.get(&<[u8; 32]>::from(Sha256::digest(token)))
    }

    /// Returns as many secrets for the entry of an id as for any other: its own, then decoys.
    pub(super) fn secrets<'a>(&'a self, entry: Option<&'a KeyEntry>) -> [&'a NumberedSecret; SECRETS_MAX] {
        let own = entry.map_or(&[][..], |entry| &entry.secrets);
        std::array::from_fn(|index| own.get(index).unwrap_or(&self.decoys[index]))
    }
}

impl fmt::Debug for CallerDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerDirectory").field("callers", &self.callers.len()).finish_non_exhaustive()
    }
}

/// The maximum number of secrets of an access key id: the current one and one in rotation.
pub(crate) const SECRETS_MAX: usize = 2;
