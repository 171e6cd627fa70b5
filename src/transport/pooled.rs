//! A connection that is checked out by a request.

use tokio::task::spawn_local;

use super::connection::UpstreamConnection;
use super::pool::UsePermit;

/// A connection with its permit, held until the response has been read to its end.
pub(crate) struct PooledConnection {
    connection: UpstreamConnection,
    permit: UsePermit,
}

impl PooledConnection {
    pub(super) fn new(connection: UpstreamConnection, permit: UsePermit) -> Self {
        Self { connection, permit }
    }

    /// Returns the connection to the pool after the response was read to its end, once the upload
    /// has ended too.
    pub(crate) fn finish(self) {
        let Self { mut connection, permit } = self;
        if connection.wire.is_dead() || connection.sender.is_closed() {
            return;
        }
        if connection.sender.is_ready() {
            permit.put(connection);
            return;
        }
        spawn_local(async move {
            if connection.sender.ready().await.is_ok() {
                permit.put(connection);
            }
        });
    }
}
