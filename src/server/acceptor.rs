//! The thread that accepts connections. It does nothing else, and no function that it calls can
//! block.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_local};
use tracing::error;

use super::accept::AcceptSocket;
use super::connection_limit::ConnectionLimit;
use super::workers::WorkerPool;

/// A handle to the accept thread. Dropping it ends the thread.
pub(super) struct AcceptThread(mpsc::UnboundedSender<AcceptMessage>);

/// A handle to check that the accept thread is responsive.
#[derive(Clone)]
pub(super) struct AcceptWatchdog(mpsc::UnboundedSender<AcceptMessage>);

enum AcceptMessage {
    /// Accept from this socket, for the listener with this id.
    Accept(usize, AcceptSocket),
    /// Stop accepting for these listeners.
    Withdraw(Vec<usize>),
    /// Respond, to show that the thread is alive.
    Pulse(oneshot::Sender<()>),
    /// Stop accepting on all listeners, and report when their sockets are closed.
    Close(oneshot::Sender<()>),
    /// End the thread.
    End,
}

impl AcceptThread {
    /// Starts the thread. It passes each connection to `cores` with a permit from
    /// `connection_limit`.
    pub(super) fn start(cores: Arc<WorkerPool>, connection_limit: ConnectionLimit) -> io::Result<Self> {
        let (messages, inbox) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("accept".to_owned()).spawn(move || {
            match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime.block_on(run(inbox, &cores, &connection_limit)),
                Err(error) => error!(%error, "cannot start accepting connections; restart the process"),
            }
        })?;
        Ok(Self(messages))
    }

    /// Starts accepting from this socket, for the listener with this id.
    pub(super) fn accept(&self, id: usize, socket: AcceptSocket) {
        self.send(AcceptMessage::Accept(id, socket));
    }

    /// Stops accepting for these listeners.
    pub(super) fn withdraw(&self, ids: Vec<usize>) {
        self.send(AcceptMessage::Withdraw(ids));
    }

    /// Stops accepting on all listeners. Waits until the sockets are closed, at most `CLOSE_LIMIT`.
    pub(super) async fn close(&self) {
        let (report, closed) = oneshot::channel();
        self.send(AcceptMessage::Close(report));
        let _ = tokio::time::timeout(CLOSE_LIMIT, closed).await;
    }

    pub(super) fn watchdog(&self) -> AcceptWatchdog {
        AcceptWatchdog(self.0.clone())
    }

    fn send(&self, message: AcceptMessage) {
        if self.0.send(message).is_err() {
            error!("the accept thread has exited; restart the process");
        }
    }
}

impl Drop for AcceptThread {
    fn drop(&mut self) {
        // If this fails, the thread has already exited.
        let _ = self.0.send(AcceptMessage::End);
    }
}

impl AcceptWatchdog {
    /// Waits until the thread has responded. Never resolves if it is stuck. Returns `false` if it
    /// has exited.
    pub(super) async fn beat(&self) -> bool {
        let (report, alive) = oneshot::channel();
        self.0.send(AcceptMessage::Pulse(report)).is_ok() && alive.await.is_ok()
    }
}

async fn run(
    mut inbox: mpsc::UnboundedReceiver<AcceptMessage>,
    cores: &Arc<WorkerPool>,
    connection_limit: &ConnectionLimit,
) {
    let mut tasks: Vec<(usize, JoinHandle<()>)> = Vec::new();
    while let Some(message) = inbox.recv().await {
        match message {
            AcceptMessage::Accept(id, socket) => {
                tasks
                    .push((id, spawn_local(accept(id, socket, Arc::clone(cores), connection_limit.clone()))));
            }
            AcceptMessage::Withdraw(ids) => tasks.retain(|(id, task)| {
                let is_kept = !ids.contains(id);
                if !is_kept {
                    task.abort();
                }
                is_kept
            }),
            // The caller may have stopped waiting.
            AcceptMessage::Pulse(report) => drop(report.send(())),
            AcceptMessage::Close(report) => {
                for (_, task) in tasks.drain(..) {
                    task.abort();
                    // The end of the task closes its socket.
                    let _ = task.await;
                }
                // The caller may have timed out.
                let _ = report.send(());
            }
            AcceptMessage::End => return,
        }
    }
}

async fn accept(id: usize, socket: AcceptSocket, cores: Arc<WorkerPool>, connection_limit: ConnectionLimit) {
    let address = socket.address.clone();
    let serve = |accepted, permit| cores.hand_over(accepted, id, permit);
    let Err(error) =
        socket.accept(|| connection_limit.take(), async || connection_limit.freed().await, serve).await;
    error!(%address, %error, "listener failed; restart the process");
}

/// The timeout at shutdown for the sockets to be closed.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::{AcceptMessage, AcceptWatchdog};

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_reads_no_messages_gives_no_sign_of_life_and_one_that_has_ended_is_known() {
        let (messages, mut inbox) = mpsc::unbounded_channel();
        let pulse = AcceptWatchdog(messages);
        assert!(timeout(Duration::from_secs(3), pulse.beat()).await.is_err());
        let answering = async {
            while let Some(message) = inbox.recv().await {
                if let AcceptMessage::Pulse(report) = message {
                    // The receiver of the timed-out check is gone.
                    let _ = report.send(());
                }
            }
        };
        tokio::select! {
            alive = pulse.beat() => assert!(alive),
            () = answering => panic!("the pulse holds the other end"),
        }
        drop(inbox);
        assert!(!pulse.beat().await);
    }
}
