//! Limits the connections of the admin listener. At the limit, a new connection replaces the one
//! that has been idle longest. Idle clients then block neither a probe nor a scrape.

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
pub(crate) struct AdminConnections {
    tasks: JoinSet<()>,
    present: Vec<(IdleSince, AbortHandle)>,
    /// Dropped to close all connections.
    stay: watch::Sender<()>,
}

impl AdminConnections {
    pub(crate) fn new() -> Self {
        Self { tasks: JoinSet::new(), present: Vec::new(), stay: watch::Sender::new(()) }
    }

    /// Serves another connection, or drops it if the limit is reached and all are busy. Must run
    /// inside a `LocalSet`.
    pub(crate) fn admit(
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
        // No message is ever sent. The wait ends when the sender is dropped.
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

    /// Closes the connection that has been idle longest. Returns `false` if all are busy.
    fn make_room(&mut self) -> bool {
        let silent = self.present.iter().enumerate();
        let silent = silent.filter_map(|(index, (silence, _))| Some((silence.since()?, index)));
        let Some((_, longest)) = silent.min() else { return false };
        self.present.swap_remove(longest).1.abort();
        true
    }

    /// Closes all connections after their pending responses. The client that requested the shutdown
    /// still gets its response.
    pub(crate) async fn end(self) {
        let Self { mut tasks, stay, .. } = self;
        drop(stay);
        let all_gone = async { while tasks.join_next().await.is_some() {} };
        let _ = timeout(FAREWELL, all_gone).await;
    }
}

/// The limit on connections. Few clients query a process, and many would use resources that
/// requests need.
const VISITS_MAX: usize = 64;
/// The time that the connections of a stopped listener may continue.
const FAREWELL: Duration = Duration::from_secs(2);
