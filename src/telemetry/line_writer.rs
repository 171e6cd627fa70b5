//! A writer that tracks partial writes, so that a truncated line is terminated before the next one.

use std::io::{self, Write};

pub(super) struct LineWriter<W> {
    out: W,
    /// True after a line was written in part.
    is_torn: bool,
}

/// An error after a part of the lines was written.
#[derive(Debug)]
pub(super) struct PartialWriteError {
    /// The number of bytes written before the error.
    pub(super) taken: usize,
    pub(super) error: io::Error,
}

impl<W: Write> LineWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, is_torn: false }
    }

    /// Returns the writer below.
    pub(super) fn get_ref(&self) -> &W {
        &self.out
    }

    /// Writes lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), PartialWriteError> {
        if self.is_torn && !lines.is_empty() {
            // Terminates the partial line, so that the next line does not continue it.
            self.put(b"\n").map_err(|failed| PartialWriteError { taken: 0, ..failed })?;
            self.is_torn = false;
        }
        self.put(lines).inspect_err(|failed| {
            self.is_torn |= lines[..failed.taken].last().is_some_and(|byte| *byte != b'\n');
        })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), PartialWriteError> {
        let mut taken = 0;
        while taken < bytes.len() {
            match self.out.write(&bytes[taken..]) {
                Ok(0) => return Err(PartialWriteError { taken, error: io::ErrorKind::WriteZero.into() }),
                Ok(more) => taken += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(PartialWriteError { taken, error }),
            }
        }
        self.out.flush().map_err(|error| PartialWriteError { taken, error })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::LineWriter;

    /// A writer that accepts a limited number of bytes.
    struct Room(usize, Vec<u8>);

    impl Write for Room {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            self.1.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_taken_in_part_does_not_spoil_the_next() {
        let mut paper = LineWriter::new(Room(6, Vec::new()));
        assert_eq!(paper.write(b"one\ntwo\n").expect_err("no room").taken, 6);
        assert_eq!(paper.write(b"three\n").expect_err("no room").taken, 0);
        paper.out.0 = 100;
        paper.write(b"four\n").expect("room");
        paper.write(b"five\n").expect("room");
        assert_eq!(paper.out.1, b"one\ntw\nfour\nfive\n");
    }
}
