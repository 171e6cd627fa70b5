//! Changes of a TOML text at certain offsets. All other bytes of the text are kept.

use std::ops::Range;

/// Replaces a part of a text.
#[derive(Debug)]
pub(super) struct TextEdit {
    range: Range<usize>,
    replacement: String,
}

/// The list `[…]` of a text.
pub(super) struct ListSpan {
    /// From the opening to the closing bracket.
    pub(super) whole: Range<usize>,
    /// The elements.
    pub(super) elements: Vec<Range<usize>>,
}

impl TextEdit {
    pub(super) fn insert(at: usize, text: impl Into<String>) -> Self {
        Self { range: at..at, replacement: text.into() }
    }

    pub(super) fn remove(range: Range<usize>) -> Self {
        Self { range, replacement: String::new() }
    }

    /// Returns the text with these edits, which do not overlap.
    pub(super) fn apply(text: &str, mut edits: Vec<Self>) -> String {
        edits.sort_by_key(|edit| edit.range.start);
        let mut edited = String::new();
        let mut at = 0;
        for Self { range, replacement } in edits {
            edited.push_str(&text[at..range.start]);
            edited.push_str(&replacement);
            at = range.end;
        }
        edited + &text[at..]
    }
}

impl ListSpan {
    /// Returns the edits that append an element, on a line of its own if the last one is.
    pub(super) fn append(&self, text: &str, element: &str) -> Vec<TextEdit> {
        let Some(last) = self.elements.last() else {
            return vec![TextEdit::insert(self.whole.start + 1, element)];
        };
        let comma = comma(text, last.end);
        let line_end = line_end(text, comma.map_or(last.end, |at| at + 1));
        let indent = indent(text, last.start).filter(|_| line_end < self.whole.end);
        let Some(indent) = indent else {
            return vec![TextEdit::insert(last.end, format!(", {element}"))];
        };
        let missing = comma.is_none().then(|| TextEdit::insert(last.end, ","));
        let comma = if comma.is_some() { "," } else { "" };
        let line = format!("{}{indent}{element}{comma}", line_break(text));
        missing.into_iter().chain([TextEdit::insert(line_end, line)]).collect()
    }

    /// Returns the edits that remove the first of several elements with its comma, and its line if
    /// nothing else is on it.
    pub(super) fn remove_first(&self, text: &str) -> Vec<TextEdit> {
        let Some((first, comma)) =
            self.elements.first().and_then(|first| Some((first, comma(text, first.end)?)))
        else {
            return Vec::new();
        };
        if !text[first.end..comma].trim().is_empty() {
            return vec![TextEdit::remove(first.clone()), TextEdit::remove(comma..comma + 1)];
        }
        let rest = &text[comma + 1..];
        let end = text.len() - rest.trim_start_matches([' ', '\t']).len();
        let line_end = line_end(text, end);
        match indent(text, first.start) {
            Some(indent) if text[end..line_end].trim().is_empty() && line_end < self.whole.end => {
                vec![TextEdit::remove(first.start - indent.len()..after_line(text, line_end))]
            }
            Some(_) | None => vec![TextEdit::remove(first.start..end)],
        }
    }
}

/// Returns the line break of the text.
pub(super) fn line_break(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// Returns the end of the line that contains the offset, before its line break.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    let end = text[at..].find('\n').map_or(text.len(), |length| at + length);
    if text[at..end].ends_with('\r') { end - 1 } else { end }
}

/// Returns the start of the line that contains the offset.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |found| found + 1)
}

/// Returns the offset after the line break at the end of a line.
pub(super) fn after_line(text: &str, line_end: usize) -> usize {
    text[line_end..].find('\n').map_or(text.len(), |length| line_end + length + 1)
}

/// Returns the white space before the offset, if nothing else precedes it on its line.
fn indent(text: &str, at: usize) -> Option<&str> {
    Some(&text[line_start(text, at)..at]).filter(|indent| indent.trim().is_empty())
}

/// Returns the offset of the next comma, which only white space and comments may precede.
fn comma(text: &str, mut at: usize) -> Option<usize> {
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        match text[at..].chars().next()? {
            ',' => return Some(at),
            '#' => at = line_end(text, at),
            _ => return None,
        }
    }
}
