//! Exit codes, as `docs/reference.md` lists them.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandExit {
    /// It did what it is for, or drained.
    Ok,
    /// It failed, or was forced to end.
    Failure,
    /// The command line is wrong.
    Usage,
    /// Something that it was to wait for, or to reach, did not answer as it should.
    Unavailable,
    /// There is nothing to sign with, or not for as long as it was asked.
    Credentials,
    /// The configuration is wrong.
    Config,
    /// The command that it ran ended with this code, or could not be run.
    Command(u8),
}

impl CommandExit {
    /// The number that the process ends with.
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
