//! Sealed values: secrets that are encrypted under a master and bound to a purpose and a place. Pure.
//!
//! A value is sealed with AES-256-GCM-SIV (RFC 8452) under a random nonce of 96 bits. Its key is
//! derived from the master with HKDF-SHA256 (RFC 5869), with another label for each purpose.
//!
//! A master is good for 2^32 values of each purpose: the probability that two of them have the same
//! nonce is then 2^-33. Even then GCM-SIV reveals only whether both seal the same plaintext in the
//! same place.

mod error;
mod master;
mod sealed_secret;
mod sealing_key;

pub(crate) use error::SealingError;
pub(crate) use master::{MasterKey, SealingPurpose};
pub(crate) use sealed_secret::SealedPlace;
pub(crate) use sealing_key::SealingKey;

#[cfg(test)]
mod tests;
