//! Percent-encoding as OSS signs it: all characters except `A-Z a-z 0-9 - . _ ~` become `%XX` in
//! upper case. It is used for the canonical URI and query of "Include a V4 signature in the header"
//! (OSS API reference).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// The characters that are escaped in names and values of a query.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The characters that are escaped in a path; a slash is not.
const PATH: &AsciiSet = &STRICT.remove(b'/');

/// A `%` that two hexadecimal digits do not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the percent sign at byte {at} is not followed by two hexadecimal digits")]
pub struct InvalidEscape {
    /// Its offset in bytes from the start of the text.
    pub(crate) at: usize,
}

/// Appends `bytes` with all but unreserved characters escaped; `/` becomes `%2F`.
pub(crate) fn encode_strict(bytes: &[u8], out: &mut String) {
    out.extend(percent_encode(bytes, STRICT));
}

/// Appends `bytes` with all but unreserved characters and `/` escaped.
pub(crate) fn encode_path(bytes: &[u8], out: &mut String) {
    out.extend(percent_encode(bytes, PATH));
}

/// Decodes `text`. A `+` is not decoded to a space.
///
/// # Errors
/// [`InvalidEscape`] if a `%` is not followed by two hexadecimal digits.
pub(crate) fn decode(text: &[u8]) -> Result<Vec<u8>, InvalidEscape> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte == b'%' {
            out.push(escaped(text, at).ok_or(InvalidEscape { at })?);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    Ok(out)
}

/// Returns the byte that the escape at `at` stands for.
pub(super) fn escaped(text: &[u8], at: usize) -> Option<u8> {
    let digit = |offset: usize| char::from(*text.get(at + offset)?).to_digit(16);
    u8::try_from(digit(1)? * 16 + digit(2)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{InvalidEscape, decode, encode_path, encode_strict};

    fn path(bytes: &[u8]) -> String {
        let mut out = String::new();
        encode_path(bytes, &mut out);
        out
    }

    #[test]
    fn only_unreserved_characters_and_the_slash_stay_in_a_path() {
        assert_eq!(path(b"a/b//./..~-_.*'()!+ %"), "a/b//./..~-_.%2A%27%28%29%21%2B%20%25");
        assert_eq!(path("\u{e9}\u{1F600}".as_bytes()), "%C3%A9%F0%9F%98%80");
    }

    #[test]
    fn a_slash_in_a_query_value_is_escaped() {
        let mut out = String::new();
        encode_strict(b"a/b", &mut out);
        assert_eq!(out, "a%2Fb");
    }

    #[test]
    fn a_percent_sign_without_two_digits_is_refused_with_its_place() {
        for (text, at) in [("%", 0), ("a%2", 1), ("%zz", 0), ("%41%4g", 3), ("%+1", 0)] {
            assert_eq!(decode(text.as_bytes()), Err(InvalidEscape { at }), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_survive_encoding_and_decoding(bytes: Vec<u8>) {
            prop_assert_eq!(decode(path(&bytes).as_bytes()), Ok(bytes));
        }

        #[test]
        fn encoding_the_decoded_form_again_changes_nothing(bytes: Vec<u8>) {
            let once = path(&bytes);
            let twice = path(&decode(once.as_bytes()).expect("our own encoding is well formed"));
            prop_assert_eq!(once, twice);
        }
    }
}
