//! Line numbers of byte offsets in a text.

/// The offsets at which lines begin, so that a lookup takes one binary search.
pub(super) struct LineTable {
    /// The number of the first line.
    first: usize,
    /// The offset of each line except the first, ascending.
    starts: Vec<usize>,
}

impl LineTable {
    pub(super) fn new(text: &str) -> Self {
        Self::beginning_at(1, text)
    }

    /// Returns the lines of a part of a file that begins at this line.
    pub(super) fn beginning_at(first: usize, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { first, starts: breaks.map(|(offset, _)| offset + 1).collect() }
    }

    /// Returns the line with the byte at `offset`, counted from 1. A line break belongs to the line
    /// that it ends.
    pub(super) fn number(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset) + self.first
    }
}

#[cfg(test)]
mod tests {
    use super::LineTable;

    #[test]
    fn the_line_of_every_byte_is_one_more_than_the_line_breaks_before_it() {
        for text in ["", "\n", "a", "a\n", "\n\na", "a\r\nb\r\n", "a = 1\n\n\nb = \"ü\"\nc", "\n\n\n"] {
            let lines = LineTable::new(text);
            // A parser reports a missing token one past the end.
            for offset in 0..=text.len() + 1 {
                let breaks = text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
                assert_eq!(lines.number(offset), breaks + 1, "{text:?}, {offset}");
            }
        }
    }
}
