//! The XML error document of OSS, which this proxy also uses for its own errors.

use std::fmt::Write as _;

/// The content of an error document ("Error responses", OSS API reference).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct ErrorDocument<'a> {
    /// The stable code for programs, such as `NoSuchKey`.
    pub(crate) code: &'a str,
    /// A readable message of one sentence.
    pub(crate) message: &'a str,
    /// The id of the request.
    pub(crate) request_id: &'a str,
    /// The host to which the request was sent.
    pub(crate) host_id: &'a str,
    /// Further elements, by name and text, in order.
    pub(crate) extra: &'a [(&'a str, &'a str)],
}

impl ErrorDocument<'_> {
    /// Returns the document as text.
    #[must_use]
    pub(crate) fn to_xml(&self) -> String {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n");
        let fixed = [
            ("Code", self.code),
            ("Message", self.message),
            ("RequestId", self.request_id),
            ("HostId", self.host_id),
        ];
        for (name, text) in fixed.iter().chain(self.extra) {
            // Writing to a String cannot fail.
            let _ = writeln!(xml, "  <{name}>{}</{name}>", escape_xml(text));
        }
        xml.push_str("</Error>\n");
        xml
    }
}

/// Escapes `text` as XML character data. Characters that XML 1.0 cannot express become U+FFFD.
#[must_use]
pub(crate) fn escape_xml(text: &str) -> String {
    let invalid =
        |c| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    // A reader would take a carriage return for the end of a line.
    quick_xml::escape::escape(text.replace(invalid, "\u{fffd}")).replace('\r', "&#13;")
}

#[cfg(test)]
mod tests {
    use super::ErrorDocument;

    #[test]
    fn caller_text_cannot_leave_its_element() {
        let xml = ErrorDocument { code: "AccessDenied", message: "</Message>&\u{1}", ..Default::default() }
            .to_xml();
        assert!(xml.contains("<Message>&lt;/Message&gt;&amp;\u{fffd}</Message>"), "{xml}");
    }
}
