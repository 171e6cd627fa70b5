//! Redaction of error documents. Only plain XML is supported; it is searched for the token in every
//! known encoding. A document that is not understood is not passed on. Pure.
//!
//! Written by hand: a general XML reader accepts attributes, comments, CDATA sections, entities and
//! other encodings, where a token could hide. This one rejects anything but elements and text.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use super::limited_cache::LimitedCache;
use super::redact::{base64_middle, reference, without_token};
use crate::credentials::Credentials;
use crate::secret::Secret;

/// Searches error responses for one token.
pub(super) struct TokenSearch {
    token: Secret,
    /// Pieces of the alphanumeric characters of the token and of its base64. They find copies that
    /// [`without_token`] misses.
    letters: HashSet<[u8; PIECE_BYTES]>,
    /// Pieces of the token in hex digits.
    digits: HashSet<[u8; 2 * PIECE_BYTES]>,
    /// Pieces of the token itself, to be found in character codes.
    bytes: HashSet<[u8; PIECE_BYTES]>,
}

impl TokenSearch {
    pub(super) fn new(token: &Secret) -> Self {
        let text = token.expose();
        let mut letters = HashSet::new();
        let once: Vec<Vec<u8>> = (0..3).filter_map(|before| base64_middle(text.as_bytes(), before)).collect();
        let twice: Vec<Vec<u8>> =
            once.iter().flat_map(|once| (0..3).filter_map(|before| base64_middle(once, before))).collect();
        for form in std::iter::once(text.as_bytes()).chain(once.iter().chain(&twice).map(Vec::as_slice)) {
            letters.extend(pieces(&letters_of(form)));
        }
        let hex = base16ct::lower::encode_string(text.as_bytes());
        Self {
            token: Secret::from(text),
            letters,
            digits: pieces(hex.as_bytes()).collect(),
            bytes: pieces(text.as_bytes()).collect(),
        }
    }

    /// Returns `document` without the token. `None` if the document is not plain XML, or may hold
    /// the token in another form.
    pub(super) fn clean_document(&self, document: &[u8]) -> Option<Vec<u8>> {
        if document.trim_ascii().is_empty() {
            return Some(document.to_vec());
        }
        plain_text(document)?;
        let clean = self.clean_text(document).unwrap_or_else(|| document.to_vec());
        let text = plain_text(&clean)?;
        (!self.may_be_in(&text)).then_some(clean)
    }

    /// Returns `text` without the token in its known forms; `None` if it has no copy.
    pub(super) fn clean_text(&self, text: &[u8]) -> Option<Vec<u8>> {
        without_token(text, self.token.expose())
    }

    /// Returns whether the text may hold the token. References are already resolved;
    /// percent-encoding is decoded here.
    pub(super) fn may_be_in(&self, text: &[u8]) -> bool {
        let mut text = text.to_vec();
        for _ in 0..ENCODINGS_MAX {
            // guard: token-in-error
            if self.is_plainly_in(&text) {
                return true;
            }
            let decoded = percent_decoded(&text);
            if decoded == text {
                return false;
            }
            text = decoded;
        }
        true
    }

    fn is_plainly_in(&self, text: &[u8]) -> bool {
        let letters = letters_of(text);
        let lower = letters.to_ascii_lowercase();
        has_character_escape(text)
            || windows(&letters).any(|window| self.letters.contains(window))
            || windows(&lower).any(|window| self.digits.contains(window))
            || [8, 10, 16].iter().any(|radix| {
                let numbers = numbers_of(text, *radix);
                windows(&numbers).any(|window| self.bytes.contains(window))
            })
    }
}

/// A cache of token searches, one for each set of credentials of this worker.
#[derive(Default)]
pub(super) struct TokenSearches(LimitedCache<Arc<Credentials>, TokenSearch, SEARCHES_MAX>);

impl TokenSearches {
    /// Returns the search for the token of these credentials, if they have one.
    pub(super) fn get(&self, credentials: &Arc<Credentials>) -> Option<Rc<TokenSearch>> {
        let token = credentials.token.as_ref()?;
        let known = self.0.get(|known| Arc::ptr_eq(known, credentials));
        Some(known.unwrap_or_else(|| self.0.insert(Arc::clone(credentials), TokenSearch::new(token))))
    }
}

/// Returns the text of a plain error document, with its references resolved: one `Error` element
/// that may have child elements. `None` for anything else, such as attributes, comments, CDATA
/// sections, processing instructions and entities.
fn plain_text(document: &[u8]) -> Option<Vec<u8>> {
    let document = std::str::from_utf8(document).ok()?.trim_ascii_end();
    let mut rest = without_declaration(document)?.trim_ascii_start();
    let mut open: Vec<&str> = Vec::new();
    let mut text = Vec::new();
    loop {
        let (tag, after) = rest.strip_prefix('<')?.split_once('>')?;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop()? != name {
                return None;
            }
        } else {
            let name = tag.strip_suffix('/').unwrap_or(tag);
            let known = if open.is_empty() { ROOTS.contains(&name) } else { is_name(name) };
            // guard: plain-error
            if !known || open.len() == DEPTH_MAX {
                return None;
            }
            if name == tag {
                open.push(name.split(' ').next()?);
            }
        }
        if open.is_empty() {
            return after.is_empty().then_some(text);
        }
        let content = after.split('<').next()?;
        resolve(content, &mut text)?;
        rest = &after[content.len()..];
    }
}

/// Returns the document after its XML declaration. `None` if that has an encoding other than UTF-8.
fn without_declaration(document: &str) -> Option<&str> {
    let Some(rest) = document.strip_prefix("<?xml ") else { return Some(document) };
    let (declaration, rest) = rest.split_once("?>")?;
    let plain = declaration.replace('\'', "\"").to_ascii_lowercase();
    let parts: Vec<&str> = plain.split_ascii_whitespace().collect();
    matches!(parts[..], ["version=\"1.0\""] | ["version=\"1.0\"", "encoding=\"utf-8\""]).then_some(rest)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Appends the content of an element with its references resolved. `None` for invalid XML or
/// unknown references.
fn resolve(content: &str, text: &mut Vec<u8>) -> Option<()> {
    let is_control = |c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n');
    if content.contains(is_control) || content.contains("]]>") {
        return None;
    }
    let mut rest = content;
    while let Some((before, after)) = rest.split_once('&') {
        text.extend_from_slice(before.as_bytes());
        let (name, following) = after.split_once(';')?;
        let c = match reference(&rest.as_bytes()[before.len()..]) {
            Some(decoded) if decoded.byte.is_ascii() => char::from(decoded.byte),
            Some(_) | None => large_reference(name)?,
        };
        text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        rest = following;
    }
    text.extend_from_slice(rest.as_bytes());
    Some(())
}

/// Returns the character of a numeric reference outside ASCII.
fn large_reference(name: &str) -> Option<char> {
    let digits = name.strip_prefix('#')?;
    let number = match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    char::from_u32(number).filter(|c| !c.is_ascii())
}

/// Returns whether the text has a character escape: `\u0041`, `\u{41}`, `\x41`, `\101`.
fn has_character_escape(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\\').skip(1).any(|after| {
        let (digits, count): (fn(&u8) -> bool, _) = match after {
            [b'u' | b'U' | b'x', b'{', ..] => return true,
            [b'u' | b'U', ..] => (u8::is_ascii_hexdigit, 4),
            [b'x' | b'X', ..] => (u8::is_ascii_hexdigit, 2),
            _ => return after.len() >= 3 && after[..3].iter().all(u8::is_ascii_digit),
        };
        after.len() > count && after[1..=count].iter().all(digits)
    })
}

fn letters_of(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(u8::is_ascii_alphanumeric).collect()
}

/// Returns the bytes that the numbers in a text stand for, with any separators. A number above 255
/// becomes 0.
fn numbers_of(text: &[u8], radix: u32) -> Vec<u8> {
    let number = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok();
    text.split(|byte| !char::from(*byte).is_digit(radix))
        // The 0 is that of prefixes such as 0x41.
        .filter(|digits| !digits.is_empty() && *digits != b"0")
        .map(|digits| number(digits).unwrap_or(0))
        .collect()
}

/// Returns the text with each `%XX` decoded; other percent signs are kept.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(text).collect()
}

/// Splits a form into consecutive pieces. A run of at least `2 * N - 1` bytes of the form contains
/// a whole piece.
fn pieces<const N: usize>(form: &[u8]) -> impl Iterator<Item = [u8; N]> {
    form.chunks_exact(N).filter_map(|piece| piece.try_into().ok())
}

fn windows<const N: usize>(text: &[u8]) -> impl Iterator<Item = &[u8; N]> {
    text.windows(N).filter_map(|window| window.try_into().ok())
}

/// The root element, as OSS writes it and as its documentation shows it.
const ROOTS: [&str; 2] = ["Error", "Error xmlns=\"http://doc.oss-cn-hangzhou.aliyuncs.com\""];
/// The limit on nested elements; OSS has three levels.
const DEPTH_MAX: usize = 5;
const NAME_BYTES_MAX: usize = 64;
/// The size of a piece. A shorter one could match by chance.
const PIECE_BYTES: usize = 8;
/// The limit on percent-encodings applied on top of each other.
const ENCODINGS_MAX: usize = 4;
/// The capacity of the cache: a few sets of credentials are in use at a time.
const SEARCHES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::{TokenSearch, plain_text};
    use crate::secret::Secret;

    const TOKEN: &str = "CAISwQJ1q6Ft5B2yfSjIr5bU+/a1x7pRd0vY==";

    #[test]
    fn only_plain_documents_are_understood() {
        for (document, text) in [
            ("<Error/>", Some("")),
            ("<Error></Error>\n", Some("")),
            ("<Error><Code>a &lt;&#65;&#x4e2d; > b</Code><A><B>c</B></A></Error>", Some("a <A\u{4e2d} > bc")),
            ("<?xml version=\"1.0\"?><Error>x</Error>", Some("x")),
            ("<?xml version=\"1.0\" encoding=\"gbk\"?><Error>x</Error>", None),
            ("<Html><Code>x</Code></Html>", None),
            ("<Error><Code>x</Error></Code>", None),
            ("<Error><Code>x</Code>", None),
            ("<Error>x</Error>y", None),
            ("<Error a=\"b\">x</Error>", None),
            ("<Error><Code >x</Code></Error>", None),
            ("<Error>&nbsp;</Error>", None),
            ("<Error>a & b</Error>", None),
            ("<Error>\u{1}</Error>", None),
            ("<Error><![CDATA[x]]></Error>", None),
            ("<Error><!-- x --></Error>", None),
            ("<Error><?x y?></Error>", None),
            ("<A><Error>x</Error></A>", None),
            ("<Error><a><b><c><d><e>x</e></d></c></b></a></Error>", None),
        ] {
            let found =
                plain_text(document.as_bytes()).map(|text| String::from_utf8_lossy(&text).into_owned());
            assert_eq!(found.as_deref(), text, "{document}");
        }
    }

    proptest! {
        #[test]
        fn no_longer_part_of_a_token_passes(
            from in 0_usize..20, gap in 0_usize..5, noise in "[ \\n.,;:+/=-]{0,3}", base64: bool
        ) {
            let form = if base64 { STANDARD.encode(TOKEN) } else { TOKEN.to_owned() };
            let part = &form[from..from + 17];
            let (begin, end) = part.split_at(6 + gap);
            let document = format!("<Error><Code>X</Code><A>{begin}{noise}</A><B>{end}</B></Error>");
            prop_assert_eq!(TokenSearch::new(&Secret::from(TOKEN)).clean_document(document.as_bytes()), None);
        }

        #[test]
        fn a_document_of_words_passes_as_it_is(text in "[a-zA-Z0-9 .,:/%?_-]{0,200}") {
            let document = format!("<Error><Message>{text}</Message></Error>");
            prop_assert_eq!(TokenSearch::new(&Secret::from(TOKEN)).clean_document(document.as_bytes()), Some(document.into_bytes()));
        }
    }
}
