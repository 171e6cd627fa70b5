//! An open connection to an upstream.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::{Sleep, sleep};

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

/// Longer than any response timeout, so that the first wait sets the timer.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);
