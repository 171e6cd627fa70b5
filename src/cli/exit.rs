//! Exit codes, as `docs/reference.md` lists them.

use std::process::ExitCode;

/// The outcome of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandExit {
    /// The command succeeded, or drained.
    Ok,
    /// The command failed, or was forced to shut down.
    Failure,
    /// The command line is invalid.
    Usage,
    /// A service that the command waited for, or tried to reach, did not respond as expected.
    Unavailable,
    /// There are no credentials to sign with, or they expire before the requested time.
    Credentials,
    /// The configuration is invalid.
    Config,
    /// The command that `run` started exited with this code, or could not be run.
    Command(u8),
}

impl CommandExit {
    /// Returns the exit code of the process.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Unavailable => 69,
            Self::Credentials => 77,
            Self::Config => 78,
            Self::Command(code) => code,
        }
    }
}

impl From<CommandExit> for ExitCode {
    fn from(exit: CommandExit) -> Self {
        Self::from(exit.code())
    }
}
