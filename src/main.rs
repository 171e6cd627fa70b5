//! The program: everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    oss_signing_proxy::cli::main()
}
