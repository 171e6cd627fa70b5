//! The callers of a configuration, by their identities.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::caller_origin::NameOwner;
use super::hand_out::{HandOutError, HandedOutKey, KeyHandOut, KeyRecipient, OpenedToken};
use super::identity_error::IdentityError;
use super::jwt_directory::JwtDirectory;
use super::peer_index::PeerIndex;
use super::settings::{BucketListing, CallerKey, CallerSettings};
use crate::policy::CallerRights;
use crate::secret::Secret;
use crate::time::Timestamp;

/// A caller, as far as requests depend on it.
#[derive(Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name.
    pub(crate) name: Arc<str>,
    /// The rights of the caller.
    pub(crate) rights: CallerRights,
    /// Whether the caller may let OSS send requests to other servers.
    pub(crate) callbacks: bool,
    /// The handling of lists of all buckets.
    pub(crate) bucket_listing: BucketListing,
    /// Whether the sessions that sign for the caller have its rights as their policy.
    pub(crate) has_session_policy: bool,
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
    /// The masters of keys that are handed out.
    hand_out: Option<Arc<KeyHandOut>>,
    /// The callers by their names, which handed-out keys contain.
    holders: HashMap<Arc<str>, KeyHolder>,
    /// The callers by the SHA-256 of their tokens.
    tokens: HashMap<[u8; 32], Arc<Caller>>,
    peers: PeerIndex,
    /// The callers by the claims of their JSON Web Tokens.
    jwt: JwtDirectory,
    /// Secrets of no caller. Signatures with unknown ids are computed with them, so that they take
    /// as long as others.
    decoys: [NumberedSecret; SECRETS_MAX],
}

/// The caller and the valid secrets of an access key id.
pub(super) struct KeyEntry {
    pub(super) caller: Arc<Caller>,
    pub(super) secrets: Vec<NumberedSecret>,
}

/// A secret with the identity under which its derived keys are kept.
pub(super) struct NumberedSecret {
    pub(super) number: SecretNumber,
    pub(super) secret: Secret,
}

/// The identity of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SecretNumber {
    /// A number that is unique in the directory.
    Configured(u32),
    /// The SHA-256 of the secret of a handed-out key. There may be any number of them.
    HandedOut([u8; 32]),
}

/// A caller that may hold handed-out keys.
struct KeyHolder {
    caller: Arc<Caller>,
    /// The owner of the name of the caller.
    owner: NameOwner,
    /// Keys that were handed out until then are rejected.
    not_before: Option<Timestamp>,
}

impl Caller {
    /// Creates the caller at a position in the directory.
    fn new(settings: &CallerSettings, index: usize) -> Self {
        Self {
            name: settings.name.as_str().into(),
            rights: settings.rights.clone(),
            callbacks: settings.callbacks,
            bucket_listing: settings.bucket_listing,
            has_session_policy: settings.session_policy.is_some(),
            presign_max: settings.presign_max,
            index,
        }
    }
}

impl CallerDirectory {
    /// Creates the directory of the configured callers. Without it every client is served.
    #[cfg(any(test, feature = "internals"))]
    #[must_use]
    pub(crate) fn new(callers: Option<&[CallerSettings]>) -> Self {
        Self::from_settings(callers.is_some(), callers.unwrap_or_default().iter())
    }

    /// Creates the directory of these callers. Every client is served unless callers are enforced.
    pub(crate) fn from_settings<'a>(
        is_enforced: bool,
        callers: impl ExactSizeIterator<Item = &'a CallerSettings>,
    ) -> Self {
        let mut number = 0;
        let mut numbered = |secret| {
            number += 1;
            NumberedSecret { number: SecretNumber::Configured(number), secret }
        };
        // They only take time, so they may be known.
        let decoys = [(); SECRETS_MAX].map(|()| numbered(Secret::from("the secret of no caller at all")));
        let mut directory = Self {
            is_enforced,
            callers: Vec::with_capacity(callers.len()),
            open: None,
            keys: HashMap::with_capacity(callers.len()),
            hand_out: None,
            holders: HashMap::with_capacity(callers.len()),
            tokens: HashMap::new(),
            jwt: JwtDirectory::default(),
            peers: PeerIndex::default(),
            decoys,
        };
        for (index, settings) in callers.enumerate() {
            let CallerSettings { keys, token, jwt, credentials_not_before, peer, is_open, origin, .. } =
                settings;
            let caller = Arc::new(Caller::new(settings, index));
            directory.callers.push(Arc::clone(&caller));
            let holder = KeyHolder {
                caller: Arc::clone(&caller),
                owner: origin.owner(),
                not_before: *credentials_not_before,
            };
            directory.holders.insert(Arc::clone(&caller.name), holder);
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
            if let Some(jwt) = jwt {
                directory.jwt.insert(jwt, index);
            }
            if *is_open {
                directory.open = Some(caller);
            }
        }
        directory
    }

    /// Returns the directory with the masters of handed-out keys. Without them such keys are unknown.
    #[must_use]
    pub(crate) fn handing_out(self, hand_out: Option<Arc<KeyHandOut>>) -> Self {
        Self { hand_out, ..self }
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

    /// Returns the caller and the secret of a handed-out key.
    ///
    /// # Errors
    /// The reason why the key is rejected.
    pub(super) fn handed_out(
        &self,
        id: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<KeyEntry, IdentityError> {
        let unknown = || IdentityError::UnknownKey { id: id.to_owned() };
        let OpenedToken { caller, owner, issued, secret } =
            self.hand_out.as_ref().ok_or_else(unknown)?.open(id, token, now)?;
        // A caller that was removed or revoked is not in the directory. Another file may have taken
        // its name since then.
        let holder = self.holders.get(&*caller).ok_or_else(unknown)?;
        // guard: same-name-owner
        if holder.owner != owner {
            return Err(unknown());
        }
        // guard: credentials-not-before
        if holder.not_before.is_some_and(|not_before| issued <= not_before) {
            return Err(IdentityError::TokenTooOld);
        }
        let number = SecretNumber::HandedOut(Sha256::digest(secret.expose()).into());
        Ok(KeyEntry { caller: Arc::clone(&holder.caller), secrets: vec![NumberedSecret { number, secret }] })
    }

    /// Makes a key for a caller of this directory at `now`, whose identity ends at `ends`. `None` if
    /// keys are not handed out.
    pub(crate) fn issue_key(
        &self,
        caller: &Caller,
        now: Timestamp,
        ends: Option<Timestamp>,
    ) -> Option<Result<HandedOutKey, HandOutError>> {
        let KeyHolder { owner, not_before, .. } = *self.holders.get(&caller.name)?;
        let recipient = KeyRecipient { name: &caller.name, owner, not_before };
        Some(self.hand_out.as_ref()?.issue(recipient, now, ends))
    }

    /// Returns the caller with this token. The lookup compares digests, whose timing says nothing
    /// about the tokens.
    pub(super) fn token(&self, token: &[u8]) -> Option<&Arc<Caller>> {
        self.tokens.get(&<[u8; 32]>::from(Sha256::digest(token)))
    }

    /// Returns the callers by the claims of their JSON Web Tokens.
    pub(super) fn jwt(&self) -> &JwtDirectory {
        &self.jwt
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
