//! What commands print: results on standard output, complaints on standard error. A reader that left is no error.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

/// Prints a line of a result.
pub(super) fn line(text: impl Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a result that has its line breaks.
pub(super) fn all(text: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text).and_then(|()| out.flush());
}

/// Prints a complaint.
pub(super) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// `text` in a colour (an SGR parameter), if a person looks at standard output.
pub(super) fn coloured(text: &str, sgr: u8) -> String {
    if io::stdout().is_terminal() { format!("\x1b[{sgr}m{text}\x1b[0m") } else { text.to_owned() }
}
