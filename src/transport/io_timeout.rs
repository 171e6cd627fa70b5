//! A timeout for a peer that makes no progress. It runs only during a wait, and is reset when a
//! wait begins. Transfers that make progress pay nothing for it.
//!
//! Written by hand: request bodies need the timeout without a stream, so `TimeoutWriter` of
//! tokio-io-timeout would replace only the wrapper.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A timeout that applies to each of a series of waits.
#[derive(Debug)]
pub(crate) struct IdleTimeout {
    limit: Duration,
    waiting: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl IdleTimeout {
    /// Creates a timeout that is not running yet.
    #[must_use]
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, waiting: false, timer: None }
    }

    /// Checks the outcome of a poll. Returns `true` once the polls have been pending for the limit.
    pub(crate) fn is_over<T>(&mut self, outcome: &Poll<T>, cx: &mut Context<'_>) -> bool {
        if outcome.is_ready() {
            self.waiting = false;
            return false;
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.waiting {
            self.waiting = true;
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

/// A stream whose writes fail when the peer has accepted nothing for the limit. Reads are not
/// limited here; only the reader knows whether it is waiting for data.
pub(crate) struct WriteTimeout<T> {
    inner: T,
    stall: IdleTimeout,
}

impl<T> WriteTimeout<T> {
    /// Wraps a stream with this limit.
    pub(crate) fn new(inner: T, limit: Duration) -> Self {
        Self { inner, stall: IdleTimeout::new(limit) }
    }

    /// Returns the wrapped stream.
    pub(crate) fn get_ref(&self) -> &T {
        &self.inner
    }

    fn limited<R>(&mut self, outcome: Poll<io::Result<R>>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        // guard: peer-stops-reading
        if self.stall.is_over(&outcome, cx) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, STALLED)));
        }
        outcome
    }
}

/// Returns whether an error of hyper is that of a [`WriteTimeout`].
pub(crate) fn is_write_timeout(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}

const STALLED: &str = "write timeout: the peer stopped reading";

impl<T: AsyncRead + Unpin> AsyncRead for WriteTimeout<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.limited(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.limited(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
