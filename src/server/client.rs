//! The client's end of a connection: a socket, or TLS over one, and what is noticed about it.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use super::presence::Presence;
use crate::transport::WriteLimit;

/// A socket of either kind.
pub(super) trait Socket: Client + AsFd {
    /// Waits until there may be something to read.
    async fn readable(&self) -> io::Result<()>;

    /// Tries something with the socket; `WouldBlock` makes the next [`Socket::readable`] wait for more.
    fn try_io<R>(&self, interest: Interest, attempt: impl FnOnce() -> io::Result<R>) -> io::Result<R>;
}

/// A stream to a client.
pub(super) trait Client: AsyncRead + AsyncWrite + Unpin {
    /// Has the connection end in a reset when it is dropped, where the system knows one.
    fn reset(&self);
}

impl Client for TcpStream {
    fn reset(&self) {
        // If it fails the connection is gone already.
        let _ = self.set_zero_linger();
    }
}

impl Socket for TcpStream {
    async fn readable(&self) -> io::Result<()> {
        Self::readable(self).await
    }

    fn try_io<R>(&self, interest: Interest, attempt: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        Self::try_io(self, interest, attempt)
    }
}

impl Client for UnixStream {
    fn reset(&self) {}
}

impl Socket for UnixStream {
    async fn readable(&self) -> io::Result<()> {
        Self::readable(self).await
    }

    fn try_io<R>(&self, interest: Interest, attempt: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        Self::try_io(self, interest, attempt)
    }
}

impl<T: Client> Client for TlsStream<T> {
    fn reset(&self) {
        self.get_ref().0.reset();
    }
}

impl<T: Client> Client for WriteLimit<T> {
    fn reset(&self) {
        self.get_ref().reset();
    }
}

/// A stream that tells when the client says something while no request of his is in flight: then it is the head of the next.
/// It also notes whether the client is waited for to take something.
pub(super) struct Heard<T> {
    inner: T,
    presence: Rc<Presence>,
}

impl<T> Heard<T> {
    pub(super) fn new(inner: T, presence: Rc<Presence>) -> Self {
        Self { inner, presence }
    }

    pub(super) fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.presence.heard();
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.presence.set_writing(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.presence.set_writing(written.is_pending());
        written
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
