//! A connection that is checked out by a request.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Sleep, sleep};

use super::pool::UsePermit;
use super::request_body::RequestBody;
use super::upstream_io::UpstreamStreamState;

/// An open connection. Dropping it aborts its driver.
pub(super) struct UpstreamConnection {
    pub(super) sender: SendRequest<RequestBody>,
    driver: AbortHandle,
    /// The address of the peer.
    pub(super) address: SocketAddr,
    pub(super) wire: Rc<UpstreamStreamState>,
    /// The timer for response timeouts. Resetting it costs less than creating another.
    pub(super) timer: Pin<Box<Sleep>>,
}

impl UpstreamConnection {
    pub(super) fn new(
        sender: SendRequest<RequestBody>,
        driver: AbortHandle,
        address: SocketAddr,
        wire: Rc<UpstreamStreamState>,
    ) -> Self {
        Self { sender, driver, address, wire, timer: Box::pin(sleep(FAR)) }
    }
}

impl Drop for UpstreamConnection {
    fn drop(&mut self) {
        // Also drops the part of an unfinished request body that the driver holds.
        self.driver.abort();
    }
}

/// A connection with its permit, held until the response has been read to its end.
pub struct PooledConnection {
    connection: UpstreamConnection,
    permit: UsePermit,
}

impl PooledConnection {
    pub(super) fn new(connection: UpstreamConnection, permit: UsePermit) -> Self {
        Self { connection, permit }
    }

    /// Returns the connection to the pool after the response was read to its end, once the upload
    /// has ended too.
    pub fn finish(self) {
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

/// Longer than any response timeout, so that the first wait sets the timer.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);
