//! The outermost layer of an upstream connection. If an upstream responds early and closes, the
//! next write fails. hyper would report that error instead of the response it has not read yet.
//! Here a failed write never completes, and the reading side reports the outcome: the response or
//! the reset.
//!
//! Written by hand: failed writes affect every method but one. `InspectReader` of tokio-util could
//! count the bytes read, but the wrapper around it would keep all its methods.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The state of a stream that the owner of its connection can query.
#[derive(Debug, Default)]
pub(super) struct UpstreamStreamState {
    dead: Cell<bool>,
    read: Cell<u64>,
}

impl UpstreamStreamState {
    /// Returns whether a write has failed. The connection cannot be used again then.
    pub(super) fn is_dead(&self) -> bool {
        self.dead.get()
    }

    /// Returns the number of response bytes read.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read.get()
    }
}

/// A stream whose write failures are left to the reading side to report.
pub(super) struct UpstreamStream<T> {
    inner: T,
    state: Rc<UpstreamStreamState>,
}

impl<T> UpstreamStream<T> {
    pub(super) fn new(inner: T, state: Rc<UpstreamStreamState>) -> Self {
        Self { inner, state }
    }

    fn tolerate(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        // guard: failed-write-waits
        if is_gone(&written) {
            self.state.dead.set(true);
            return Poll::Pending;
        }
        written
    }
}

/// Returns whether the peer no longer accepts data.
fn is_gone<T>(outcome: &Poll<io::Result<T>>) -> bool {
    let Poll::Ready(Err(error)) = outcome else { return false };
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl<T: AsyncRead + Unpin> AsyncRead for UpstreamStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.state.read.set(self.state.read.get() + (buf.filled().len() - before) as u64);
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for UpstreamStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.state.is_dead() {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.tolerate(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.state.is_dead() {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.tolerate(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.is_dead() {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        if is_gone(&flushed) {
            self.state.dead.set(true);
            return Poll::Ready(Ok(()));
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.is_dead() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
