//! XML documents: written element by element, and read as a flat list of paths and texts.
//!
//! The writer is written by hand, because OSS writes bytes of keys that XML does not permit. The
//! reader keeps no tree, because operations only select elements by path.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use super::super::encoding::{SlashEscaping, escape};
use super::super::error::OssError;
use super::context::OperationContext;

/// A document that is being written.
#[derive(Debug)]
pub(super) struct XmlDocument {
    out: Vec<u8>,
    root: &'static str,
}

/// The encoding of keys in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyEncoding {
    /// Unchanged, even if XML does not permit the bytes.
    Plain,
    /// Percent-encoded: `encoding-type=url`.
    Url,
}

/// A parsed element.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct XmlElement {
    /// The path from the root, such as `Delete/Object/Key`.
    pub(super) path: String,
    pub(super) text: String,
}

impl XmlDocument {
    pub(super) fn new(root: &'static str) -> Self {
        let mut document = Self { out: b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_vec(), root };
        document.open(root);
        document
    }

    pub(super) fn open(&mut self, name: &str) {
        self.out.extend(format!("<{name}>\n").as_bytes());
    }

    pub(super) fn close(&mut self, name: &str) {
        self.out.extend(format!("</{name}>\n").as_bytes());
    }

    /// Writes text directly into the root element.
    pub(super) fn text_only(&mut self, text: &str) {
        self.out.truncate(self.out.trim_ascii_end().len());
        self.out.extend(text.as_bytes());
    }

    /// Writes an element with text. Markup is escaped; other bytes are written unchanged, as OSS
    /// does.
    pub(super) fn text(&mut self, name: &str, text: impl AsRef<[u8]>) {
        self.out.extend(format!("<{name}>").as_bytes());
        for &byte in text.as_ref() {
            match byte {
                b'&' => self.out.extend(b"&amp;"),
                b'<' => self.out.extend(b"&lt;"),
                b'>' => self.out.extend(b"&gt;"),
                b'"' => self.out.extend(b"&quot;"),
                b'\r' => self.out.extend(b"&#13;"),
                _ => self.out.push(byte),
            }
        }
        self.out.extend(format!("</{name}>\n").as_bytes());
    }

    /// Writes an element with a key or a part of a key.
    pub(super) fn name(&mut self, element: &str, key: &[u8], names: KeyEncoding) {
        match names {
            KeyEncoding::Plain => self.text(element, key),
            KeyEncoding::Url => self.text(element, escape(key, SlashEscaping::Escape)),
        }
    }

    pub(super) fn owner(&mut self) {
        self.open("Owner");
        self.text("ID", OWNER);
        self.text("DisplayName", OWNER);
        self.close("Owner");
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.close(self.root);
        self.out
    }
}

impl KeyEncoding {
    /// Returns the encoding that the request asks for.
    pub(super) fn asked(context: &OperationContext<'_>) -> Result<Self, OssError> {
        match context.query().get("encoding-type") {
            None | Some("") => Ok(Self::Plain),
            Some("url") => Ok(Self::Url),
            Some(_) => Err(OssError::argument("The encoding-type must be url.")),
        }
    }

    /// Writes the element that declares the encoding.
    pub(super) fn write(self, document: &mut XmlDocument) {
        if self == Self::Url {
            document.text("EncodingType", "url");
        }
    }
}

/// Parses a document. Elements are listed in the order of their end tags.
pub(super) fn read(document: &[u8]) -> Result<Vec<XmlElement>, OssError> {
    let text = std::str::from_utf8(document).map_err(|_| OssError::malformed_xml())?;
    let mut reader = Reader::from_str(text);
    let mut elements = Vec::new();
    let mut open = Vec::new();
    let mut texts = Vec::new();
    loop {
        match reader.read_event().map_err(|_| OssError::malformed_xml())? {
            Event::Start(tag) => {
                open.push(local(tag.name().into_inner()).to_owned());
                texts.push(String::new());
            }
            Event::Empty(tag) => {
                let mut path = open.join("/");
                path.push('/');
                path.push_str(local(tag.name().into_inner()));
                elements.push(XmlElement { path, text: String::new() });
            }
            Event::End(_) => {
                let path = open.join("/");
                open.pop();
                elements.push(XmlElement { path, text: texts.pop().unwrap_or_default() });
            }
            Event::Text(part) => append(&mut texts, &part.xml10_content()),
            Event::CData(part) => append(&mut texts, &part.xml10_content()),
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|_| OssError::malformed_xml())?;
                match character {
                    Some(character) => append(&mut texts, character.encode_utf8(&mut [0; 4])),
                    None => {
                        let name = reference.xml10_content();
                        let known = resolve_predefined_entity(&name).ok_or_else(OssError::malformed_xml)?;
                        append(&mut texts, known);
                    }
                }
            }
            Event::Eof if open.is_empty() && !elements.is_empty() => return Ok(elements),
            Event::Eof => return Err(OssError::malformed_xml()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn append(texts: &mut [String], text: &str) {
    if let Some(last) = texts.last_mut() {
        last.push_str(text);
    }
}

/// Removes the namespace prefix of a name.
fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// The only owner in the emulator.
const OWNER: &str = "1000000000000000";

#[cfg(test)]
mod tests {
    use super::{XmlElement, read};

    #[test]
    fn elements_are_listed_with_their_resolved_text() {
        let read = read(
            b"<?xml version=\"1.0\"?><D><Quiet>true</Quiet><O><K>a&amp;b&#x1; <![CDATA[<]]></K></O></D>",
        );
        let paths: Vec<_> =
            read.expect("well-formed").into_iter().map(|XmlElement { path, text }| (path, text)).collect();
        assert_eq!(paths[0], ("D/Quiet".to_owned(), "true".to_owned()));
        assert_eq!(paths[1], ("D/O/K".to_owned(), "a&b\u{1} <".to_owned()));
    }

    #[test]
    fn broken_documents_are_refused() {
        for text in ["", "<a>", "<a></b>", "<a>&nope;</a>", "no"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
