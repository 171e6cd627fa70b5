//! A small OSS in memory: for tests, for `emulate` and `demo`. It judges signatures with code of its own, never with
//! `sign`, so that a mistake there is found here. What it does not do, it refuses with `NotImplemented`.

mod encoding;
mod error;
mod faults;
pub mod issuer;
mod operation;
mod recorder;
mod request;
mod response;
mod service;
mod settings;
mod store;
mod verify;
mod wire;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

pub use faults::{FaultOrder, FaultSwitches, InjectedFault};
pub use recorder::{BodyArrival, ReceivedRequest, RequestRecorder};
pub use service::OssService;
pub use settings::{EmulatedAccount, EmulatorSettings};
pub use wire::ServiceStream;

/// A [`OssService`] that listens on a TCP port, as a task of the runtime it was bound in.
#[derive(Debug)]
pub struct Emulator {
    service: OssService,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

/// A [`OssService`] that listens on a thread and a runtime of its own, until this is dropped.
#[derive(Debug)]
pub struct EmulatorThread {
    /// Where it listens.
    pub address: SocketAddr,
    /// The service itself: stored objects, accounts.
    pub service: OssService,
    /// Its switches.
    pub faults: FaultSwitches,
    /// What it has received.
    pub journal: RequestRecorder,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Listens on `address` (port 0 takes a free one) and serves until [`Emulator::shutdown`] or
    /// until this is dropped.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn bind(address: SocketAddr, settings: EmulatorSettings) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let service = OssService::new(settings);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, service.clone(), stopped));
        Ok(Self { service, address, stop, task })
    }

    /// The same on a thread of its own.
    ///
    /// # Errors
    /// If the address cannot be listened on, or no thread can be had.
    pub fn spawn(address: SocketAddr, settings: EmulatorSettings) -> io::Result<EmulatorThread> {
        let (ready, bound) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let run = move || run(address, settings, &ready, stopped);
        let thread = thread::Builder::new().name("emulator".to_owned()).spawn(run)?;
        let (address, service) = bound.recv().map_err(io::Error::other)??;
        Ok(EmulatorThread {
            address,
            faults: service.faults().clone(),
            journal: service.journal().clone(),
            service,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The service itself: stored objects, accounts, faults, journal.
    #[must_use]
    pub fn service(&self) -> &OssService {
        &self.service
    }

    /// Stops listening and drops all connections.
    pub async fn shutdown(self) {
        // If the task has ended before, there is nothing to stop.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

impl Drop for EmulatorThread {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // If the thread has ended before, there is nothing to stop.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The life of the thread behind a [`EmulatorThread`].
fn run(
    address: SocketAddr,
    settings: EmulatorSettings,
    ready: &mpsc::SyncSender<io::Result<(SocketAddr, OssService)>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        match Emulator::bind(address, settings).await {
            Ok(emulator) => {
                let _ = ready.send(Ok((emulator.address, emulator.service.clone())));
                // A dropped handle counts as the word to stop.
                let _ = stopped.await;
                emulator.shutdown().await;
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    });
}

/// Accepts connections until `stop` resolves.
async fn accept(listener: TcpListener, service: OssService, mut stop: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Said, or the emulator was dropped.
            _ = &mut stop => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Without it small answers only wait longer.
                    let _ = stream.set_nodelay(true);
                    let service = service.clone();
                    connections.spawn(async move { service.serve_connection(stream).await });
                }
                // Out of files, mostly: others must end first.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// How long accepting rests after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
