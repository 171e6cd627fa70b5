//! A connection while a request uses it.

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

/// An open connection with its driver, which ends when this is dropped.
pub(super) struct UpstreamConnection {
    pub(super) sender: SendRequest<RequestBody>,
    driver: AbortHandle,
    /// The address that it leads to.
    pub(super) address: SocketAddr,
    pub(super) wire: Rc<UpstreamStreamState>,
    /// For whoever waits for an answer: to set it anew costs less than another.
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
        // Also drops what the driver holds of an unfinished request body.
        self.driver.abort();
    }
}

/// The right to the connection until the answer was read to its end.
pub struct PooledConnection {
    connection: UpstreamConnection,
    permit: UsePermit,
}

impl PooledConnection {
    pub(super) fn new(connection: UpstreamConnection, permit: UsePermit) -> Self {
        Self { connection, permit }
    }

    /// The answer was read to its end: the connection is kept for the next request as soon as the upload has ended too.
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

/// Longer than any wait for an answer, so that the first one sets the timer.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);
