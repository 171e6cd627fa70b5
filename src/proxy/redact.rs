//! Redaction of the security token in error responses, which repeat parts of the request. A client
//! must not obtain the token, because it grants the right to sign. Pure.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Returns `text` with every copy of the token replaced; `None` if it has no copy.
///
/// A copy may be plain, percent-encoded once or twice, written with XML references, or a mix of
/// these. It may also be hex digits, with or without separators. A base64 string that contains the
/// token is replaced as a whole.
#[must_use]
pub fn without_token(text: &[u8], token: &str) -> Option<Vec<u8>> {
    if token.is_empty() {
        return None;
    }
    let encoded = [percent_encoded(token, true), percent_encoded(token, false)];
    let hex = [token.as_bytes(), encoded[0].as_bytes(), encoded[1].as_bytes()];
    let base64 = base64_middles(token.as_bytes());
    let copy_at = |rest: &[u8]| {
        written(rest, token.as_bytes()).or_else(|| hex.iter().find_map(|bytes| in_hex(rest, bytes)))
    };
    let mut out = Vec::new();
    let mut at = 0;
    let mut copied = 0;
    while at < text.len() {
        let copy = copy_at(&text[at..]).map(|length| at..at + length);
        match copy.or_else(|| in_base64(text, copied, at, &base64)) {
            Some(copy) => {
                out.extend_from_slice(&text[copied..copy.start]);
                out.extend_from_slice(REMOVED);
                at = copy.end;
                copied = copy.end;
            }
            None => at += 1,
        }
    }
    (copied > 0).then(|| {
        out.extend_from_slice(&text[copied..]);
        out
    })
}

/// Returns the length of the token at the beginning of `text`, if `text` begins with it.
fn written(text: &[u8], token: &[u8]) -> Option<usize> {
    if text.starts_with(token) {
        return Some(token.len());
    }
    let mut at = 0;
    for byte in token {
        let decoded = FORMS.iter().find_map(|form| form(&text[at..]).filter(|found| found.byte == *byte))?;
        at += decoded.length;
    }
    Some(at)
}

/// A decoded byte.
pub(super) struct DecodedByte {
    pub(super) byte: u8,
    /// The length of its encoded form.
    length: usize,
}

/// Decodes the byte at the beginning of a text.
type ByteDecoder = fn(&[u8]) -> Option<DecodedByte>;

/// The decoders, those of longer forms first. A token that contains `&` or `%` is then also found
/// where these are escaped.
const FORMS: [ByteDecoder; 4] = [
    reference,
    |text| escaped(text, b"%25"),
    |text| escaped(text, b"%"),
    |text| text.first().map(|byte| DecodedByte { byte: *byte, length: 1 }),
];

fn escaped(text: &[u8], prefix: &[u8]) -> Option<DecodedByte> {
    let digits = text.strip_prefix(prefix)?;
    Some(DecodedByte { byte: pair(digits)?, length: prefix.len() + 2 })
}

/// Decodes an XML reference such as `&amp;`, `&#43;` or `&#x2B;`.
pub(super) fn reference(text: &[u8]) -> Option<DecodedByte> {
    let name = text.strip_prefix(b"&")?;
    let end = name.iter().take(REFERENCE_MAX).position(|byte| *byte == b';')?;
    let name = std::str::from_utf8(&name[..end]).ok()?;
    let byte = match name {
        "amp" => b'&',
        "lt" => b'<',
        "gt" => b'>',
        "quot" => b'"',
        "apos" => b'\'',
        number => match number.strip_prefix('#')?.strip_prefix(['x', 'X']) {
            Some(hex) => u8::from_str_radix(hex, 16).ok()?,
            None => number[1..].parse().ok()?,
        },
    };
    Some(DecodedByte { byte, length: end + 2 })
}

/// Returns the length of `bytes` in hex digits, if `text` begins with them. One separator is
/// allowed between two bytes.
fn in_hex(text: &[u8], bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 && text.get(at).is_some_and(|next| b" ,:-".contains(next)) {
            at += 1;
        }
        if pair(&text[at..])? != *byte {
            return None;
        }
        at += 2;
    }
    Some(at)
}

/// Returns the base64 digits determined by the token alone, for each of its three alignments.
/// `None` for an alignment with too few digits.
fn base64_middles(token: &[u8]) -> [Option<Vec<u8>>; 3] {
    [0, 1, 2].map(|before| base64_middle(token, before))
}

/// Returns the base64 digits determined by `token` alone if `before` bytes precede it. `None` if
/// there are fewer than [`BASE64_MIN`].
pub(super) fn base64_middle(token: &[u8], before: usize) -> Option<Vec<u8>> {
    let encoded = STANDARD.encode([&[0; 2][..before], token].concat()).into_bytes();
    let from = (before * 8).div_ceil(6);
    let to = (before + token.len()) * 8 / 6;
    let middle = encoded.get(from..to)?;
    (middle.len() >= BASE64_MIN).then(|| middle.to_vec())
}

/// Returns the range of the base64 text that has one of `middles` at `at`, in either alphabet. The
/// range does not begin before `from`.
fn in_base64(text: &[u8], from: usize, at: usize, middles: &[Option<Vec<u8>>; 3]) -> Option<Range<usize>> {
    let usual = |byte: &u8| match *byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    };
    let begins = |middle: &Vec<u8>| {
        let there = text[at..].iter().take(middle.len()).map(usual);
        there.eq(middle.iter().copied())
    };
    let middle = middles.iter().flatten().find(|middle| begins(middle))?;
    let is_digit = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let before = text[from..at].iter().rev().take_while(is_digit).count();
    let rest = &text[at + middle.len()..];
    let after = rest.iter().take_while(is_digit).count();
    let padding = rest[after..].iter().take_while(|byte| **byte == b'=').count().min(2);
    Some(at - before..at + middle.len() + after + padding)
}

fn pair(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

fn percent_encoded(token: &str, upper: bool) -> String {
    let mut out = String::with_capacity(token.len());
    for byte in token.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ if upper => out.push_str(&format!("%{byte:02X}")),
            _ => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}

const REMOVED: &[u8] = b"[removed]";
/// The least number of base64 digits that are searched for. Fewer could match by chance.
const BASE64_MIN: usize = 10;
/// The maximum length of a reference; the longest is `#x0002B`.
const REFERENCE_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::{percent_encoded, without_token};

    const TOKEN: &str = "CAIS+a/b==&z";

    fn forms(token: &str) -> Vec<String> {
        let hex = |separator: &str, upper: bool| {
            let byte = |b: u8| if upper { format!("{b:02X}") } else { format!("{b:02x}") };
            token.bytes().map(byte).collect::<Vec<_>>().join(separator)
        };
        let all = |byte: u8| format!("%{byte:02x}");
        vec![
            token.to_owned(),
            percent_encoded(token, true),
            percent_encoded(token, false),
            percent_encoded(&percent_encoded(token, true), true),
            token.bytes().map(all).collect(),
            token.bytes().map(|byte| format!("&#{byte};")).collect(),
            token.bytes().map(|byte| format!("&#x{byte:X};")).collect(),
            crate::oss::escape_xml(token),
            hex(" ", true),
            hex("", false),
            hex(":", false),
        ]
    }

    #[test]
    fn the_token_goes_in_every_form_and_its_surroundings_stay() {
        for form in forms(TOKEN) {
            let text = format!("<S>GET\nx-oss-security-token:{form}\n/b/k {form}</S>");
            let clean = without_token(text.as_bytes(), TOKEN).unwrap_or_else(|| panic!("{form}"));
            assert_eq!(
                String::from_utf8_lossy(&clean),
                "<S>GET\nx-oss-security-token:[removed]\n/b/k [removed]</S>",
                "{form}"
            );
        }
    }

    #[test]
    fn base64_that_has_the_token_in_it_goes_as_a_whole() {
        use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};
        for before in ["", "a", "ab", "abc", "abcd"] {
            for after in ["", "z", "zz", "\nGET /b/k"] {
                let text = format!("{before}{TOKEN}{after}");
                for encoded in [STANDARD.encode(&text), STANDARD_NO_PAD.encode(&text), URL_SAFE.encode(&text)]
                {
                    let document = format!("<S>{encoded}</S><Code>X</Code>");
                    let clean =
                        without_token(document.as_bytes(), TOKEN).unwrap_or_else(|| panic!("{document}"));
                    assert_eq!(String::from_utf8_lossy(&clean), "<S>[removed]</S><Code>X</Code>", "{text}");
                }
            }
        }
        let other = STANDARD.encode("a text that has no token in it, but is as long as one that has");
        assert_eq!(without_token(other.as_bytes(), TOKEN), None);
    }

    proptest! {
        #[test]
        fn no_form_of_any_token_survives(
            token in "[A-Za-z0-9+/=._-]{8,40}", before in "[a-z<>&% 0-9]{0,20}", after in "[ <\n].{0,20}", which in 0..11_usize
        ) {
            let form = forms(&token)[which].clone();
            let text = format!("{before}{form}{after}");
            let clean = without_token(text.as_bytes(), &token).expect("a copy was there");
            prop_assert!(!clean.windows(form.len()).any(|window| window == form.as_bytes()));
        }

        #[test]
        fn text_without_the_token_stays_as_it_is(text in "[a-f0-9%&;# ]{0,200}") {
            prop_assert_eq!(without_token(text.as_bytes(), TOKEN), None);
        }
    }
}
