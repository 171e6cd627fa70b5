//! Object keys: arbitrary bytes, preserved exactly as the client sent them.

use std::fmt;

use super::encoding::{InvalidEscape, encode_path, encode_strict, escaped};

/// An object key of up to 1023 bytes, with its percent-encoded text for request paths.
///
/// The bytes are signed. The path text is the same key in one spelling: escapes are normalized, and
/// a slash that the client wrote as `%2F` remains `%2F`. An intermediary therefore sees no path
/// segment that the client did not send.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Key {
    bytes: Vec<u8>,
    /// The path text; `None` if it is the same as the bytes.
    wire: Option<String>,
}

/// An error in the text of an object key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The percent-encoding is invalid.
    #[error(transparent)]
    Escape(#[from] InvalidEscape),
    /// The key is longer than OSS allows.
    #[error("the object key is {length} bytes long; the limit is {max}", max = Key::BYTES_MAX)]
    TooLong {
        /// The length of the decoded key in bytes.
        length: usize,
    },
}

impl Key {
    /// The longest key that OSS accepts, in bytes.
    pub(crate) const BYTES_MAX: usize = 1023;

    /// Parses a key from the text of a path, without the slash that precedes the key. Nothing is
    /// normalized: `//`, `.`, `..` and `+` are parts of the key.
    ///
    /// # Errors
    /// [`InvalidKey`] if a `%` is not followed by two hexadecimal digits or the key is too long.
    pub fn from_path(text: &str) -> Result<Self, InvalidKey> {
        let text = text.as_bytes();
        if text.iter().copied().all(is_plain) {
            return Self::checked(text.to_vec(), None);
        }
        let mut bytes = Vec::with_capacity(text.len());
        let mut wire = String::with_capacity(text.len() + 16);
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            let plain = text[at..].iter().take_while(|byte| is_plain(**byte)).count();
            if plain > 0 {
                let run = &text[at..at + plain];
                bytes.extend_from_slice(run);
                wire.extend(run.iter().copied().map(char::from));
                at += plain;
            } else if byte == b'%' {
                let meant = escaped(text, at).ok_or(InvalidEscape { at })?;
                bytes.push(meant);
                encode_strict(&[meant], &mut wire);
                at += 3;
            } else {
                bytes.push(byte);
                encode_path(&[byte], &mut wire);
                at += 1;
            }
        }
        Self::checked(bytes, Some(wire))
    }

    /// Creates the key with these bytes.
    ///
    /// # Errors
    /// [`InvalidKey::TooLong`] if there are more than [`Key::BYTES_MAX`] bytes.
    #[cfg(any(test, feature = "internals"))]
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, InvalidKey> {
        let mut wire = String::with_capacity(bytes.len());
        encode_path(&bytes, &mut wire);
        Self::checked(bytes, Some(wire))
    }

    /// Returns the decoded bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the percent-encoded text for a request path, without a leading slash.
    #[must_use]
    pub fn wire(&self) -> &str {
        // Only a key of plain ASCII bytes has no separate path text.
        self.wire.as_deref().unwrap_or_else(|| std::str::from_utf8(&self.bytes).unwrap_or_default())
    }

    /// Returns whether the key is empty: the request is for the bucket or the service.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn checked(bytes: Vec<u8>, wire: Option<String>) -> Result<Self, InvalidKey> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(InvalidKey::TooLong { length: bytes.len() });
        }
        let wire = wire.filter(|wire| wire.as_bytes() != bytes);
        Ok(Self { bytes, wire })
    }
}

/// Returns whether a byte needs no escape in a path.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.wire())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{InvalidKey, Key};

    #[test]
    fn nothing_in_a_path_is_normalised() {
        let key = Key::from_path("a//b/./../c+d%20e").expect("a key");
        assert_eq!(key.as_bytes(), b"a//b/./../c+d e");
        assert_eq!(key.wire(), "a//b/./../c%2Bd%20e");
    }

    #[test]
    fn an_escaped_slash_is_a_slash_of_the_key_and_stays_escaped_on_the_wire() {
        let key = Key::from_path("x%2F..%2fy/z").expect("a key");
        assert_eq!((key.as_bytes(), key.wire()), (&b"x/../y/z"[..], "x%2F..%2Fy/z"));
    }

    #[test]
    fn a_key_has_at_most_1023_bytes_however_it_is_written() {
        assert!(Key::from_path(&"%41".repeat(1023)).is_ok());
        assert_eq!(Key::from_path(&"%41".repeat(1024)), Err(InvalidKey::TooLong { length: 1024 }));
    }

    #[test]
    fn needless_escapes_are_written_plainly() {
        assert_eq!(Key::from_path("%7e%41").expect("a key").wire(), "~A");
    }

    proptest! {
        #[test]
        fn any_bytes_round_trip_through_the_path(bytes in prop::collection::vec(any::<u8>(), 0..1023)) {
            let key = Key::from_bytes(bytes.clone()).expect("short enough");
            let again = Key::from_path(key.wire()).expect("its own wire form");
            prop_assert_eq!(again.as_bytes(), &bytes[..]);
            prop_assert_eq!(again.wire(), key.wire());
        }

        #[test]
        fn reading_the_wire_form_again_changes_nothing(text in "[ -~]{0,200}") {
            if let Ok(key) = Key::from_path(&text) {
                prop_assert_eq!(Key::from_path(key.wire()), Ok(key));
            }
        }
    }
}
