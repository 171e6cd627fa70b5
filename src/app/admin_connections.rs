//! Limits the connections of the admin listener. At the limit, a new connection replaces the one
//! that has been idle longest. Idle clients then block neither a probe nor a scrape.

use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::address::ListenerReach;
use crate::admin::{self, AdminService, IdleSince};
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
    pub(crate) fn admit(&mut self, accepted: AcceptedSocket, service: AdminService) {
        while self.tasks.try_join_next().is_some() {}
        self.present.retain(|(_, task)| !task.is_finished());
        if self.present.len() >= CONNECTIONS_MAX && !self.make_room() {
            return;
        }
        let idle = IdleSince::new();
        let mut stay = self.stay.subscribe();
        // No message is ever sent. The wait ends when the sender is dropped.
        let leave = async move { while stay.changed().await.is_ok() {} };
        let of_connection = idle.clone();
        let task = match accepted {
            AcceptedSocket::Tcp(stream) => TcpStream::from_std(stream).map(|stream| {
                self.tasks.spawn_local(admin::serve(
                    stream,
                    ListenerReach::ByName(&[]),
                    of_connection,
                    service,
                    leave,
                ))
            }),
            AcceptedSocket::Unix(stream) => UnixStream::from_std(stream).map(|stream| {
                self.tasks.spawn_local(admin::serve(
                    stream,
                    ListenerReach::Unnamed,
                    of_connection,
                    service,
                    leave,
                ))
            }),
        };
        if let Ok(task) = task {
            self.present.push((idle, task));
        }
    }

    /// Closes the connection that has been idle longest. Returns `false` if all are busy.
    fn make_room(&mut self) -> bool {
        let connections = self.present.iter().enumerate();
        let idle = connections.filter_map(|(index, (idle, _))| Some((idle.since()?, index)));
        let Some((_, longest)) = idle.min() else { return false };
        self.present.swap_remove(longest).1.abort();
        true
    }

    /// Closes all connections after their pending responses. The client that requested the shutdown
    /// still gets its response.
    pub(crate) async fn end(self) {
        let Self { mut tasks, stay, .. } = self;
        drop(stay);
        let all_gone = async { while tasks.join_next().await.is_some() {} };
        let _ = timeout(LAST_RESPONSES_TIMEOUT, all_gone).await;
    }
}

/// The limit on connections. Few clients query a process, and many would use resources that
/// requests need.
const CONNECTIONS_MAX: usize = 64;
/// The time that the connections of a stopped listener may continue.
const LAST_RESPONSES_TIMEOUT: Duration = Duration::from_secs(2);
