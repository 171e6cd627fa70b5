//! The encryption of one value, bound to its place.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::error::SealingError;

/// The key of one master and purpose.
pub(crate) struct SealingKey {
    key: RandomizedNonceKey,
}

impl SealingKey {
    /// Creates a key from its bytes.
    pub(super) fn new(bytes: &[u8; 32]) -> Self {
        #[expect(clippy::expect_used, reason = "only a key of another length, or another algorithm, fails")]
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, bytes).expect("a key of 32 bytes");
        Self { key }
    }

    /// Seals a value, bound to `place`: only [`Self::open`] with the same place opens it. The result
    /// is base64url without padding, of the version, the nonce, the ciphertext and the tag.
    ///
    /// # Errors
    /// The random source of the system failed.
    pub(crate) fn seal(&self, plaintext: &[u8], place: &[&str]) -> Result<String, SealingError> {
        let mut sealed = Vec::with_capacity(plaintext.len() + TAG_LEN);
        sealed.extend_from_slice(plaintext);
        let bound = Aad::from(bound(place));
        let nonce =
            self.key.seal_in_place_append_tag(bound, &mut sealed).map_err(|_| SealingError::Random)?;
        Ok(URL_SAFE_NO_PAD.encode([&[VERSION][..], nonce.as_ref(), &sealed].concat()))
    }

    /// Opens a value that was sealed with the same place.
    ///
    /// # Errors
    /// The text is not a sealed value, or was sealed under another key or for another place.
    pub(crate) fn open(&self, text: &str, place: &[&str]) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        let sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| SealingError::Form)?;
        let Some((&[VERSION], sealed)) = sealed.split_first_chunk() else {
            return Err(SealingError::Form);
        };
        let Some((nonce, sealed)) = sealed.split_first_chunk() else { return Err(SealingError::Form) };
        if sealed.len() < TAG_LEN {
            return Err(SealingError::Form);
        }
        self.decrypt(nonce, &bound(place), sealed)
    }

    /// Decrypts a ciphertext that ends with its tag.
    pub(super) fn decrypt(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        let mut plaintext = Zeroizing::new(sealed.to_vec());
        let opened = self.key.open_in_place(Nonce::from(nonce), Aad::from(associated), &mut plaintext);
        let length = opened.map_err(|_| SealingError::Mismatch)?.len();
        plaintext.truncate(length);
        Ok(plaintext)
    }
}

/// Returns the associated data of a value.
fn bound(place: &[&str]) -> Vec<u8> {
    // guard: bound-to-place
    let place = encode_parts(place);
    [&[VERSION][..], &place].concat()
}

/// Encodes texts so that no other texts have the same encoding: each after its length.
pub(super) fn encode_parts(parts: &[&str]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for part in parts {
        encoded.extend_from_slice(&(part.len() as u64).to_be_bytes());
        encoded.extend_from_slice(part.as_bytes());
    }
    encoded
}

/// The version of the form of sealed values.
const VERSION: u8 = 1;
/// The length of the tag.
const TAG_LEN: usize = 16;
