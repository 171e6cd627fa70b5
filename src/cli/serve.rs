//! `serve`: runs the proxy as a process, with its log and its signals.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{LocalSet, spawn_local};
use tracing::{info, warn};

use super::exit::CommandExit;
use super::flags::CommonFlags;
use super::output::complain;
use crate::app::StartError;
use crate::app::lifecycle::{App, LoadConfig};
use crate::app::reload::ReloadHandle;
use crate::app::system_env::{self, SystemEnv, raise_file_limit};
use crate::config::ProxyConfig;
use crate::offload::BlockingLane;
use crate::server::{DrainOutcome, DrainSignal};
use crate::telemetry::{self, AuditLog, LogControl, LogFile, LogFlushGuard, LogWriter};

pub(super) fn run(flags: &CommonFlags) -> CommandExit {
    system_env::harden();
    block_on(start(flags))
}

/// Reads the configuration and serves. Signals are handled from the beginning, during every wait.
async fn start(flags: &CommonFlags) -> CommandExit {
    let drain = DrainSignal::new();
    // Installed before any wait: an unhandled signal would end the process or, as process 1, have
    // no effect.
    let asked = match signals(drain.clone()).and_then(|()| ReloadSignals::listen()) {
        Ok(asked) => asked,
        Err(error) => {
            complain(format_args!("cannot start: cannot handle signals: {error}"));
            return CommandExit::Failure;
        }
    };
    let again = flags.clone();
    let loaded = tokio::select! {
        loaded = off_thread(move || again.load()) => loaded,
        () = drain.leaving() => return CommandExit::Ok,
    };
    let config = match loaded {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    // Applied before the threads that serve start, because each of them inherits it.
    system_env::apply_hardening(&config.process);
    let opened = tokio::select! {
        opened = open_log(&config.log) => opened,
        () = drain.leaving() => return CommandExit::Ok,
    };
    match opened {
        Ok(log) => serve(flags, config, log, drain, asked).await,
        Err(exit) => exit,
    }
}

/// Runs `read`, which reads files for the start, on another thread.
pub(super) async fn off_thread<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, CommandExit> + Send + 'static,
) -> Result<T, CommandExit> {
    BlockingLane::default().run(START_LIMIT, read).await.unwrap_or_else(|timeout| {
        complain(format_args!("cannot start: reading the configuration files: {timeout}"));
        Err(CommandExit::Config)
    })
}

/// The log of the process.
pub(super) struct ProcessLog {
    pub(super) control: Arc<LogControl>,
    /// Set to reopen the log file.
    anew: Arc<AtomicBool>,
    /// The log is written until this is dropped.
    pub(super) flusher: LogFlushGuard,
}

/// Opens the log of this process. Prints the reason for a failure.
pub(super) async fn open_log(settings: &telemetry::LogSettings) -> Result<ProcessLog, CommandExit> {
    let anew = Arc::new(AtomicBool::new(false));
    let wanted = Arc::clone(&anew);
    let file = settings.file.clone();
    let opened = off_thread(move || {
        open(file.as_deref(), &wanted).map_err(|error| {
            complain(format_args!("cannot start: cannot write the log file {error}"));
            CommandExit::Config
        })
    });
    let (batches, flusher) = opened.await?;
    let (subscriber, control) = telemetry::subscribe(settings, Arc::new(SystemEnv), batches);
    // No other code in this process sets a subscriber.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(ProcessLog { control: Arc::new(control), anew, flusher })
}

fn open(file: Option<&Path>, anew: &Arc<AtomicBool>) -> io::Result<(LogWriter, LogFlushGuard)> {
    match file {
        None => LogWriter::to(io::stderr()),
        Some(path) => {
            let named = |error| io::Error::other(format!("{}: {error}", path.display()));
            LogWriter::to(LogFile::open(path, Arc::clone(anew)).map_err(named)?)
        }
    }
}

/// Runs `task` on this thread, inside a `LocalSet`. Does not wait for blocking work at the end,
/// such as a DNS lookup without an answer.
pub(super) fn block_on(task: impl Future<Output = CommandExit>) -> CommandExit {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let exit = LocalSet::new().block_on(&runtime, task);
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            CommandExit::Failure
        }
    }
}

async fn serve(
    flags: &CommonFlags,
    config: ProxyConfig,
    log: ProcessLog,
    drain: DrainSignal,
    asked: ReloadSignals,
) -> CommandExit {
    print_warnings(&config);
    let files = raise_file_limit();
    if files.is_some_and(|files| files < config.limits.client_connections as u64) {
        warn!(
            files,
            client_connections = config.limits.client_connections,
            "the limit on open files is below that on client connections; raise it (ulimit -n, LimitNOFILE=)"
        );
    }
    let again = flags.clone();
    let load: LoadConfig = Arc::new(move || again.read());
    let assembled = tokio::select! {
        assembled = App::assemble(config, Arc::new(SystemEnv)) => assembled,
        () = drain.leaving() => return CommandExit::Ok,
    };
    let app = match assembled {
        Ok(app) => app.reloading(load).logging(log.control),
        Err(error) => return not_assembled(&error),
    };
    asked.install_handlers(app.reloads(), log.anew, app.audit());
    match app.run(drain).await {
        Ok(DrainOutcome::Whole) => CommandExit::Ok,
        Ok(DrainOutcome::Cut { connections }) => {
            warn!(connections, "the drain ended with open connections");
            CommandExit::Failure
        }
        Err(error) => {
            complain(format_args!("cannot serve: {error}"));
            CommandExit::Failure
        }
    }
}

/// Logs the warnings of the configuration.
pub(super) fn print_warnings(config: &ProxyConfig) {
    for warning in &config.warnings {
        warn!("{warning}");
    }
}

/// Prints the reason why the proxy cannot start, and returns the exit code.
pub(super) fn not_assembled(error: &StartError) -> CommandExit {
    for line in error.to_string().lines() {
        complain(format_args!("cannot start: {line}"));
    }
    if error.is_configuration() { CommandExit::Config } else { CommandExit::Failure }
}

/// Handles TERM and INT. The first signal starts the drain, even if a drain has already been
/// requested otherwise. The second one forces it.
pub(super) fn signals(drain: DrainSignal) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    spawn_local(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        info!("shutdown requested");
        drain.leave();
        next().await;
        info!("forced shutdown requested");
        drain.force();
    });
    Ok(())
}

/// The signals that request an action while the process serves.
struct ReloadSignals {
    hangup: Signal,
    user: Signal,
}

impl ReloadSignals {
    /// Registers the signals.
    fn listen() -> io::Result<Self> {
        Ok(Self { hangup: signal(SignalKind::hangup())?, user: signal(SignalKind::user_defined1())? })
    }

    /// Starts the handlers. HUP reloads the configuration, and USR1 reopens the log files.
    fn install_handlers(self, reloads: ReloadHandle, anew: Arc<AtomicBool>, audit: Option<Arc<AuditLog>>) {
        let Self { mut hangup, mut user } = self;
        spawn_local(async move {
            while hangup.recv().await.is_some() {
                reloads.request_reload();
            }
        });
        spawn_local(async move {
            while user.recv().await.is_some() {
                anew.store(true, Relaxed);
                if let Some(audit) = &audit {
                    audit.reopen();
                }
                info!("reopening the log files");
            }
        });
    }
}

/// The time that the start waits for the files that it reads.
const START_LIMIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::block_on;
    use crate::cli::exit::CommandExit;

    #[test]
    fn a_name_that_is_still_looked_up_does_not_hold_the_end() {
        let (found, answer) = mpsc::channel::<()>();
        let begun = Instant::now();
        block_on(async {
            let (tell, told) = tokio::sync::oneshot::channel();
            // Name lookups run on such a thread.
            tokio::task::spawn_blocking(move || {
                let _ = tell.send(());
                answer.recv_timeout(Duration::from_secs(10))
            });
            told.await.expect("it has begun");
            CommandExit::Ok
        });
        assert!(begun.elapsed() < Duration::from_secs(5));
        drop(found);
    }
}
