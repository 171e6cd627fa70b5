//! The limit on how long one side may stand still. It runs only while something is waited for, and is set anew where
//! waiting begins: what moves costs nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A limit on one waiting after another.
#[derive(Debug)]
pub struct IdleTimeout {
    limit: Duration,
    waiting: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl IdleTimeout {
    /// With nothing waited for yet.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { limit, waiting: false, timer: None }
    }

    /// Looks at the outcome of a poll. True once the same thing has been waited for as long as the limit.
    pub fn is_over<T>(&mut self, outcome: &Poll<T>, cx: &mut Context<'_>) -> bool {
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

/// A stream whose writes fail when the other side has taken nothing for the limit. What is read is limited by who reads, who
/// alone knows whether he waits for something.
pub struct WriteTimeout<T> {
    inner: T,
    stall: IdleTimeout,
}

impl<T> WriteTimeout<T> {
    /// A stream with this limit.
    pub fn new(inner: T, limit: Duration) -> Self {
        Self { inner, stall: IdleTimeout::new(limit) }
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &T {
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

const STALLED: &str = "the other side takes nothing";

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
