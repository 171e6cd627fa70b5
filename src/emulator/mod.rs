//! An in-memory OSS for tests, `emulate` and `demo`. It verifies signatures independently of
//! `sign`, so that a bug there is found here. Unsupported features are rejected with
//! `NotImplemented`.

mod encoding;
mod error;
mod faults;
mod form;
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

pub use faults::FaultOrder;
pub use faults::FaultSwitches;
pub use faults::InjectedFault;
pub use recorder::BodyArrival;
pub use recorder::ReceivedRequest;
pub use recorder::RequestRecorder;
pub use service::OssService;
pub use settings::EmulatedAccount;
pub use settings::EmulatorSettings;
pub use wire::ServiceStream;

/// An [`OssService`] listening on a TCP port, as a task of the runtime that called
/// [`Emulator::bind`].
#[derive(Debug)]
pub struct Emulator {
    service: OssService,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

/// An [`OssService`] listening on a dedicated thread with its own runtime. Dropping this stops it.
#[derive(Debug)]
pub struct EmulatorThread {
    /// The listening address.
    pub address: SocketAddr,
    /// The service itself: stored objects and accounts.
    pub service: OssService,
    /// The fault switches of the service.
    pub faults: FaultSwitches,
    /// The requests received so far.
    pub recorder: RequestRecorder,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Binds `address` (port 0 selects a free port) and serves until [`Emulator::shutdown`] or
    /// until the handle is dropped.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(address: SocketAddr, settings: EmulatorSettings) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let service = OssService::new(settings);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, service.clone(), stopped));
        Ok(Self { service, address, stop, task })
    }

    /// Binds and serves on a dedicated thread.
    ///
    /// # Errors
    /// If the address cannot be bound or the thread cannot be started.
    pub fn spawn(address: SocketAddr, settings: EmulatorSettings) -> io::Result<EmulatorThread> {
        let (ready, bound) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let run = move || run(address, settings, &ready, stopped);
        let thread = thread::Builder::new().name("emulator".to_owned()).spawn(run)?;
        let (address, service) = bound.recv().map_err(io::Error::other)??;
        Ok(EmulatorThread {
            address,
            faults: service.faults().clone(),
            recorder: service.recorder().clone(),
            service,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Returns the listening address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the service itself: stored objects, accounts, faults, recorded requests.
    #[must_use]
    pub(crate) fn service(&self) -> &OssService {
        &self.service
    }

    /// Stops listening and drops all connections.
    pub async fn shutdown(self) {
        // The send fails only if the task has already ended.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

impl Drop for EmulatorThread {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The send fails only if the thread has already ended.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs the thread of an [`EmulatorThread`].
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
                // A dropped handle also stops the emulator.
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
            // Shutdown was requested, or the emulator was dropped.
            _ = &mut stop => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // A failure is harmless: it only delays small responses.
                    let _ = stream.set_nodelay(true);
                    let service = service.clone();
                    connections.spawn(async move { service.serve_connection(stream).await });
                }
                // Usually out of file descriptors: other connections must close first.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
