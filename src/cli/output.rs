//! Prints the output of commands: results on standard output, errors on standard error. A reader
//! that has closed its end causes no error.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

/// Prints a line of a result.
pub(super) fn line(text: impl Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a result that contains its line breaks.
pub(super) fn all(text: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text).and_then(|()| out.flush());
}

/// Prints an error or a warning.
pub(super) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Returns `text` in a color (an SGR parameter), if standard output is a terminal.
pub(super) fn coloured(text: &str, sgr: u8) -> String {
    if io::stdout().is_terminal() { format!("\x1b[{sgr}m{text}\x1b[0m") } else { text.to_owned() }
}
