//! A record as one line of JSON, written field by field.

use serde::Serialize;

/// A JSON object under construction.
pub(super) struct JsonLine(Vec<u8>);

impl JsonLine {
    pub(super) fn new() -> Self {
        let mut text = Vec::with_capacity(USUAL_LENGTH);
        text.push(b'{');
        Self(text)
    }

    /// Adds a field. The name needs no escapes.
    pub(super) fn field(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        // Texts, numbers and structs of them always have a JSON form, and a vector takes any length.
        let _ = serde_json::to_writer(&mut self.0, value);
    }

    /// Adds a field if there is a value.
    pub(super) fn field_if(&mut self, name: &'static str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.field(name, &value);
        }
    }

    /// Ends the object and the line.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"}\n");
        self.0
    }
}

/// The length of the record of a usual request, in bytes.
const USUAL_LENGTH: usize = 640;

#[cfg(test)]
mod tests {
    use super::JsonLine;

    #[test]
    fn a_line_is_one_json_object_whatever_its_values() {
        let mut line = JsonLine::new();
        line.field("key", "a\"\n\u{7}é");
        line.field_if("none", None::<u8>);
        line.field_if("count", Some(3));
        let line = String::from_utf8(line.finish()).expect("text");
        assert_eq!(line, "{\"key\":\"a\\\"\\n\\u0007é\",\"count\":3}\n");
        assert_eq!(JsonLine::new().finish(), b"{}\n");
    }
}
