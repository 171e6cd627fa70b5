//! The command that `run` starts: its signals and its exit status.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use super::exit::CommandExit;
use super::output::complain;
use crate::app::system_env::ignored_signals;

/// The signals that this process receives for the command.
pub(super) struct ChildSignals {
    received: mpsc::Receiver<Signal>,
    /// Held so that the exit of the command is noticed even if this process was started with
    /// SIGCHLD ignored.
    _ends: tokio::signal::unix::Signal,
}

impl ChildSignals {
    /// Installs the handlers. A signal that was ignored when this process started is ignored by the
    /// proxy and by the command.
    pub(super) fn take() -> io::Result<Self> {
        let (send, receive) = mpsc::channel(WAITING_MAX);
        let ignored = ignored_signals();
        for (kind, sent) in FORWARDED {
            if ignored & (1 << (sent.as_raw() - 1)) != 0 {
                continue;
            }
            let mut signal = signal(kind)?;
            let send = send.clone();
            spawn_local(async move {
                while signal.recv().await.is_some() {
                    // If the queue is full, another signal adds no information.
                    let _ = send.try_send(sent);
                }
            });
        }
        Ok(Self { received: receive, _ends: signal(SignalKind::child())? })
    }

    /// Returns the next signal.
    pub(super) async fn next(&mut self) -> Signal {
        match self.received.recv().await {
            Some(signal) => signal,
            // All signals are ignored.
            None => std::future::pending().await,
        }
    }
}

/// Sends a signal to the command, unless the command has already received it. A terminal sends its
/// signals to all processes in the foreground.
pub(super) fn forward(signal: Signal, child: &Child) {
    let is_of_terminal = [Signal::INT, Signal::QUIT].contains(&signal) && is_in_foreground();
    if !is_of_terminal {
        send(signal, child);
    }
}

/// Sends a signal to the command, if the command is still running.
pub(super) fn send(signal: Signal, child: &Child) {
    if let Some(id) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // It is not a failure if the command has just exited.
        let _ = kill_process(id, signal);
    }
}

fn is_in_foreground() -> bool {
    // Without a terminal there is no file to open.
    let terminal = std::fs::File::open("/dev/tty");
    terminal.is_ok_and(|terminal| tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp()))
}

/// Returns the exit code for the exit status of the command, by the convention of shells.
pub(super) fn ended(status: &io::Result<ExitStatus>) -> CommandExit {
    let code = |status: &ExitStatus| status.code().or_else(|| Some(BY_SIGNAL + status.signal()?));
    match status {
        Ok(status) => {
            CommandExit::Command(code(status).and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
        }
        Err(error) => {
            complain(format_args!("cannot get the exit status of the command: {error}"));
            CommandExit::Failure
        }
    }
}

/// Returns the exit code for a signal received before the command was started, by the convention of
/// shells.
pub(super) fn interrupted(signal: Signal) -> CommandExit {
    CommandExit::Command(u8::try_from(BY_SIGNAL + signal.as_raw()).unwrap_or(u8::MAX))
}

/// Prints the reason why the command was not started, and returns the exit code that shells use for
/// it.
pub(super) fn not_started(program: &OsString, error: &io::Error) -> CommandExit {
    let program = program.display();
    if error.kind() == io::ErrorKind::NotFound {
        complain(format_args!("{program}: not found; name a program in PATH, or give its path"));
        return CommandExit::Command(127);
    }
    complain(format_args!("{program}: cannot execute: {error}"));
    CommandExit::Command(126)
}

/// The signals for the command: all that users and supervisors send, except those that cannot be
/// caught.
const FORWARDED: [(SignalKind, Signal); 6] = [
    (SignalKind::terminate(), Signal::TERM),
    (SignalKind::interrupt(), Signal::INT),
    (SignalKind::hangup(), Signal::HUP),
    (SignalKind::quit(), Signal::QUIT),
    (SignalKind::user_defined1(), Signal::USR1),
    (SignalKind::user_defined2(), Signal::USR2),
];

/// The number of signals that can be queued for forwarding.
const WAITING_MAX: usize = 64;

/// The offset that shells add to a signal number.
const BY_SIGNAL: i32 = 128;
