//! Percent encoding and query parsing as OSS does them. Deliberately independent of `oss`, so that
//! a bug there is not hidden by the same bug here.

use std::fmt::Write as _;

/// A decoded query parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ParameterPair {
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// The query parameters, in the order received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ParameterPairs(pub(super) Vec<ParameterPair>);

/// Treatment of `/` by [`escape`]. Letters, digits and `-._~` are never escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlashEscaping {
    Keep,
    Escape,
}

impl ParameterPairs {
    /// Parses `a=b&c`, with `+` for a space. Returns `None` if an escape is invalid.
    pub(super) fn parse(query: &str) -> Option<Self> {
        let mut pairs = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            pairs.push(ParameterPair {
                name: unescape(name.replace('+', " ").as_bytes())?,
                value: unescape(value.replace('+', " ").as_bytes())?,
            });
        }
        Some(Self(pairs))
    }

    /// Returns the value of the first parameter with this name.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        let pair = self.0.iter().find(|pair| pair.name == name.as_bytes())?;
        Some(&pair.value)
    }

    /// Returns the value as text. A value that is not UTF-8 counts as missing.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.bytes(name)?).ok()
    }

    /// Returns whether a parameter with this name is present, with or without a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.bytes(name).is_some()
    }
}

/// Replaces each `%XX` by its byte. Returns `None` if a `%` is not followed by two hexadecimal
/// digits.
pub(super) fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            out.push(first);
            continue;
        }
        let [high, low, ..] = tail else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        out.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
        rest = &tail[2..];
    }
    Some(out)
}

/// Percent-encodes `bytes` with upper-case digits.
pub(super) fn escape(bytes: &[u8], slash: SlashEscaping) -> String {
    let mut out = String::with_capacity(bytes.len() + 16);
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' if slash == SlashEscaping::Keep => out.push('/'),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{ParameterPairs, SlashEscaping, escape, unescape};

    #[test]
    fn escapes_are_decoded_once_and_broken_ones_are_refused() {
        assert_eq!(unescape(b"a%2Fb%252f+%ff"), Some(b"a/b%2f+\xff".to_vec()));
        for broken in [&b"%"[..], b"%2", b"%zz", b"a%+1"] {
            assert_eq!(unescape(broken), None);
        }
    }

    #[test]
    fn only_the_unreserved_characters_stay() {
        assert_eq!(escape(b"a/b~*'( )+%", SlashEscaping::Keep), "a/b~%2A%27%28%20%29%2B%25");
        assert_eq!(escape(b"a/b", SlashEscaping::Escape), "a%2Fb");
    }

    #[test]
    fn a_query_is_split_at_the_first_equals_sign() {
        let pairs = ParameterPairs::parse("a=b=c&&acl&x=+%2B").expect("whole escapes");
        assert_eq!(pairs.get("a"), Some("b=c"));
        assert_eq!(pairs.get("acl"), Some(""));
        assert_eq!(pairs.get("x"), Some(" +"));
        assert_eq!(pairs.0.len(), 3);
    }
}
