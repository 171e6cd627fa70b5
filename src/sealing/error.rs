//! The reasons why a value cannot be sealed or opened.

/// The reason why a value cannot be sealed or opened. It never contains a part of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealingError {
    /// The master is too short.
    #[error("the master has fewer than 32 bytes; `openssl rand -hex 32` prints a random one")]
    ShortMaster,
    /// The text is not a sealed value.
    #[error("the sealed value is incomplete, altered, or of another version")]
    Form,
    /// The value was sealed under another master, for another purpose or place, or was altered.
    #[error("the sealed value was made with another master or for another place, or was altered")]
    Mismatch,
    /// The random source of the system failed.
    #[error("the random source of the system failed")]
    Random,
}
