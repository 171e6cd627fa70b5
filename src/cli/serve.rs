//! `serve`: the proxy as a process, with its log and its signals.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{LocalSet, spawn_local};
use tracing::{info, warn};

use super::app::{App, Load, Reloads};
use super::assembly::StartError;
use super::exit::Exit;
use super::flags::Flags;
use super::output::complain;
use super::system::{self, System, raise_file_limit};
use crate::config::Config;
use crate::server::{Drain, Drained};
use crate::telemetry::{self, Batches, Control, Flusher, LogFile};

pub(super) fn run(flags: &Flags) -> Exit {
    system::close();
    let config = match flags.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    // Before the first thread: each inherits it.
    system::settle(&config.process);
    let anew = Arc::new(AtomicBool::new(false));
    let (batches, flusher) = match open(config.log.file.as_deref(), &anew) {
        Ok(log) => log,
        Err(error) => {
            complain(format_args!("cannot start: the log cannot be written: {error}"));
            return Exit::Config;
        }
    };
    let (subscriber, control) = telemetry::subscribe(&config.log, Arc::new(System), batches);
    // Nobody else sets one in this process.
    let _ = tracing::subscriber::set_global_default(subscriber);
    let log = Log { control: Arc::new(control), anew };
    let exit = block_on(serve(flags, config, log));
    drop(flusher);
    exit
}

/// The log of the process.
struct Log {
    control: Arc<Control>,
    /// Has the file opened anew.
    anew: Arc<AtomicBool>,
}

fn open(file: Option<&Path>, anew: &Arc<AtomicBool>) -> io::Result<(Batches, Flusher)> {
    match file {
        None => Batches::to(io::stderr()),
        Some(path) => {
            let named = |error| io::Error::other(format!("{}: {error}", path.display()));
            Batches::to(LogFile::open(path, Arc::clone(anew)).map_err(named)?)
        }
    }
}

/// Runs `task` on this thread, with a place for tasks that stay on it.
pub(super) fn block_on(task: impl Future<Output = Exit>) -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => LocalSet::new().block_on(&runtime, task),
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            Exit::Failure
        }
    }
}

async fn serve(flags: &Flags, config: Config, log: Log) -> Exit {
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let files = raise_file_limit();
    if files.is_some_and(|files| files < config.limits.client_connections as u64) {
        warn!(
            files,
            client_connections = config.limits.client_connections,
            "this process may not open as many files as it may have clients; raise its limit (ulimit -n, LimitNOFILE=)"
        );
    }
    let again = flags.clone();
    let load: Load = Box::new(move || again.read());
    let app = match App::assemble(config, Arc::new(System)).await {
        Ok(app) => app.reloading(load, flags.file()).logging(log.control),
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            return match error {
                StartError::Bind(error) if !error.is_configuration() => Exit::Failure,
                StartError::Bind(_)
                | StartError::Roots(_)
                | StartError::Tls(_)
                | StartError::Credentials(_)
                | StartError::NoSource(_) => Exit::Config,
            };
        }
    };
    let drain = Drain::new();
    match signals(drain.clone()).and_then(|()| reload_signals(app.reloads(), log.anew)) {
        Ok(()) => {}
        Err(error) => {
            complain(format_args!("cannot start: signals cannot be received: {error}"));
            return Exit::Failure;
        }
    }
    match app.run(drain).await {
        Ok(Drained::Whole) => Exit::Ok,
        Ok(Drained::Cut { connections }) => {
            warn!(connections, "the drain ended before these connections did");
            Exit::Failure
        }
        Err(error) => {
            complain(format_args!("cannot serve: {error}"));
            Exit::Failure
        }
    }
}

/// TERM and INT drain, and force when they come again.
pub(super) fn signals(drain: Drain) -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signal: Signal = signal(kind)?;
        let drain = drain.clone();
        spawn_local(async move {
            while signal.recv().await.is_some() {
                info!("asked to stop");
                drain.advance();
            }
        });
    }
    Ok(())
}

/// HUP has the configuration read again, USR1 the file of the log opened anew.
fn reload_signals(reloads: Reloads, anew: Arc<AtomicBool>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    spawn_local(async move {
        while hangup.recv().await.is_some() {
            reloads.wish();
        }
    });
    let mut user = signal(SignalKind::user_defined1())?;
    spawn_local(async move {
        while user.recv().await.is_some() {
            anew.store(true, Relaxed);
            info!("the file of the log is opened anew");
        }
    });
    Ok(())
}
