//! Splits a configuration file into its `[[caller]]` sections and the rest. Each section is then
//! parsed by itself, so that the tables of thousands of callers are never in memory together.
//!
//! The scan follows strings, comments and brackets as TOML does. A text in which one of them does not
//! end is not split: the parser reports it.

use std::ops::Range;

/// A text without its `[[caller]]` sections, and the sections.
pub(super) struct SplitText {
    /// The text with only the line breaks of the sections, so that its lines are the same.
    pub(super) rest: String,
    /// The sections in the order of the text.
    pub(super) parts: Vec<TextPart>,
}

/// A part of a text that consists of whole lines.
pub(super) struct TextPart {
    pub(super) range: Range<usize>,
    /// The line on which the part begins, counted from 1.
    pub(super) line: usize,
}

impl SplitText {
    /// Splits a text. Returns `None` if it has no such section, or cannot be split.
    pub(super) fn new(text: &str) -> Option<Self> {
        let mut parts: Vec<TextPart> = Vec::new();
        let mut scanner = TextScanner { bytes: text.as_bytes(), at: 0, line: 1 };
        while scanner.at < scanner.bytes.len() {
            let start = scanner.at;
            let header = HeaderKind::parse(&text[start..]);
            if let Some(HeaderKind::Caller | HeaderKind::Other) = header
                && let Some(last) = parts.last_mut()
            {
                // A section ends where the next one begins.
                last.range.end = last.range.end.min(start);
            }
            if let Some(HeaderKind::Caller) = header {
                parts.push(TextPart { range: start..text.len(), line: scanner.line });
            }
            scanner.skip_line()?;
        }
        if parts.is_empty() {
            return None;
        }
        let mut rest = String::new();
        let mut end = 0;
        for TextPart { range, .. } in &parts {
            rest.push_str(&text[end..range.start]);
            rest.extend(text[range.clone()].chars().filter(|c| *c == '\n'));
            end = range.end;
        }
        rest.push_str(&text[end..]);
        Some(Self { rest, parts })
    }
}

/// A line that begins a section.
enum HeaderKind {
    /// `[[caller]]`.
    Caller,
    /// A section inside the last caller, such as `[[caller.key]]`.
    InsideCaller,
    Other,
}

impl HeaderKind {
    /// Returns the kind of the section that the first line of the text begins.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_start_matches([' ', '\t']).strip_prefix('[')?;
        let (name, is_repeated) = match text.strip_prefix('[') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let Some(rest) = name.trim_start_matches([' ', '\t']).strip_prefix("caller") else {
            return Some(Self::Other);
        };
        let rest = rest.trim_start_matches([' ', '\t']);
        Some(if rest.starts_with('.') {
            Self::InsideCaller
        } else if is_repeated && rest.starts_with("]]") {
            Self::Caller
        } else {
            Self::Other
        })
    }
}

/// A position in a text.
struct TextScanner<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl TextScanner<'_> {
    /// Skips a line with all values that begin on it. Returns `None` if one of them does not end.
    fn skip_line(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        while let Some(byte) = self.bytes.get(self.at).copied() {
            match byte {
                b'\n' => {
                    self.skip(1);
                    if depth == 0 {
                        return Some(());
                    }
                    continue;
                }
                b'#' => {
                    let rest = &self.bytes[self.at..];
                    self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                    continue;
                }
                quote @ (b'"' | b'\'') => {
                    self.skip_string(quote)?;
                    continue;
                }
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.checked_sub(1)?,
                _ => {}
            }
            self.skip(1);
        }
        (depth == 0).then_some(())
    }

    /// Skips a string, which begins at the current position.
    fn skip_string(&mut self, quote: u8) -> Option<()> {
        let is_long = self.bytes[self.at..].starts_with(&[quote; 3]);
        self.skip(if is_long { 3 } else { 1 });
        loop {
            let byte = *self.bytes.get(self.at)?;
            if byte == b'\\' && quote == b'"' {
                self.skip(2);
            } else if byte == quote && !is_long {
                self.skip(1);
                return Some(());
            } else if is_long && self.bytes[self.at..].starts_with(&[quote; 3]) {
                // The string may end with two quotes of its own.
                let quotes = self.bytes[self.at..].iter().take_while(|byte| **byte == quote).count();
                self.skip(quotes.min(5));
                return Some(());
            } else if byte == b'\n' && !is_long {
                return None;
            } else {
                self.skip(1);
            }
        }
    }

    /// Skips bytes, and counts their lines.
    fn skip(&mut self, count: usize) {
        let end = (self.at + count).min(self.bytes.len());
        self.line += self.bytes[self.at..end].iter().filter(|byte| **byte == b'\n').count();
        self.at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::SplitText;

    #[test]
    fn each_caller_is_a_part_with_its_line_and_the_rest_keeps_its_lines() {
        let text = "# [[caller]]\na = 1\n[[caller]]\nname = \"x\"\n[[caller.key]]\nid = 1\n\
                    [upstream]\nb = [\n[1],\n]\n [[ caller ]]\nname = 'ü'\n";
        let split = SplitText::new(text).expect("it has callers");
        let parts: Vec<(&str, usize)> =
            split.parts.iter().map(|part| (&text[part.range.clone()], part.line)).collect();
        let first = "[[caller]]\nname = \"x\"\n[[caller.key]]\nid = 1\n";
        assert_eq!(parts, [(first, 3), (" [[ caller ]]\nname = 'ü'\n", 11)]);
        assert_eq!(split.rest, "# [[caller]]\na = 1\n\n\n\n\n[upstream]\nb = [\n[1],\n]\n\n\n");
    }

    #[test]
    fn what_only_looks_like_a_caller_is_no_part() {
        for text in [
            "",
            "a = 1",
            "a = '''\n[[caller]]\n'''",
            "a = \"\"\"\n\\\"\"\"\n[[caller]]\n\"\"\"\"\"",
            "a = [\n[[caller]]\n]",
            "a = { # }\n[[caller]]\n}",
            "[caller]\n",
            "[[\"caller\"]]\n",
            "[[callers]]\n",
        ] {
            assert!(SplitText::new(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_text_with_a_value_that_does_not_end_is_not_split() {
        for open in ["a = '''", "a = \"\"\"", "a = \"", "a = '", "a = [", "a = {", "a = ]", "a = \"\\"] {
            assert!(SplitText::new(&format!("[[caller]]\nname = \"x\"\n{open}")).is_none(), "{open}");
        }
    }
}
