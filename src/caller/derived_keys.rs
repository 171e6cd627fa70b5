//! The derived V4 keys of callers, and the comparison of a signature with those of all valid secrets
//! in constant time.

use std::cell::{Cell, RefCell};

use hmac::{Hmac, Mac as _};
use lru::LruCache;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use super::directory::{CallerDirectory, KeyEntry, NumberedSecret, SecretNumber};
use super::signature_claim::ClaimedText;
use crate::oss::SigningProduct;
use crate::sign::{v1, v4};
use crate::time::UtcDay;

/// The derived V4 keys of callers, for one worker. The client chooses day and region, so the number
/// of keys is limited.
pub(crate) struct DerivedKeys {
    keys: RefCell<LruCache<DerivedKeyScope, Hmac<Sha256>>>,
    /// The number of HMACs so far.
    computed: Cell<u64>,
}

/// The secret and the scope that a key was derived from.
#[derive(PartialEq, Eq, Hash)]
struct DerivedKeyScope {
    number: SecretNumber,
    day: UtcDay,
    product: SigningProduct,
    region: Box<str>,
}

impl DerivedKeys {
    /// Returns whether any secret of the entry makes the signature. Computes as many HMACs for an
    /// unknown id as for a wrong signature.
    pub(super) fn verify(
        &self,
        signed: &ClaimedText<'_>,
        directory: &CallerDirectory,
        entry: Option<&KeyEntry>,
    ) -> Choice {
        let own = entry.map_or(0, |entry| entry.secrets.len());
        let mut is_signed = Choice::from(0);
        for (index, secret) in directory.secrets(entry).into_iter().enumerate() {
            // Decoys only make failures equal, and no decoy can make a signature valid.
            if index >= own && bool::from(is_signed) {
                break;
            }
            let is_equal = self.is_equal(signed, secret);
            is_signed |= is_equal & Choice::from(u8::from(index < own));
        }
        is_signed
    }

    fn is_equal(&self, signed: &ClaimedText<'_>, secret: &NumberedSecret) -> Choice {
        match signed {
            ClaimedText::V1 { signature, string_to_sign } => {
                self.count(1);
                v1::mac(&secret.secret, string_to_sign).ct_eq(signature)
            }
            ClaimedText::V4(claimed) => {
                let strings = std::iter::once(&claimed.string_to_sign).chain(&claimed.alternative);
                let mac = self.derived(secret, claimed.scope);
                strings.fold(Choice::from(0), |is_equal, string| {
                    self.count(1);
                    let right: [u8; 32] = mac.clone().chain_update(string).finalize().into_bytes().into();
                    is_equal | right.ct_eq(&claimed.signature)
                })
            }
        }
    }

    fn derived(&self, secret: &NumberedSecret, scope: v4::CredentialScope<'_>) -> Hmac<Sha256> {
        let v4::CredentialScope { day, region, product } = scope;
        let wanted = DerivedKeyScope { number: secret.number, day, product, region: region.into() };
        let mut keys = self.keys.borrow_mut();
        let derive = || {
            self.count(DERIVATION_HMACS);
            v4::derive_mac(&secret.secret, scope)
        };
        let mac = keys.get_or_insert(wanted, derive).clone();
        if keys.len() > DERIVED_KEYS_MAX {
            keys.pop_lru();
        }
        mac
    }

    /// Returns the number of HMACs so far.
    #[cfg(test)]
    pub(super) fn computed(&self) -> u64 {
        self.computed.get()
    }

    /// Returns the number of keys.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.borrow().len()
    }

    fn count(&self, hmacs: u64) {
        self.computed.set(self.computed.get() + hmacs);
    }
}

impl Default for DerivedKeys {
    fn default() -> Self {
        Self { keys: RefCell::new(LruCache::unbounded()), computed: Cell::default() }
    }
}

/// The maximum number of derived keys of a worker.
const DERIVED_KEYS_MAX: usize = 16 * 1024;
/// The number of HMACs that derive a key.
const DERIVATION_HMACS: u64 = 4;
