//! The rest of a form after its fields: the content of the file, and the end of the form. Fields after
//! the file are replaced by spaces behind the end, so that the length of the body is the announced one.

use bytes::{Bytes, BytesMut};

use crate::transport::BodyFilter;

/// The filter of a form from the content of its file on. It precedes it by the new fields.
#[derive(Debug)]
pub(super) struct FormFileFilter {
    beginning: Option<Bytes>,
    /// The line break and the boundary.
    delimiter: Bytes,
    /// Bytes that may be the beginning of the delimiter.
    held: BytesMut,
    /// The number of bytes behind the delimiter; `None` inside the file.
    beyond: Option<usize>,
}

impl FormFileFilter {
    /// Creates the filter. `fields` and the headers of the file are sent first, and `read` is the part
    /// of the content that was already read.
    pub(super) fn new(fields: &[u8], delimiter: String, read: Bytes) -> Self {
        let mut filter =
            Self { beginning: None, delimiter: delimiter.into(), held: BytesMut::new(), beyond: None };
        let content = filter.filter(read);
        filter.beginning = Some([fields, &content].concat().into());
        filter
    }

    /// Returns the end of a form of this length, which follows the last delimiter.
    fn write_end(&mut self, out: &mut BytesMut, length: usize) {
        let begun = self.beyond.unwrap_or_default();
        // guard: nothing-behind-the-file
        out.extend((begun..begun + length).map(|at| CLOSING.get(at).copied().unwrap_or(FILLER)));
        self.beyond = Some(begun + length);
    }
}

impl BodyFilter for FormFileFilter {
    fn take_beginning(&mut self) -> Option<Bytes> {
        self.beginning.take()
    }

    fn filter(&mut self, data: Bytes) -> Bytes {
        let mut out = BytesMut::new();
        if self.beyond.is_some() {
            self.write_end(&mut out, data.len());
            return out.freeze();
        }
        let text = if self.held.is_empty() {
            data
        } else {
            let mut joined = self.held.split();
            joined.extend_from_slice(&data);
            joined.freeze()
        };
        match find_delimiter(&text, &self.delimiter) {
            DelimiterSearch::Found(at) => {
                let end = at + self.delimiter.len();
                out.extend_from_slice(&text[..end]);
                self.write_end(&mut out, text.len() - end);
                out.freeze()
            }
            DelimiterSearch::Begun(at) => {
                self.held.extend_from_slice(&text[at..]);
                text.slice(..at)
            }
            DelimiterSearch::Absent => text,
        }
    }

    fn take_end(&mut self) -> Option<Bytes> {
        (!self.held.is_empty()).then(|| self.held.split().freeze())
    }

    fn held(&self) -> u64 {
        (self.held.len() + self.beginning.as_ref().map_or(0, Bytes::len)) as u64
    }
}

/// The result of a search for the delimiter.
#[derive(Debug, PartialEq, Eq)]
enum DelimiterSearch {
    Found(usize),
    /// The text ends with a beginning of the delimiter.
    Begun(usize),
    Absent,
}

fn find_delimiter(text: &[u8], delimiter: &[u8]) -> DelimiterSearch {
    let mut from = 0;
    while let Some(found) = text[from..].iter().position(|byte| *byte == b'\r') {
        let at = from + found;
        let rest = &text[at..];
        if rest.starts_with(delimiter) {
            return DelimiterSearch::Found(at);
        }
        if delimiter.starts_with(rest) {
            return DelimiterSearch::Begun(at);
        }
        from = at + 1;
    }
    DelimiterSearch::Absent
}

/// The byte that fills the rest of the body.
const FILLER: u8 = 0x20;
/// The text behind the last delimiter.
const CLOSING: &[u8] = b"--\r\n";

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::FormFileFilter;
    use crate::transport::BodyFilter as _;

    /// Returns the filtered form whose content arrives in pieces of this length.
    fn filtered(content: &str, piece: usize) -> String {
        let mut pieces = content.as_bytes().chunks(piece).map(Bytes::copy_from_slice);
        let first = pieces.next().unwrap_or_default();
        let mut filter = FormFileFilter::new(b"fields;", "\r\n--B".to_owned(), first);
        let mut out = filter.take_beginning().expect("a beginning").to_vec();
        for piece in pieces {
            out.extend_from_slice(&filter.filter(piece));
        }
        out.extend_from_slice(&filter.take_end().unwrap_or_default());
        assert_eq!(filter.held(), 0);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_form_ends_behind_its_file_and_keeps_its_length() {
        for (content, expected) in [
            ("data\r\n--B--\r\n", "data\r\n--B--\r\n"),
            ("data\r\n--B--", "data\r\n--B--"),
            ("\r\n--B--\r\n", "\r\n--B--\r\n"),
            ("da\r\n--\r\r\n-\r\n--B--\r\n", "da\r\n--\r\r\n-\r\n--B--\r\n"),
            ("data\r\n--B\r\nkey\r\n\r\nb/\r\n--B--\r\n", "data\r\n--B--\r\n                "),
            ("data without an end\r\n--", "data without an end\r\n--"),
        ] {
            for piece in 1..=content.len() {
                let found = filtered(content, piece);
                assert_eq!(found.len(), "fields;".len() + content.len());
                assert_eq!(found, format!("fields;{expected}"), "{content:?} {piece}");
            }
        }
    }
}
