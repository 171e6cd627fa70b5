//! The beginning of a form upload: the fields before the file, and the headers of the file
//! ("PostObject", OSS API reference). Read strictly, since the proxy signs them again: a form that two
//! parsers could read differently is rejected.

/// The fields of a form before its file.
#[derive(Debug)]
pub(crate) struct FormHead {
    fields: Vec<FormField>,
    /// The name of the file.
    pub(crate) filename: String,
    /// The media type of the file.
    pub(crate) content_type: Option<String>,
    /// The number of bytes before the content of the file.
    pub(crate) length: usize,
}

/// A field of a form.
#[derive(Debug)]
pub(crate) struct FormField {
    /// The name, as sent. Its case has no meaning.
    pub(crate) name: String,
    /// The value.
    pub(crate) value: String,
}

/// The text that separates the parts of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormBoundary(String);

/// The reason why a form cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidForm {
    /// `Content-Type` has no boundary, or one that RFC 2046 does not allow.
    #[error("Content-Type is not multipart/form-data with a valid boundary")]
    Boundary,
    /// The body does not begin with the boundary, or a boundary is not followed by a line break.
    #[error("a part does not begin with the boundary on a line")]
    Delimiter,
    /// The headers of a part are malformed.
    #[error("the headers of a part are malformed")]
    PartHeaders,
    /// A field has a file name.
    #[error("only the field `file` may be a file")]
    OtherFile,
    /// A field occurs twice.
    #[error("a field occurs twice")]
    RepeatedField,
    /// A value is not text.
    #[error("the value of a field is not UTF-8")]
    FieldEncoding,
    /// There are too many fields.
    #[error("there are more than {FIELDS_MAX} fields before the file")]
    FieldCount,
    /// The fields are too long.
    #[error("the fields before the file have more than {HEAD_BYTES_MAX} bytes")]
    HeadLength,
    /// The form ends without a file.
    #[error("the form has no field `file`")]
    NoFile,
}

/// The headers of a part.
struct PartHeaders {
    name: String,
    filename: Option<String>,
    content_type: Option<String>,
}

impl FormBoundary {
    /// Reads the boundary in a `Content-Type`.
    pub(crate) fn parse(content_type: &str) -> Result<Self, InvalidForm> {
        let mut parts = content_type.split(';').map(str::trim);
        let is_form = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/form-data"));
        let is_boundary =
            |part: &&str| part.get(..9).is_some_and(|name| name.eq_ignore_ascii_case("boundary="));
        let mut boundaries = parts.filter(is_boundary);
        let (Some(boundary), None, true) = (boundaries.next(), boundaries.next(), is_form) else {
            return Err(InvalidForm::Boundary);
        };
        let text = &boundary[9..];
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
        if !(1..=70).contains(&text.len()) || !text.bytes().all(is_allowed) {
            return Err(InvalidForm::Boundary);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the line break and the boundary, with which the content of each part ends.
    pub(crate) fn delimiter(&self) -> String {
        format!("\r\n--{}", self.0)
    }
}

impl FormHead {
    /// Reads the beginning of a form. Returns `None` if `text` ends before the content of the file.
    pub(crate) fn parse(text: &[u8], boundary: &FormBoundary) -> Result<Option<Self>, InvalidForm> {
        let delimiter = boundary.delimiter();
        let delimiter = delimiter.as_bytes();
        let opening = [&delimiter[2..], b"\r\n"].concat();
        let Some(mut rest) = text.strip_prefix(opening.as_slice()) else {
            return if opening.starts_with(text) { Ok(None) } else { Err(InvalidForm::Delimiter) };
        };
        let mut fields: Vec<FormField> = Vec::new();
        loop {
            let Some(end) = find(rest, b"\r\n\r\n") else { return incomplete(text) };
            let PartHeaders { name, filename, content_type } = PartHeaders::parse(&rest[..end])?;
            let body = &rest[end + 4..];
            let length = text.len() - body.len();
            if length > HEAD_BYTES_MAX {
                return Err(InvalidForm::HeadLength);
            }
            if name.eq_ignore_ascii_case("file") {
                let filename = filename.unwrap_or_default();
                return Ok(Some(Self { fields, filename, content_type, length }));
            }
            if filename.is_some() {
                return Err(InvalidForm::OtherFile);
            }
            let Some(at) = find(body, delimiter) else { return incomplete(text) };
            let after = &body[at + delimiter.len()..];
            match after.get(..2) {
                None => return incomplete(text),
                Some(b"--") => return Err(InvalidForm::NoFile),
                Some(b"\r\n") => {}
                Some(_) => return Err(InvalidForm::Delimiter),
            }
            // guard: form-fields-occur-once
            if fields.iter().any(|field| field.name.eq_ignore_ascii_case(&name)) {
                return Err(InvalidForm::RepeatedField);
            }
            if fields.len() == FIELDS_MAX {
                return Err(InvalidForm::FieldCount);
            }
            // Another parser could take it for the end of the value.
            // guard: form-value-without-boundary
            if find(&body[..at], &delimiter[2..]).is_some() {
                return Err(InvalidForm::Delimiter);
            }
            let value = String::from_utf8(body[..at].to_vec()).map_err(|_| InvalidForm::FieldEncoding)?;
            fields.push(FormField { name, value });
            rest = &after[2..];
        }
    }

    /// Returns the fields in order.
    pub(crate) fn fields(&self) -> &[FormField] {
        &self.fields
    }

    /// Returns the value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| field.value.as_str())
    }
}

impl PartHeaders {
    fn parse(text: &[u8]) -> Result<Self, InvalidForm> {
        const MALFORMED: InvalidForm = InvalidForm::PartHeaders;
        let text = str::from_utf8(text).map_err(|_| MALFORMED)?;
        let mut disposition = None;
        let mut content_type = None;
        for line in text.split("\r\n") {
            let (name, value) = line.split_once(':').ok_or(MALFORMED)?;
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if name.is_empty() || !name.bytes().all(is_token) || value.bytes().any(|byte| byte < b' ') {
                return Err(MALFORMED);
            }
            let slot = if name.eq_ignore_ascii_case("content-disposition") {
                &mut disposition
            } else if name.eq_ignore_ascii_case("content-type") {
                &mut content_type
            } else {
                continue;
            };
            if slot.replace(value.trim_matches(' ').to_owned()).is_some() {
                return Err(MALFORMED);
            }
        }
        let disposition = disposition.ok_or(MALFORMED)?;
        let (name, filename) = disposition_names(&disposition).ok_or(MALFORMED)?;
        Ok(Self { name, filename, content_type: content_type.filter(|kind| kind.is_ascii()) })
    }
}

/// Returns the name and the file name in `form-data; name="NAME"; filename="FILE"` (RFC 7578, 4.2).
fn disposition_names(text: &str) -> Option<(String, Option<String>)> {
    let (kind, mut rest) = text.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let (mut name, mut filename) = (None, None);
    loop {
        let (parameter, quoted) = rest.trim_start_matches(' ').split_once("=\"")?;
        let (value, after) = quoted.split_once('"')?;
        // Parsers disagree about backslashes.
        if value.contains('\\') {
            return None;
        }
        let slot = match parameter.to_ascii_lowercase().as_str() {
            "name" => &mut name,
            "filename" => &mut filename,
            _ => return None,
        };
        if slot.replace(value.to_owned()).is_some() {
            return None;
        }
        match after.trim_start_matches(' ') {
            "" => return Some((name.filter(|name| !name.is_empty())?, filename)),
            more => rest = more.strip_prefix(';')?,
        }
    }
}

fn incomplete(text: &[u8]) -> Result<Option<FormHead>, InvalidForm> {
    if text.len() > HEAD_BYTES_MAX { Err(InvalidForm::HeadLength) } else { Ok(None) }
}

/// Returns the position of the first occurrence of a text.
fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// The maximum number of fields before the file.
const FIELDS_MAX: usize = 100;
/// The maximum number of bytes before the content of the file.
const HEAD_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::{FormBoundary, FormHead, InvalidForm};

    fn part(name: &str, value: &str) -> String {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    const FILE: &str = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n";

    fn parse(text: &str) -> Result<Option<FormHead>, InvalidForm> {
        FormHead::parse(text.as_bytes(), &FormBoundary::parse("multipart/form-data; boundary=B").expect("B"))
    }

    #[test]
    fn fields_are_read_up_to_the_content_of_the_file() {
        let before = part("key", "a/\r\n--x") + &part("Policy", "") + FILE;
        let text = format!("{before}content\r\n--B--\r\n");
        for end in 0..before.len() {
            assert!(parse(&text[..end]).expect("no fault").is_none(), "{end}");
        }
        let head = parse(&text).expect("no fault").expect("a file");
        assert_eq!(head.length, before.len());
        assert_eq!((head.get("KEY"), head.get("policy"), head.get("x")), (Some("a/\r\n--x"), Some(""), None));
        assert_eq!((head.filename.as_str(), head.content_type.as_deref()), ("a.txt", Some("text/plain")));
    }

    #[test]
    fn a_form_that_parsers_read_differently_is_rejected() {
        let disposition = |text: &str| format!("--B\r\nContent-Disposition: {text}\r\n\r\nv\r\n{FILE}");
        for (text, expected) in [
            ("preamble\r\n".to_owned() + FILE, InvalidForm::Delimiter),
            (part("a", "1") + &part("A", "2") + FILE, InvalidForm::RepeatedField),
            (part("a", "1\n--B\n") + FILE, InvalidForm::Delimiter),
            (part("a", "1\r\n--Bx") + FILE, InvalidForm::Delimiter),
            (part("a", "1") + "--B--\r\n", InvalidForm::NoFile),
            (disposition("form-data; name=\"a\"; name=\"b\""), InvalidForm::PartHeaders),
            (disposition("form-data; name=\"a\\\"\""), InvalidForm::PartHeaders),
            (disposition("form-data; name=a"), InvalidForm::PartHeaders),
            (disposition("form-data; name=\"a\"; filename*=\"b\""), InvalidForm::PartHeaders),
            (disposition("form-data; filename=\"b\""), InvalidForm::PartHeaders),
            (disposition("form-data; name=\"a\"; filename=\"b\""), InvalidForm::OtherFile),
            (disposition("attachment; name=\"a\""), InvalidForm::PartHeaders),
            (
                disposition("form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\""),
                InvalidForm::PartHeaders,
            ),
            (disposition("form-data;\r\n name=\"a\""), InvalidForm::PartHeaders),
            (part("a", &"x".repeat(64 * 1024)) + FILE, InvalidForm::HeadLength),
            ((0..101).map(|n| part(&n.to_string(), "")).collect::<String>() + FILE, InvalidForm::FieldCount),
        ] {
            assert_eq!(parse(&text).err(), Some(expected), "{text:.200}");
        }
    }

    #[test]
    fn a_boundary_has_the_characters_of_its_grammar() {
        let parse = |text| FormBoundary::parse(text).map(|boundary| boundary.delimiter());
        for text in
            ["multipart/form-data; boundary=a-b", "Multipart/Form-Data;charset=utf-8; Boundary=\"a-b\""]
        {
            assert_eq!(parse(text).as_deref(), Ok("\r\n--a-b"), "{text}");
        }
        for text in [
            "multipart/form-data",
            "multipart/mixed; boundary=a",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=a b",
            "multipart/form-data; boundary=\"a\\b\"",
            "multipart/form-data; boundary=a; boundary=b",
        ] {
            assert_eq!(parse(text), Err(InvalidForm::Boundary), "{text}");
        }
    }
}
