//! The body of a `PutAsyncFetchTask`: the object in which OSS stores what it fetches.

use super::names::is_key;
use super::not_understood::NotUnderstood;
use super::xml_elements::{XmlElements, XmlPart};

/// Returns the key of the object that the task writes.
pub(super) fn target(body: &[u8], callbacks: bool) -> Result<String, NotUnderstood> {
    let mut elements = XmlElements::new(body)?;
    if elements.next()? != XmlPart::Start("AsyncFetchTaskConfiguration".to_owned()) {
        return Err(NotUnderstood::Body("the root element is not AsyncFetchTaskConfiguration"));
    }
    let mut key = None;
    let mut seen = Vec::new();
    loop {
        let name = match elements.next()? {
            XmlPart::Start(name) => name,
            XmlPart::End => break,
            XmlPart::Eof => return Err(NotUnderstood::Body("it ends early")),
        };
        if !ELEMENTS.contains(&name.as_str()) {
            return Err(NotUnderstood::Body("an unknown element"));
        }
        if seen.contains(&name) {
            return Err(NotUnderstood::Body("an element occurs twice"));
        }
        let text = elements.text()?;
        if name == "Callback" && !callbacks {
            return Err(NotUnderstood::Callback);
        }
        if name == "Object" {
            key = Some(text);
        }
        seen.push(name);
    }
    if elements.next()? != XmlPart::Eof {
        return Err(NotUnderstood::Body("content after the root element"));
    }
    key.filter(|key| is_key(key)).ok_or(NotUnderstood::Body("it names no object"))
}

const ELEMENTS: [&str; 7] =
    ["Url", "Object", "Host", "ContentMD5", "Callback", "StorageClass", "IgnoreSameKey"];
