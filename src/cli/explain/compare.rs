//! Finds the first difference between two texts that should be equal. Pure.

use super::redact::printable;

/// The first byte that differs, with its position.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TextDifference {
    /// The number of equal bytes before it.
    pub(super) offset: usize,
    /// The line, counted from zero.
    pub(super) line: usize,
    /// The byte and its line, on the server's side.
    pub(super) theirs: DifferingText,
    pub(super) ours: DifferingText,
}

/// One of the texts, at the first difference.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DifferingText {
    /// The byte; `None` at the end of the text.
    pub(super) byte: Option<u8>,
    /// The bytes of its line before the byte.
    before: Vec<u8>,
    /// The bytes of its line from the byte on.
    after: Vec<u8>,
}

impl TextDifference {
    pub(super) fn first(theirs: &[u8], ours: &[u8]) -> Option<Self> {
        let offset = match theirs.iter().zip(ours).position(|(a, b)| a != b) {
            Some(offset) => offset,
            None if theirs.len() == ours.len() => return None,
            None => theirs.len().min(ours.len()),
        };
        let line = ours[..offset].iter().filter(|byte| **byte == b'\n').count();
        Some(Self {
            offset,
            line,
            theirs: DifferingText::new(theirs, offset),
            ours: DifferingText::new(ours, offset),
        })
    }
}

impl DifferingText {
    fn new(text: &[u8], offset: usize) -> Self {
        let (before, after) = text.split_at(offset);
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = after.iter().position(|byte| *byte == b'\n').unwrap_or(after.len());
        Self { byte: after.first().copied(), before: before[start..].to_vec(), after: after[..end].to_vec() }
    }

    /// Returns the line with a mark around the byte. Of a long line, only the part near the byte is
    /// shown.
    pub(super) fn shown(&self) -> String {
        let Self { before, after, .. } = self;
        let from = before.len().saturating_sub(AROUND);
        let to = after.len().min(AROUND);
        let cut = |is_cut: bool| if is_cut { "…" } else { "" };
        format!(
            "{}{}⟨{}⟩{}{}",
            cut(from > 0),
            printable(&before[from..]),
            self.byte_shown(),
            // The mark already contains the byte itself.
            after.get(1..to).map(printable).unwrap_or_default(),
            cut(to < after.len())
        )
    }

    fn byte_shown(&self) -> String {
        match self.byte {
            None => "end".to_owned(),
            Some(b' ') => "space".to_owned(),
            Some(byte) => byte.escape_ascii().to_string(),
        }
    }
}

/// The number of bytes of a long line that are shown on either side of the byte.
const AROUND: usize = 120;

#[cfg(test)]
mod tests {
    use super::TextDifference;

    #[test]
    fn the_first_byte_that_differs_is_found_with_its_line() {
        let found = TextDifference::first(b"GET\n/b/k\nx", b"GET\n/b/K\nx").expect("a difference");
        assert_eq!((found.offset, found.line), (7, 1));
        assert_eq!((found.theirs.shown(), found.ours.shown()), ("/b/⟨k⟩".to_owned(), "/b/⟨K⟩".to_owned()));
        let ended = TextDifference::first(b"a\nb c", b"a\nb").expect("a difference");
        assert_eq!((ended.offset, ended.line), (3, 1));
        assert_eq!((ended.theirs.shown(), ended.ours.shown()), ("b⟨space⟩c".to_owned(), "b⟨end⟩".to_owned()));
        let line = TextDifference::first(b"a\nb", b"a\xff\nb").expect("a difference");
        assert_eq!((line.theirs.shown(), line.ours.shown()), ("a⟨\\n⟩".to_owned(), "a⟨\\xff⟩".to_owned()));
        assert_eq!(TextDifference::first(b"a", b"a"), None);
    }
}
