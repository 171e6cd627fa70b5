//! Sealed secrets as the configuration refers to them, such as `sealed:AbCd`.

use zeroize::Zeroizing;

use super::error::SealingError;
use super::master::{MasterKey, SealingPurpose};
use crate::secret::Secret;

/// The place of a sealed secret in the configuration. The secret cannot be opened in another one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SealedPlace<'a> {
    /// The secret of an access key.
    Key {
        /// The name of the caller.
        caller: &'a str,
        /// The access key id.
        id: &'a str,
    },
    /// A bearer token.
    Token {
        /// The name of the caller.
        caller: &'a str,
    },
}

impl SealedPlace<'_> {
    /// Returns whether a value of the configuration is a sealed secret.
    #[must_use]
    pub(crate) fn is_sealed(value: &str) -> bool {
        value.starts_with(PREFIX)
    }

    /// Returns the value of the configuration for `secret` in this place.
    ///
    /// # Errors
    /// The random source of the system failed.
    pub(crate) fn seal(self, secret: &Secret, master: &MasterKey) -> Result<String, SealingError> {
        let key = master.sealing_key(self.purpose());
        let sealed = key.seal(secret.expose().as_bytes(), &self.parts())?;
        Ok(format!("{PREFIX}{sealed}"))
    }

    /// Opens a value of the configuration that was sealed for this place with any of the masters.
    ///
    /// # Errors
    /// It was sealed with another master or for another place, or it was altered.
    pub(crate) fn open(self, value: &str, masters: &[MasterKey]) -> Result<Secret, SealingError> {
        let sealed = value.strip_prefix(PREFIX).ok_or(SealingError::Form)?;
        let mut failure = SealingError::Mismatch;
        for master in masters {
            match master.sealing_key(self.purpose()).open(sealed, &self.parts()) {
                Ok(plaintext) => return text(&plaintext),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn purpose(self) -> SealingPurpose {
        match self {
            Self::Key { .. } => SealingPurpose::CallerSecret,
            Self::Token { .. } => SealingPurpose::CallerToken,
        }
    }

    fn parts(&self) -> Vec<&str> {
        match self {
            // guard: sealed-for-caller
            // guard: sealed-for-id
            Self::Key { caller, id } => vec![caller, id],
            // guard: sealed-token-for-caller
            Self::Token { caller } => vec![caller],
        }
    }
}

/// Returns a plaintext as text. Only text is sealed.
fn text(plaintext: &Zeroizing<Vec<u8>>) -> Result<Secret, SealingError> {
    std::str::from_utf8(plaintext).map(Secret::from).map_err(|_| SealingError::Form)
}

/// The prefix of sealed secrets in the configuration.
const PREFIX: &str = "sealed:";
