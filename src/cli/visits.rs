//! The connections of the admin listener: only so many at once. When there are as many, who has been silent longest gives its
//! place to who comes: many who ask nothing keep out neither a probe nor a scrape.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::admin::{self, AdminProcess, IdleSince, ListenerReach};
use crate::server::AcceptedSocket;

/// The connections of one listener.
pub(super) struct AdminConnections {
    tasks: JoinSet<()>,
    present: Vec<(IdleSince, AbortHandle)>,
    /// Dropped when all are to go.
    stay: watch::Sender<()>,
}

impl AdminConnections {
    pub(super) fn new() -> Self {
        Self { tasks: JoinSet::new(), present: Vec::new(), stay: watch::Sender::new(()) }
    }

    /// Answers on this connection too. Must run inside a `LocalSet`.
    pub(super) fn admit(
        &mut self,
        accepted: AcceptedSocket,
        served: (Arc<ArcSwap<admin::AdminSettings>>, Arc<dyn AdminProcess>),
    ) {
        while self.tasks.try_join_next().is_some() {}
        self.present.retain(|(_, task)| !task.is_finished());
        if self.present.len() >= VISITS_MAX && !self.make_room() {
            return;
        }
        let (silence, mut stay) = (IdleSince::new(), self.stay.subscribe());
        // Nothing is ever said: it ends when the sender is gone.
        let leave = async move { while stay.changed().await.is_ok() {} };
        let known = silence.clone();
        let task = match accepted {
            AcceptedSocket::Tcp(stream) => TcpStream::from_std(stream).map(|stream| {
                self.tasks.spawn_local(admin::serve(stream, (ListenerReach::ByName, known), served, leave))
            }),
            AcceptedSocket::Unix(stream) => UnixStream::from_std(stream).map(|stream| {
                self.tasks.spawn_local(admin::serve(stream, (ListenerReach::Unnamed, known), served, leave))
            }),
        };
        if let Ok(task) = task {
            self.present.push((silence, task));
        }
    }

    /// Ends the connection that has been silent longest. `false` if each is being answered.
    fn make_room(&mut self) -> bool {
        let silent = self.present.iter().enumerate();
        let silent = silent.filter_map(|(index, (silence, _))| Some((silence.since()?, index)));
        let Some((_, longest)) = silent.min() else { return false };
        self.present.swap_remove(longest).1.abort();
        true
    }

    /// Ends all of them, each after the answer that is due: who has asked for the end of the listener still gets it.
    pub(super) async fn end(self) {
        let Self { mut tasks, stay, .. } = self;
        drop(stay);
        let all_gone = async { while tasks.join_next().await.is_some() {} };
        let _ = timeout(FAREWELL, all_gone).await;
    }
}

/// Connections at once: few look at a process, and many would take what requests need.
const VISITS_MAX: usize = 64;
/// How long connections of a listener that ends may go on.
const FAREWELL: Duration = Duration::from_secs(2);
