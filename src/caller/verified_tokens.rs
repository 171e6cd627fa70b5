//! The JSON Web Tokens whose signatures were verified before. A signature costs about as much as the
//! rest of a small request, and a client sends the same token many times. Claims and times are not
//! kept, but checked for each request.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use lru::LruCache;
use sha2::{Digest as _, Sha256};

use super::jwt_key_set::JwtKeySet;

/// The tokens with right signatures, for one worker.
pub(crate) struct VerifiedTokens {
    /// The keys that verified each token, by its SHA-256.
    tokens: RefCell<LruCache<[u8; 32], Arc<JwtKeySet>>>,
    /// The number of signatures that were computed.
    computed: Cell<u64>,
}

impl VerifiedTokens {
    /// Returns whether the signature of a token is right, by `verify` unless the same keys verified
    /// it before.
    pub(super) fn check(&self, token: &[u8], keys: &Arc<JwtKeySet>, verify: impl FnOnce() -> bool) -> bool {
        let digest = Sha256::digest(token).into();
        // guard: same-keys-verified
        if self.tokens.borrow_mut().get(&digest).is_some_and(|known| Arc::ptr_eq(known, keys)) {
            return true;
        }
        self.computed.set(self.computed.get() + 1);
        let is_right = verify();
        if is_right {
            let mut tokens = self.tokens.borrow_mut();
            tokens.put(digest, Arc::clone(keys));
            if tokens.len() > TOKENS_MAX {
                tokens.pop_lru();
            }
        }
        is_right
    }

    /// Returns the number of signatures that were computed.
    #[cfg(test)]
    pub(super) fn computed(&self) -> u64 {
        self.computed.get()
    }

    /// Returns the number of tokens.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.tokens.borrow().len()
    }
}

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self { tokens: RefCell::new(LruCache::unbounded()), computed: Cell::default() }
    }
}

/// The maximum number of tokens of a worker.
const TOKENS_MAX: usize = 4 * 1024;
