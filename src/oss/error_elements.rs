//! Reads the elements of an XML error document ("Error responses", OSS API reference). The document
//! may come from any service, so its content is not trusted.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// The root of a document, with the names and texts of its child elements.
#[derive(Debug, Default)]
pub(crate) struct ErrorElements {
    /// The name of the root; empty if there is none.
    pub(crate) root: String,
    children: Vec<NamedText>,
    /// The reason why the document is not valid XML. Its elements are then those before the fault.
    pub(crate) fault: Option<&'static str>,
}

#[derive(Debug)]
struct NamedText {
    name: String,
    text: String,
}

impl ErrorElements {
    /// Reads a document as far as it is valid.
    pub(crate) fn parse(document: &str) -> Self {
        let mut elements = Self::default();
        elements.fault = elements.read(document).err();
        elements
    }

    /// Returns the text of the first child of this name, with its references resolved.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.children.iter().find(|child| child.name == name).map(|child| &*child.text)
    }

    fn read(&mut self, document: &str) -> Result<(), &'static str> {
        const UNKNOWN: &str = "it has an unknown entity";
        let mut reader = Reader::from_str(document);
        let mut open: Vec<NamedText> = Vec::new();
        loop {
            match reader.read_event().map_err(|_| "its markup is malformed")? {
                Event::Start(tag) => {
                    let name = tag.name().into_inner().to_owned();
                    if open.is_empty() && self.root.is_empty() {
                        self.root.clone_from(&name);
                    }
                    if open.len() == DEPTH_MAX {
                        return Err("it is nested too deeply");
                    }
                    open.push(NamedText { name, text: String::new() });
                }
                Event::End(_) => {
                    if let Some(element) = open.pop()
                        && open.len() == 1
                    {
                        self.children.push(element);
                    }
                }
                Event::Text(part) => append(&mut open, &part.xml10_content())?,
                Event::CData(part) => append(&mut open, &part.xml10_content())?,
                Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(|_| UNKNOWN)? {
                    Some(character) => append(&mut open, character.encode_utf8(&mut [0; 4]))?,
                    None => {
                        let name = reference.xml10_content();
                        append(&mut open, resolve_predefined_entity(&name).ok_or(UNKNOWN)?)?;
                    }
                },
                Event::Eof if self.root.is_empty() => return Err("it has no element"),
                Event::Eof if open.is_empty() => return Ok(()),
                Event::Eof => return Err("it is truncated"),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
    }
}

fn append(open: &mut [NamedText], text: &str) -> Result<(), &'static str> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err("there is text around its elements"),
    }
    Ok(())
}

const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::ErrorElements;

    #[test]
    fn children_are_read_up_to_the_first_fault() {
        let whole = "<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><A>1<B>2</B>3</A></Error>";
        let elements = ErrorElements::parse(whole);
        assert_eq!((elements.root.as_str(), elements.fault), ("Error", None));
        assert_eq!(
            (elements.get("Code"), elements.get("A"), elements.get("B")),
            (Some("NoSuchKey"), Some("13"), None)
        );
        for (document, code) in [
            ("<Error><Code>NoSuchKey</Code><Message>m", Some("NoSuchKey")),
            ("<Error><Code>NoSuchKey</Code></Message>", Some("NoSuchKey")),
            ("<Error><Code>a&amp;&#98;</Code>", Some("a&b")),
            ("<Error><Code>NoSuch", None),
            ("<Error><Code><x></Code>", None),
            ("<Error><Code>&nope;</Code></Error>", None),
            ("NoSuchKey <Error><Code>NoSuchKey</Code></Error>", None),
            ("", None),
        ] {
            let elements = ErrorElements::parse(document);
            assert_eq!(elements.get("Code"), code, "{document}");
            assert!(elements.fault.is_some(), "{document}");
        }
    }
}
