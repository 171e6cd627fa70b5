//! A strict reader of the XML bodies of clients: elements and text alone. Everything that two
//! parsers may read differently is rejected.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::not_understood::NotUnderstood;

/// An event of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum XmlPart {
    /// The start of an element.
    Start(String),
    /// The end of the innermost element.
    End,
    /// The end of the document.
    Eof,
}

/// The elements of a document.
pub(super) struct XmlElements<'a> {
    reader: Reader<&'a [u8]>,
    open: usize,
    seen_root: bool,
    begun: bool,
    /// Whether the end of an empty element (`<a/>`) is due.
    end_due: bool,
}

impl<'a> XmlElements<'a> {
    pub(super) fn new(body: &'a [u8]) -> Result<Self, NotUnderstood> {
        let text = str::from_utf8(body).map_err(|_| NotUnderstood::Body("it is not UTF-8"))?;
        if text.starts_with('\u{FEFF}') {
            return Err(NotUnderstood::Body("it begins with a byte order mark"));
        }
        Ok(Self { reader: Reader::from_str(text), open: 0, seen_root: false, begun: false, end_due: false })
    }

    /// Returns the next start or end. Between them only whitespace is allowed.
    pub(super) fn next(&mut self) -> Result<XmlPart, NotUnderstood> {
        if self.end_due {
            return self.close();
        }
        loop {
            match self.event()? {
                Event::Decl(declaration) if !self.begun => {
                    let encoding = declaration.encoding().transpose().map_err(|_| MALFORMED)?;
                    if encoding.is_some_and(|name| !name.eq_ignore_ascii_case("utf-8")) {
                        return Err(NotUnderstood::Body("its encoding is not UTF-8"));
                    }
                    self.begun = true;
                }
                Event::Start(start) => return self.start(&start),
                Event::Empty(start) => {
                    self.end_due = true;
                    return self.start(&start);
                }
                Event::End(_) => return self.close(),
                Event::Eof if self.open == 0 && self.seen_root => return Ok(XmlPart::Eof),
                Event::Eof => return Err(NotUnderstood::Body("it ends early")),
                Event::Text(text) if is_space(&text) => self.begun = true,
                Event::Text(_) | Event::GeneralRef(_) => {
                    return Err(NotUnderstood::Body("text between elements"));
                }
                Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {
                    return Err(FOREIGN);
                }
            }
        }
    }

    /// Returns the text up to the end of the innermost element, and consumes the end.
    pub(super) fn text(&mut self) -> Result<String, NotUnderstood> {
        let mut out = String::new();
        if self.end_due {
            self.close()?;
            return Ok(out);
        }
        loop {
            match self.event()? {
                Event::Text(text) => {
                    // Parsers change a carriage return.
                    if text.contains('\r') {
                        return Err(NotUnderstood::Body("a carriage return; write &#13;"));
                    }
                    // XML cannot hold it, not even as a reference (XML 1.0, 2.2).
                    if text.contains('\0') {
                        return Err(NotUnderstood::Body("a NUL character"));
                    }
                    out.push_str(&text);
                }
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().map_err(|_| MALFORMED)?;
                    out.push(match character {
                        Some(character) => character,
                        None => predefined(&reference)?,
                    });
                }
                Event::End(_) => {
                    self.close()?;
                    return Ok(out);
                }
                Event::Start(_) | Event::Empty(_) => {
                    return Err(NotUnderstood::Body("an element where text is expected"));
                }
                Event::Eof => return Err(NotUnderstood::Body("it ends early")),
                Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {
                    return Err(FOREIGN);
                }
            }
        }
    }

    fn event(&mut self) -> Result<Event<'a>, NotUnderstood> {
        self.reader.read_event().map_err(|_| MALFORMED)
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<XmlPart, NotUnderstood> {
        self.begun = true;
        if self.open == 0 && self.seen_root {
            return Err(NotUnderstood::Body("a second root element"));
        }
        // guard: elements-without-attributes
        if !start.attributes_raw().trim_ascii().is_empty() {
            return Err(NotUnderstood::Body("an attribute or a namespace"));
        }
        self.seen_root = true;
        self.open += 1;
        Ok(XmlPart::Start(start.name().into_inner().to_owned()))
    }

    fn close(&mut self) -> Result<XmlPart, NotUnderstood> {
        self.end_due = false;
        self.open = self.open.checked_sub(1).ok_or(MALFORMED)?;
        Ok(XmlPart::End)
    }
}

fn predefined(name: &str) -> Result<char, NotUnderstood> {
    match name {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(NotUnderstood::Body("an unknown entity")),
    }
}

fn is_space(text: &str) -> bool {
    text.trim_ascii().is_empty()
}

const MALFORMED: NotUnderstood = NotUnderstood::Body("it is not well-formed XML");
const FOREIGN: NotUnderstood =
    NotUnderstood::Body("a document type, comment, CDATA section or processing instruction");
