//! The body of a `DeleteMultipleObjects`: read strictly, and written again.

use std::fmt::Write as _;

use super::names::is_key;
use super::not_understood::NotUnderstood;
use super::xml_elements::{XmlElements, XmlPart};

/// The objects that a batch deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeleteBody {
    quiet: Option<bool>,
    pub(super) objects: Vec<DeletedObject>,
}

/// One object of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeletedObject {
    pub(super) key: String,
    pub(super) version: Option<String>,
}

impl DeleteBody {
    /// Parses a body of at most 1,000 objects ("DeleteMultipleObjects", OSS API reference).
    pub(super) fn parse(body: &[u8]) -> Result<Self, NotUnderstood> {
        let mut elements = XmlElements::new(body)?;
        if elements.next()? != XmlPart::Start("Delete".to_owned()) {
            return Err(NotUnderstood::Body("the root element is not Delete"));
        }
        let mut parsed = Self { quiet: None, objects: Vec::new() };
        loop {
            match elements.next()? {
                XmlPart::Start(name) if name == "Quiet" => {
                    let quiet = match elements.text()?.as_str() {
                        "true" => true,
                        "false" => false,
                        _ => return Err(NotUnderstood::Body("Quiet is not true or false")),
                    };
                    if parsed.quiet.replace(quiet).is_some() {
                        return Err(NotUnderstood::Body("Quiet occurs twice"));
                    }
                }
                XmlPart::Start(name) if name == "Object" => {
                    if parsed.objects.len() == OBJECTS_MAX {
                        return Err(NotUnderstood::Body("more than 1000 objects"));
                    }
                    parsed.objects.push(DeletedObject::parse(&mut elements)?);
                }
                XmlPart::Start(_) => return Err(NotUnderstood::Body("an unknown element in Delete")),
                XmlPart::End => break,
                XmlPart::Eof => return Err(NotUnderstood::Body("it ends early")),
            }
        }
        if elements.next()? != XmlPart::Eof {
            return Err(NotUnderstood::Body("content after the root element"));
        }
        if parsed.objects.is_empty() {
            return Err(NotUnderstood::Body("it names no object"));
        }
        Ok(parsed)
    }

    /// Returns a body with the same meaning.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete>");
        if let Some(quiet) = self.quiet {
            let _ = write!(out, "<Quiet>{quiet}</Quiet>");
        }
        for object in &self.objects {
            out.push_str("<Object><Key>");
            escape(&object.key, &mut out);
            out.push_str("</Key>");
            if let Some(version) = &object.version {
                out.push_str("<VersionId>");
                escape(version, &mut out);
                out.push_str("</VersionId>");
            }
            out.push_str("</Object>");
        }
        out.push_str("</Delete>");
        out.into_bytes()
    }
}

impl DeletedObject {
    fn parse(elements: &mut XmlElements<'_>) -> Result<Self, NotUnderstood> {
        let (mut key, mut version) = (None, None);
        loop {
            let slot = match elements.next()? {
                XmlPart::Start(name) if name == "Key" => &mut key,
                XmlPart::Start(name) if name == "VersionId" => &mut version,
                XmlPart::Start(_) => return Err(NotUnderstood::Body("an unknown element in Object")),
                XmlPart::End => break,
                XmlPart::Eof => return Err(NotUnderstood::Body("it ends early")),
            };
            // guard: one-key-per-object
            if slot.replace(elements.text()?).is_some() {
                return Err(NotUnderstood::Body("an element of Object occurs twice"));
            }
        }
        let key =
            key.filter(|key| is_key(key)).ok_or(NotUnderstood::Body("an object without a valid key"))?;
        if version.as_ref().is_some_and(String::is_empty) {
            return Err(NotUnderstood::Body("an empty version"));
        }
        Ok(Self { key, version })
    }
}

/// Appends text with all characters escaped that XML changes or does not allow.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}' | '\u{2028}' | '\u{FFFE}' | '\u{FFFF}' => {
                let _ = write!(out, "&#{};", u32::from(character));
            }
            _ => out.push(character),
        }
    }
}

const OBJECTS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DeleteBody, DeletedObject};

    #[test]
    fn only_plain_elements_and_text_are_read() {
        let parses = |text: &str| DeleteBody::parse(text.as_bytes()).is_ok();
        let object = "<Object><Key>a</Key></Object>";
        for text in [
            format!("<Delete>{object}</Delete>"),
            format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Delete>\n{object}<Quiet>false</Quiet></Delete>\n"),
            "<Delete><Object><Key>&#x61;&#97;&amp;&lt;&gt;&quot;&apos;</Key><VersionId>v</VersionId></Object></Delete>"
                .to_owned(),
        ] {
            assert!(parses(&text), "{text}");
        }
        for text in [
            "",
            "<Delete/>",
            "<delete><Object><Key>a</Key></Object></delete>",
            "<Delete xmlns=\"x\"><Object><Key>a</Key></Object></Delete>",
            "<Delete><Object><Key a=\"b\">a</Key></Object></Delete>",
            "<x:Delete><Object><Key>a</Key></Object></x:Delete>",
            "<Delete><Object><Key><![CDATA[a]]></Key></Object></Delete>",
            "<Delete><?p?><Object><Key>a</Key></Object></Delete>",
            "<Delete><Object><Key>a\r</Key></Object></Delete>",
            "<Delete><Object><Key>a\0</Key></Object></Delete>",
            "<Delete><Object><Key>a&#0;</Key></Object></Delete>",
            "<Delete><Object><Key>a</Key><VersionId>\0</VersionId></Object></Delete>",
            "<Delete><Object><Key>&x;</Key></Object></Delete>",
            "<Delete><Object><Key>a</Key></Object>text</Delete>",
            "<Delete><Object><Key>a</Key></Object></Delete><Delete/>",
            "<Delete><Object><Key>a</Key></Object>",
            "<Delete><Object><Key></Key></Object></Delete>",
            "<Delete><Object><VersionId>v</VersionId></Object></Delete>",
            "<?xml version=\"1.0\" encoding=\"utf-16\"?><Delete><Object><Key>a</Key></Object></Delete>",
        ] {
            assert!(!parses(text), "{text}");
        }
        assert!(!parses(&format!("<Delete>{}</Delete>", object.repeat(1001))));
        assert!(parses(&format!("<Delete>{}</Delete>", object.repeat(1000))));
    }

    proptest! {
        #[test]
        fn a_written_body_names_the_same_objects(keys in proptest::collection::vec("\\PC{1,20}|[\u{1}-\u{7f}]{1,5}", 1..5)) {
            let objects = keys.into_iter().map(|key| DeletedObject { key, version: None }).collect();
            let body = DeleteBody { quiet: Some(true), objects };
            prop_assert_eq!(DeleteBody::parse(&body.write()), Ok(body));
        }
    }
}
