//! The subject of a certificate, in the text form of RFC 4514: `CN=backup,O=Example`.

use std::fmt;

/// The subject of a certificate: its attributes, the most specific one first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SubjectName(Vec<SubjectAttribute>);

/// An attribute of a subject, such as the common name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SubjectAttribute {
    /// The object identifier of its type, in dotted form.
    pub(crate) kind: String,
    /// The value, which is compared exactly.
    pub(crate) value: String,
}

/// The reason why a text is not a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "invalid subject; write it as openssl x509 -noout -subject -nameopt RFC2253 prints it, such as \"CN=backup,O=Example\", without + and quotation marks"
)]
pub(crate) struct InvalidSubject;

impl SubjectName {
    /// Creates a subject from its attributes in the order of the certificate, the most general one
    /// first. Returns `None` without any.
    pub(crate) fn new(mut attributes: Vec<SubjectAttribute>) -> Option<Self> {
        attributes.reverse();
        (!attributes.is_empty()).then_some(Self(attributes))
    }

    /// Parses the text form. Blanks around attributes and types do not matter.
    ///
    /// # Errors
    /// [`InvalidSubject`], also for multi-valued attributes and values in hexadecimal.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidSubject> {
        let mut attributes = Vec::new();
        let mut rest = text.as_bytes();
        loop {
            let equals = rest.iter().position(|byte| *byte == b'=').ok_or(InvalidSubject)?;
            let kind = std::str::from_utf8(&rest[..equals]).map_err(|_| InvalidSubject)?;
            let AttributeValue { value, after } = AttributeValue::read(&rest[equals + 1..])?;
            attributes.push(SubjectAttribute { kind: object_identifier(kind.trim())?, value });
            match after {
                Some(after) => rest = after,
                None => return Ok(Self(attributes)),
            }
        }
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, SubjectAttribute { kind, value }) in self.0.iter().enumerate() {
            let name = KINDS.iter().find(|known| known.1 == kind).map_or(kind.as_str(), |known| known.0);
            write!(f, "{}{name}={}", if index == 0 { "" } else { "," }, value.escape_debug())?;
        }
        Ok(())
    }
}

/// A value, without its escapes.
struct AttributeValue<'a> {
    value: String,
    /// The text after the comma; `None` at the end.
    after: Option<&'a [u8]>,
}

impl<'a> AttributeValue<'a> {
    fn read(text: &'a [u8]) -> Result<Self, InvalidSubject> {
        let text = text.trim_ascii_start();
        if text.first() == Some(&b'#') {
            return Err(InvalidSubject);
        }
        let mut value = Vec::new();
        // The length without blanks at the end that are not escaped.
        let mut length = 0;
        let mut at = 0;
        let after = loop {
            let Some(byte) = text.get(at) else { break None };
            at += 1;
            match byte {
                b',' => break Some(&text[at..]),
                b'\\' => {
                    let escaped = EscapedByte::read(&text[at..]).ok_or(InvalidSubject)?;
                    at += escaped.length;
                    value.push(escaped.byte);
                    length = value.len();
                }
                b'"' | b'+' | b';' | b'<' | b'>' => return Err(InvalidSubject),
                byte => {
                    value.push(*byte);
                    length = if *byte == b' ' { length } else { value.len() };
                }
            }
        };
        value.truncate(length);
        let value = String::from_utf8(value).ok().filter(|value| !value.is_empty()).ok_or(InvalidSubject)?;
        Ok(Self { value, after })
    }
}

/// A byte after a backslash.
struct EscapedByte {
    byte: u8,
    /// The length of its text.
    length: usize,
}

impl EscapedByte {
    fn read(text: &[u8]) -> Option<Self> {
        if let [byte, ..] = text
            && b"\"+,;<>= #\\".contains(byte)
        {
            return Some(Self { byte: *byte, length: 1 });
        }
        let mut byte = [0];
        base16ct::mixed::decode(text.get(..2)?, &mut byte).ok()?;
        Some(Self { byte: byte[0], length: 2 })
    }
}

/// Returns the object identifier of an attribute type, which is a known name in any case, or the
/// identifier itself.
fn object_identifier(kind: &str) -> Result<String, InvalidSubject> {
    if let Some((_, known)) = KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind)) {
        return Ok((*known).to_owned());
    }
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_identifier = kind.contains('.') && kind.split('.').all(is_number);
    if is_identifier { Ok(kind.to_owned()) } else { Err(InvalidSubject) }
}

/// The names of attribute types (RFC 4514, 3, and the two that openssl prints by name).
const KINDS: [(&str, &str); 11] = [
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("serialNumber", "2.5.4.5"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
];

#[cfg(test)]
mod tests {
    use super::{InvalidSubject, SubjectAttribute, SubjectName};

    /// Returns a subject of these attributes, the most specific one first.
    fn subject(attributes: &[(&str, &str)]) -> SubjectName {
        let attribute = |(kind, value): &(&str, &str)| SubjectAttribute {
            kind: (*kind).to_owned(),
            value: (*value).to_owned(),
        };
        SubjectName::new(attributes.iter().rev().map(attribute).collect()).expect("attributes")
    }

    #[test]
    fn a_subject_is_read_in_the_text_form_of_rfc_4514() {
        for (text, attributes) in [
            ("CN=backup,O=Example", &[("2.5.4.3", "backup"), ("2.5.4.10", "Example")][..]),
            ("cn = backup , o=Example ", &[("2.5.4.3", "backup"), ("2.5.4.10", "Example")]),
            (
                "CN=a b,DC=example,DC=com",
                &[
                    ("2.5.4.3", "a b"),
                    ("0.9.2342.19200300.100.1.25", "example"),
                    ("0.9.2342.19200300.100.1.25", "com"),
                ],
            ),
            ("CN=a=b", &[("2.5.4.3", "a=b")]),
            ("2.5.4.65=alias", &[("2.5.4.65", "alias")]),
            (r"CN=a\,O\=b", &[("2.5.4.3", "a,O=b")]),
            (r"CN=\ a\ ", &[("2.5.4.3", " a ")]),
            (r"CN=\C3\a4\5C", &[("2.5.4.3", "ä\\")]),
            ("CN=system:masters", &[("2.5.4.3", "system:masters")]),
        ] {
            assert_eq!(SubjectName::parse(text), Ok(subject(attributes)), "{text}");
        }
        for text in [
            "",
            "backup",
            "CN=",
            "CN= ",
            "CN=a,",
            ",CN=a",
            "=a",
            "CN=a,,O=b",
            "CN=a+O=b",
            "CN=\"a\"",
            "CN=#0403",
            "XY=a",
            "CN=a\\",
            "CN=\\zz",
            "CN=\\ff",
            "/CN=a/O=b",
            "2.=a",
            "CN=a;O=b",
        ] {
            assert_eq!(SubjectName::parse(text), Err(InvalidSubject), "{text}");
        }
    }

    #[test]
    fn subjects_with_other_values_or_another_order_differ() {
        let one = SubjectName::parse("CN=backup,O=Example").expect("a subject");
        for other in ["CN=Backup,O=Example", "O=Example,CN=backup", "CN=backup", r"CN=backup\,O\=Example"] {
            assert_ne!(SubjectName::parse(other), Ok(one.clone()), "{other}");
        }
        assert_eq!(one.to_string(), "CN=backup,O=Example");
        assert_eq!(SubjectName::new(Vec::new()), None);
    }
}
