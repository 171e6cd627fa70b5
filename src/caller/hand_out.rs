//! Access keys that are handed out to callers and stored nowhere: the security token of a key is
//! sealed under a master, and holds all that its verification needs. Any process with the master
//! verifies it.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::caller_origin::NameOwner;
use super::identity_error::IdentityError;
use crate::sealing::{MasterKey, SealingError, SealingKey, SealingPurpose};
use crate::secret::Secret;
use crate::time::Timestamp;

/// The masters and the rules with which keys are handed out and verified.
pub(crate) struct KeyHandOut {
    /// The first one seals, and all of them open.
    masters: Vec<TokenMaster>,
    lifetime: Duration,
    /// The revoked access key ids.
    revoked: HashSet<String>,
}

/// A temporary access key of a caller.
#[derive(Debug)]
pub(crate) struct HandedOutKey {
    /// The access key id.
    pub(crate) id: String,
    /// The access key secret.
    pub(crate) secret: Secret,
    /// The security token, which is valid with this id only.
    pub(crate) token: Secret,
    /// The end of the lifetime.
    pub(crate) expires: Timestamp,
}

/// The reason why no key is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandOutError {
    /// The identity of the client has ended.
    #[error("the identity of the client has expired")]
    Ended,
    /// `credentials_not_before` of the caller has not passed.
    #[error("keys are handed out to this caller only after {time}, its `credentials_not_before`", time = .0.rfc3339())]
    NotYet(Timestamp),
    /// The random source of the system failed.
    #[error(transparent)]
    Sealing(#[from] SealingError),
}

/// The caller that a key is made for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyRecipient<'a> {
    /// The name of the caller.
    pub(crate) name: &'a str,
    /// The owner of this name.
    pub(crate) owner: NameOwner,
    /// Keys that were handed out until then are rejected.
    pub(crate) not_before: Option<Timestamp>,
}

/// A verified security token.
pub(super) struct OpenedToken {
    /// The name of the caller.
    pub(super) caller: String,
    /// The owner of this name when the key was handed out.
    pub(super) owner: NameOwner,
    /// The time at which the key was handed out.
    pub(super) issued: Timestamp,
    /// The secret of the key.
    pub(super) secret: Secret,
}

/// A master, with the keys that are derived from it.
struct TokenMaster {
    master: MasterKey,
    sealing: SealingKey,
}

/// The content of a security token.
struct TokenContent<'a> {
    issued: Timestamp,
    expires: Timestamp,
    /// The secret is derived from this and the master.
    seed: [u8; SEED_LEN],
    owner: NameOwner,
    caller: &'a str,
}

impl KeyHandOut {
    /// Creates the rules. The first of the masters seals, and `revoked` lists access key ids.
    #[must_use]
    pub(crate) fn new(masters: Vec<MasterKey>, lifetime: Duration, revoked: HashSet<String>) -> Self {
        let derived = |master: MasterKey| {
            let sealing = master.sealing_key(SealingPurpose::HandedOutToken);
            TokenMaster { master, sealing }
        };
        Self { masters: masters.into_iter().map(derived).collect(), lifetime, revoked }
    }

    /// Makes a key for a caller at `now`. It expires with the identity of the client, if that ends
    /// at `ends` and before the configured lifetime.
    ///
    /// # Errors
    /// [`HandOutError::Ended`] if the key would expire at once.
    pub(crate) fn issue(
        &self,
        recipient: KeyRecipient<'_>,
        now: Timestamp,
        ends: Option<Timestamp>,
    ) -> Result<HandedOutKey, HandOutError> {
        let KeyRecipient { name, owner, not_before } = recipient;
        // A key that is handed out now would be rejected.
        // guard: not-before-its-time
        if let Some(not_before) = not_before.filter(|not_before| now <= *not_before) {
            return Err(HandOutError::NotYet(not_before));
        }
        let lifetime_s = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let usual = Timestamp::from_unix_s(now.unix_s().saturating_add(lifetime_s));
        // guard: not-beyond-identity
        let expires = ends.map_or(usual, |ends| usual.min(ends));
        let Some(master) = self.masters.first().filter(|_| expires > now) else {
            return Err(HandOutError::Ended);
        };
        let mut random = Zeroizing::new([0; SEED_LEN + ID_LEN]);
        rand::fill(&mut *random).map_err(|_| SealingError::Random)?;
        let mut seed = [0; SEED_LEN];
        seed.copy_from_slice(&random[..SEED_LEN]);
        let id = format!("{HANDED_OUT}{}", base16ct::lower::encode_string(&random[SEED_LEN..]));
        let content = TokenContent { issued: now, expires, seed, owner, caller: name };
        let token = Secret::new(master.sealing.seal(&content.encode(), &[&id])?);
        Ok(HandedOutKey { secret: master.secret(&id, &content), id, token, expires })
    }

    /// Opens the token of an access key id.
    ///
    /// # Errors
    /// [`IdentityError::UnexpectedToken`] and [`IdentityError::TokenExpired`].
    pub(super) fn open(&self, id: &str, token: &str, now: Timestamp) -> Result<OpenedToken, IdentityError> {
        let foreign = || IdentityError::UnexpectedToken { id: id.to_owned() };
        // guard: revoked-handed-out-id
        if self.revoked.contains(id) || token.len() > TOKEN_MAX {
            return Err(foreign());
        }
        // The token is bound to its id: it opens with no other.
        let opened = self.masters.iter().find_map(|master| {
            let content = master.sealing.open(token, &[id]).ok()?;
            Some((master, content))
        });
        let (master, content) = opened.ok_or_else(foreign)?;
        let content = TokenContent::decode(&content).ok_or_else(foreign)?;
        // guard: handed-out-expiry
        if now >= content.expires {
            return Err(IdentityError::TokenExpired { expires: content.expires, server_time: now });
        }
        let secret = master.secret(id, &content);
        let TokenContent { caller, owner, issued, .. } = content;
        Ok(OpenedToken { caller: caller.to_owned(), owner, issued, secret })
    }
}

impl fmt::Debug for KeyHandOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHandOut")
            .field("masters", &self.masters.len())
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

impl TokenMaster {
    /// Derives the secret of a key. It consists of letters and digits.
    fn secret(&self, id: &str, content: &TokenContent<'_>) -> Secret {
        let seed = Zeroizing::new(base16ct::lower::encode_string(&content.seed));
        let bytes = self.master.derive(SealingPurpose::HandedOutSecret, &[id, &seed, content.caller]);
        Secret::new(base16ct::lower::encode_string(&bytes[..SECRET_LEN]))
    }
}

impl<'a> TokenContent<'a> {
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut encoded = Zeroizing::new(Vec::with_capacity(HEAD_LEN + self.caller.len()));
        encoded.extend_from_slice(&self.issued.unix_s().to_be_bytes());
        encoded.extend_from_slice(&self.expires.unix_s().to_be_bytes());
        encoded.extend_from_slice(&self.seed);
        encoded.extend_from_slice(self.owner.as_bytes());
        encoded.extend_from_slice(self.caller.as_bytes());
        encoded
    }

    fn decode(encoded: &'a [u8]) -> Option<Self> {
        let (issued, rest) = encoded.split_first_chunk()?;
        let (expires, rest) = rest.split_first_chunk()?;
        let (seed, rest) = rest.split_first_chunk()?;
        let (owner, caller) = rest.split_first_chunk()?;
        Some(Self {
            issued: Timestamp::from_unix_s(i64::from_be_bytes(*issued)),
            expires: Timestamp::from_unix_s(i64::from_be_bytes(*expires)),
            seed: *seed,
            owner: NameOwner::from_bytes(*owner),
            caller: std::str::from_utf8(caller).ok()?,
        })
    }
}

/// Returns whether an access key id is one that was handed out, or looks like one.
#[must_use]
pub(crate) fn is_handed_out(id: &str) -> bool {
    id.starts_with(HANDED_OUT)
}

/// The start of the access key ids that are handed out. Those of Alibaba Cloud begin otherwise.
const HANDED_OUT: &str = "HO.";

/// The number of random bytes in an access key id.
const ID_LEN: usize = 12;
/// The number of random bytes from which a secret is derived.
const SEED_LEN: usize = 32;
/// The number of bytes of a secret: 48 hexadecimal digits.
const SECRET_LEN: usize = 24;
/// The number of bytes of a token before the name of the caller.
const HEAD_LEN: usize = 2 * size_of::<i64>() + SEED_LEN + NameOwner::LEN;
/// The maximum length of a token. Those of callers with the longest names are shorter.
const TOKEN_MAX: usize = 512;
