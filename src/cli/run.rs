//! `run`: the proxy for the life of one command, on a port of its own. The command learns where the proxy is, and no key.

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

use super::app::{App, LoadConfig};
use super::child::{ChildSignals, ended, forward, interrupted, not_started, send};
use super::child_env::{ChildEnv, ForwardMode};
use super::exit::CommandExit;
use super::flags::CommonFlags;
use super::output::complain;
use super::serve::{block_on, not_assembled, off_thread, open_log, print_warnings};
use super::system::{SystemEnv, hide, raise_file_limit, variable_names};
use super::watch::ReloadError;
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
    /// Send all plain HTTP of the command through the proxy (http_proxy), so that http:// URLs of OSS work as they are
    #[arg(long)]
    forward: bool,
    #[command(flatten)]
    flags: CommonFlags,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(arguments: &RunArgs) -> CommandExit {
    hide();
    if let Some(flag) = arguments.flags.about_listeners() {
        complain(format_args!(
            "{flag} is for serve: run listens on a free port of loopback, for its command"
        ));
        return CommandExit::Usage;
    }
    block_on(async {
        let mut signals = match ChildSignals::take() {
            Ok(signals) => signals,
            Err(error) => {
                complain(format_args!("cannot start: signals cannot be received: {error}"));
                return CommandExit::Failure;
            }
        };
        let assembled = tokio::select! {
            assembled = start(arguments) => assembled,
            // There is no command yet that it could be for.
            signal = signals.next() => return interrupted(signal),
        };
        match assembled {
            Ok((app, environment, flusher)) => {
                let exit = run_with_proxy(arguments, app, &environment, &mut signals).await;
                drop(flusher);
                exit
            }
            Err(exit) => exit,
        }
    })
}

/// Reads the configuration, and takes the port.
async fn start(arguments: &RunArgs) -> Result<(App, ChildEnv, LogFlushGuard), CommandExit> {
    let flags = arguments.flags.clone();
    let loaded = off_thread(move || {
        configuration(&flags).map_err(|errors| {
            complain(errors);
            CommandExit::Config
        })
    });
    let config = loaded.await?;
    let (log, flusher) = open_log(&config.log).await?;
    print_warnings(&config);
    let environment = ChildEnv::of(&config, variable_names());
    let again = arguments.flags.clone();
    let load: LoadConfig = Arc::new(move || configuration(&again));
    let app = App::assemble(config, Arc::new(SystemEnv)).await.map_err(|error| not_assembled(&error))?;
    Ok((app.reloading(load).logging(log.control), environment, flusher))
}

/// What `serve` would have, but for listeners, and as quiet as the command may expect.
fn configuration(flags: &CommonFlags) -> Result<ProxyConfig, ReloadError> {
    let mut config = flags.read_alone()?;
    let is_given = |key: &str| config.facts.iter().any(|fact| fact.key == key && fact.origin.is_some());
    let (level, access) = (is_given("log.level"), is_given("log.access") || is_given("log.sample"));
    if !level {
        config.log.level = LogLevel::Warn;
    }
    if !access {
        config.log.access = AccessLogging::No;
    }
    // It is that of `serve`, which may be running.
    config.log.file = None;
    // Nobody asks this proxy whether it is ready.
    config.timeouts.drain_delay = Duration::ZERO;
    Ok(config)
}

/// Serves while the command runs, hands it the signals, and ends with its exit code.
async fn run_with_proxy(
    arguments: &RunArgs,
    app: App,
    environment: &ChildEnv,
    signals: &mut ChildSignals,
) -> CommandExit {
    let Some(address) = app.addresses().iter().find_map(ListenAddress::socket) else {
        complain("cannot start: there is no port to listen on");
        return CommandExit::Failure;
    };
    let drain = DrainSignal::new();
    // The socket takes connections by now, so the command may come at once.
    let serving = spawn_local(serve(app, drain.clone()));
    let (program, words) = arguments.command.split_first().unzip();
    let program = program.cloned().unwrap_or_default();
    let mut command = Command::new(&program);
    command.args(words.unwrap_or_default());
    environment.apply_to(
        &mut command,
        address,
        if arguments.forward { ForwardMode::Yes } else { ForwardMode::No },
    );
    // A program on a disk that does not answer does not start, and must not keep signals from acting.
    let lane = BlockingLane::default();
    let mut starting = pin!(lane.run(START_LIMIT, move || command.spawn()));
    let mut early = Vec::new();
    let started = loop {
        tokio::select! {
            biased;
            started = &mut starting => {
                break started.unwrap_or_else(|no_answer| Err(io::Error::other(no_answer)));
            }
            signal = signals.next() => early.push(signal),
            // The command may run already, and the signal be meant for it: it must not be left behind.
            () = sleep(SIGNALLED_START_LIMIT), if !early.is_empty() => {
                drain.leave();
                finish(serving, &drain, signals).await;
                return interrupted(early[0]);
            }
        }
    };
    let exit = match started {
        Ok(mut child) => {
            // Only now: programs of old are not prepared to inherit it.
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

/// Serves until the drain is over. If that cannot be, everything is to end.
async fn serve(app: App, drain: DrainSignal) {
    match app.run(drain.clone()).await {
        Ok(DrainOutcome::Whole) => {}
        Ok(DrainOutcome::Cut { connections }) => {
            warn!(connections, "the drain ended before these connections did");
        }
        Err(error) => {
            complain(format_args!("cannot serve: {error}; the command is asked to end"));
            drain.leave();
        }
    }
}

/// Waits for the end of the command, and forwards signals to it.
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

/// Waits for the end of the proxy: what the command has left running may have requests in flight. Signals are for the proxy now.
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
        // Its only failure would be a panic, which is told already.
        _ = serving => {}
        () = forced => {}
    }
}

/// How long the start of the command may take.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long it may still take once a signal has come.
const SIGNALLED_START_LIMIT: Duration = Duration::from_secs(2);
