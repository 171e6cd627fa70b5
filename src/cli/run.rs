//! `run`: runs the proxy for the lifetime of one command, on a separate port. The command gets the
//! address of the proxy, and no key.

use std::ffi::OsString;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;
use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;
use tracing::warn;

use super::child::{ChildSignals, ended, forward, interrupted, not_started, send};
use super::child_env::{ChildAddresses, ChildEnv};
use super::exit::CommandExit;
use super::flags::CommonFlags;
use super::no_proxy::ForwardMode;
use super::output::complain;
use super::serve::{block_on, not_assembled, off_thread, open_log, print_warnings};
use crate::app::config_watcher::ReloadError;
use crate::app::lifecycle::{App, LoadConfig};
use crate::app::system_env::{SystemEnv, deny_inspection, raise_file_limit, variable_names};
use crate::config::ProxyConfig;
use crate::offload::BlockingLane;
use crate::server::{DrainOutcome, DrainSignal, ListenAddress};
use crate::telemetry::{AccessLogging, LogFlushGuard, LogLevel};

#[derive(ClapArgs)]
#[command(
    mut_arg("listen", |listen| listen.hide(true)),
    mut_arg("admin_listen", |listen| listen.hide(true)),
    mut_arg("unsafe_open", |open| open.hide(true))
)]
pub(super) struct RunArgs {
    /// Route all plain HTTP of the command through the proxy (http_proxy), so that http:// URLs of OSS work unchanged
    #[arg(long)]
    forward: bool,
    #[command(flatten)]
    flags: CommonFlags,
    /// Command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(arguments: &RunArgs) -> CommandExit {
    deny_inspection();
    if let Some(flag) = arguments.flags.about_listeners() {
        complain(format_args!(
            "{flag} applies only to serve: run listens on a free port of loopback, for its command"
        ));
        return CommandExit::Usage;
    }
    block_on(async {
        let mut signals = match ChildSignals::take() {
            Ok(signals) => signals,
            Err(error) => {
                complain(format_args!("cannot start: cannot handle signals: {error}"));
                return CommandExit::Failure;
            }
        };
        let assembled = tokio::select! {
            assembled = start(arguments) => assembled,
            // There is no command yet that could receive the signal.
            signal = signals.next() => return interrupted(signal),
        };
        match assembled {
            Ok(PreparedRun { app, environment, flusher: _flusher }) => {
                run_with_proxy(arguments, app, &environment, &mut signals).await
            }
            Err(exit) => exit,
        }
    })
}

/// A proxy that is ready to serve its command.
struct PreparedRun {
    app: App,
    environment: ChildEnv,
    /// The log is written until this is dropped.
    flusher: LogFlushGuard,
}

/// Reads the configuration, opens the log, and binds the port.
async fn start(arguments: &RunArgs) -> Result<PreparedRun, CommandExit> {
    let flags = arguments.flags.clone();
    let loaded = off_thread(move || {
        configuration(&flags).map_err(|errors| {
            complain(errors);
            CommandExit::Config
        })
    });
    let config = loaded.await?;
    let log = open_log(&config.log).await?;
    print_warnings(&config);
    let environment = ChildEnv::new(&config, variable_names());
    let again = arguments.flags.clone();
    let load: LoadConfig = Arc::new(move || configuration(&again));
    let app = App::assemble(config, Arc::new(SystemEnv)).await.map_err(|error| not_assembled(&error))?;
    Ok(PreparedRun { app: app.reloading(load).logging(log.control), environment, flusher: log.flusher })
}

/// Returns the configuration of `serve` with other listeners, and with a log that does not disturb
/// the command.
fn configuration(flags: &CommonFlags) -> Result<ProxyConfig, ReloadError> {
    let mut config = flags.read_alone()?;
    let is_given = |key: &str| {
        config.effective_settings.iter().any(|setting| setting.key == key && setting.origin.is_some())
    };
    let has_level = is_given("log.level");
    let has_access = is_given("log.access") || is_given("log.sample");
    if !has_level {
        config.log.level = LogLevel::Warn;
    }
    if !has_access {
        config.log.access = AccessLogging::No;
    }
    // The log file belongs to `serve`, which may be running.
    config.log.file = None;
    // No client checks the readiness of this proxy.
    config.timeouts.drain_delay = Duration::ZERO;
    Ok(config)
}

/// Serves while the command runs, forwards signals to it, and returns its exit code.
async fn run_with_proxy(
    arguments: &RunArgs,
    app: App,
    environment: &ChildEnv,
    signals: &mut ChildSignals,
) -> CommandExit {
    let listeners = app.addresses();
    let mut sockets = listeners.iter().filter_map(ListenAddress::socket);
    let Some(objects) = sockets.next() else {
        complain("cannot start: no TCP listener");
        return CommandExit::Failure;
    };
    let addresses = ChildAddresses { objects, keys: sockets.next() };
    let drain = DrainSignal::new();
    // The socket already accepts connections, so the command can connect immediately.
    let serving = spawn_local(serve(app, drain.clone()));
    let (program, words) = arguments.command.split_first().unzip();
    let program = program.cloned().unwrap_or_default();
    let mut command = Command::new(&program);
    command.args(words.unwrap_or_default());
    environment.apply_to(
        &mut command,
        addresses,
        if arguments.forward { ForwardMode::Yes } else { ForwardMode::No },
    );
    // A program on a disk that does not respond does not start. It must not block the signals.
    let lane = BlockingLane::default();
    let mut starting = pin!(lane.run(START_LIMIT, move || command.spawn()));
    let mut early = Vec::new();
    let started = loop {
        tokio::select! {
            biased;
            started = &mut starting => {
                break started.unwrap_or_else(|timeout| Err(io::Error::other(timeout)));
            }
            signal = signals.next() => early.push(signal),
            // The command may already run, and the signal may be for it. The command must not be left
            // behind.
            () = sleep(SIGNALLED_START_LIMIT), if !early.is_empty() => {
                drain.leave();
                finish(serving, &drain, signals).await;
                return interrupted(early[0]);
            }
        }
    };
    let exit = match started {
        Ok(mut child) => {
            // Raised only now, because old programs cannot handle an inherited higher limit.
            let _ = raise_file_limit();
            // guard: early-signal
            early.into_iter().for_each(|signal| forward(signal, &child));
            supervise_child(&mut child, &drain, signals).await
        }
        Err(error) => not_started(&program, &error),
    };
    drain.leave();
    finish(serving, &drain, signals).await;
    exit
}

/// Serves until the drain is complete. If serving fails, starts the shutdown, which also ends the
/// command.
async fn serve(app: App, drain: DrainSignal) {
    match app.run(drain.clone()).await {
        Ok(DrainOutcome::Whole) => {}
        Ok(DrainOutcome::Cut { connections }) => {
            warn!(connections, "the drain ended with open connections");
        }
        Err(error) => {
            complain(format_args!("cannot serve: {error}; terminating the command"));
            drain.leave();
        }
    }
}

/// Waits for the exit of the command, and forwards signals to it. Terminates it when a drain starts.
async fn supervise_child(child: &mut Child, drain: &DrainSignal, signals: &mut ChildSignals) -> CommandExit {
    let mut serves = true;
    loop {
        tokio::select! {
            status = child.wait() => return ended(&status),
            signal = signals.next() => forward(signal, child),
            () = drain.leaving(), if serves => {
                serves = false;
                send(Signal::TERM, child);
            }
        }
    }
}

/// Waits for the shutdown of the proxy: processes left by the command may have requests in flight.
/// Signals now apply to the proxy.
async fn finish(serving: JoinHandle<()>, drain: &DrainSignal, signals: &mut ChildSignals) {
    let forced = async {
        loop {
            let signal = signals.next().await;
            if [Signal::TERM, Signal::INT].contains(&signal) {
                drain.force();
            }
        }
    };
    tokio::select! {
        // Its only failure would be a panic, which is already reported.
        _ = serving => {}
        () = forced => {}
    }
}

/// The limit on the time to start the command.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The remaining time for the start after a signal has arrived.
const SIGNALLED_START_LIMIT: Duration = Duration::from_secs(2);
