//! The master, from which the key of each purpose is derived.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use zeroize::Zeroizing;

use super::error::SealingError;
use super::sealing_key::{SealingKey, encode_parts};
use crate::secret::Secret;

/// A master. It must be random: keys are derived from it without the work that a password needs.
pub(crate) struct MasterKey {
    prk: Prk,
}

/// The purpose of a key that is derived from a master. Keys of different purposes are independent,
/// so that a value for one purpose cannot be used for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealingPurpose {
    /// The secret of an access key in the configuration.
    CallerSecret,
    /// The bearer token of a caller in the configuration.
    CallerToken,
    /// The security token of a key that was handed out.
    HandedOutToken,
    /// The secret of a key that was handed out.
    HandedOutSecret,
}

impl MasterKey {
    /// Takes a master of at least [`MASTER_MIN`] bytes.
    ///
    /// # Errors
    /// The master is shorter.
    pub(crate) fn new(master: &Secret) -> Result<Self, SealingError> {
        let master = master.expose().as_bytes();
        if master.len() < MASTER_MIN {
            return Err(SealingError::ShortMaster);
        }
        Ok(Self { prk: extract(SALT, master) })
    }

    /// Returns the key that seals and opens values for `purpose`.
    #[must_use]
    pub(crate) fn sealing_key(&self, purpose: SealingPurpose) -> SealingKey {
        SealingKey::new(&self.derive(purpose, &[]))
    }

    /// Derives 32 bytes for `purpose` and `context`.
    #[must_use]
    pub(crate) fn derive(&self, purpose: SealingPurpose, context: &[&str]) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0; 32]);
        // guard: label-of-purpose
        let label = purpose.label();
        expand(&self.prk, &encode_parts(&[&[label], context].concat()), &mut *derived);
        derived
    }
}

impl SealingPurpose {
    fn label(self) -> &'static str {
        match self {
            Self::CallerSecret => "secret of a caller",
            Self::CallerToken => "token of a caller",
            Self::HandedOutToken => "security token of a handed-out key",
            Self::HandedOutSecret => "secret of a handed-out key",
        }
    }
}

/// The first step of HKDF-SHA256.
pub(super) fn extract(salt: &[u8], secret: &[u8]) -> Prk {
    Salt::new(HKDF_SHA256, salt).extract(secret)
}

/// The second step of HKDF-SHA256, for an output of at most 255 hashes.
#[expect(clippy::expect_used, reason = "only an output that is too long, or has another length, fails")]
pub(super) fn expand(prk: &Prk, info: &[u8], output: &mut [u8]) {
    let filled = prk.expand(&[info], OutputLength(output.len())).and_then(|okm| okm.fill(output));
    filled.expect("HKDF of a valid length");
}

/// The length of an output in bytes.
struct OutputLength(usize);

impl KeyType for OutputLength {
    fn len(&self) -> usize {
        self.0
    }
}

/// The minimum length of a master: 32 random hexadecimal digits have 128 bits.
pub(crate) const MASTER_MIN: usize = 32;
/// Separates these keys from those that another program derives from the same master.
const SALT: &[u8] = b"oss-signing-proxy sealing v1";
