//! The I/O of a client connection: a plain or TLS stream that tracks client activity.
//!
//! Written by hand: `InspectReader` of tokio-util observes reads only, and the wrapper also observes
//! pending writes and flushes.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use super::idle::ClientActivity;
use crate::transport::WriteTimeout;

/// A client socket, TCP or Unix.
pub(super) trait ClientSocket: ClientStream + AsFd {
    /// Waits until the socket may be readable.
    async fn readable(&self) -> io::Result<()>;

    /// Attempts an operation on the socket. After `WouldBlock`, the next [`ClientSocket::readable`]
    /// waits for new data.
    fn try_io<R>(&self, interest: Interest, attempt: impl FnOnce() -> io::Result<R>) -> io::Result<R>;
}

/// A stream to a client, plain or TLS.
pub(super) trait ClientStream: AsyncRead + AsyncWrite + Unpin {
    /// Makes the connection end with a reset when it is dropped, where the transport supports one.
    fn reset(&self);

    /// Waits until the client sends data, closes its sending side, or disconnects. Reads nothing.
    fn poll_sign(&self, cx: &mut Context<'_>) -> Poll<ClientSign>;
}

/// A change on a client connection while a request is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientSign {
    /// The client has sent data or closed its sending side. It may still read.
    Readable,
    /// The connection is reset, or closed in both directions.
    Gone,
}

impl ClientSign {
    /// Queries the kernel. `WouldBlock` means that there is no change.
    fn query(socket: impl AsFd) -> io::Result<Self> {
        let mut asked = [PollFd::new(&socket, PollFlags::IN | PollFlags::RDHUP)];
        poll(&mut asked, Some(&Timespec::default()))?;
        let seen = asked[0].revents();
        if seen.intersects(PollFlags::HUP | PollFlags::ERR) {
            Ok(Self::Gone)
        } else if seen.is_empty() {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(Self::Readable)
        }
    }

    /// Waits for a change. `ready` waits until there may be one; `try_query` behaves like
    /// [`ClientSocket::try_io`].
    fn poll(
        mut ready: impl FnMut() -> Poll<io::Result<()>>,
        try_query: impl Fn() -> io::Result<Self>,
    ) -> Poll<Self> {
        loop {
            let result = std::task::ready!(ready()).and_then(|()| try_query());
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.unwrap_or(Self::Gone)),
            }
        }
    }
}

impl ClientStream for TcpStream {
    fn poll_sign(&self, cx: &mut Context<'_>) -> Poll<ClientSign> {
        let query = || Self::try_io(self, Interest::READABLE, || ClientSign::query(self));
        ClientSign::poll(|| self.poll_read_ready(cx), query)
    }

    fn reset(&self) {
        // If this fails, the connection is already closed.
        let _ = self.set_zero_linger();
    }
}

impl ClientSocket for TcpStream {
    async fn readable(&self) -> io::Result<()> {
        Self::readable(self).await
    }

    fn try_io<R>(&self, interest: Interest, attempt: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        Self::try_io(self, interest, attempt)
    }
}

impl ClientStream for UnixStream {
    fn reset(&self) {}

    fn poll_sign(&self, cx: &mut Context<'_>) -> Poll<ClientSign> {
        let query = || Self::try_io(self, Interest::READABLE, || ClientSign::query(self));
        ClientSign::poll(|| self.poll_read_ready(cx), query)
    }
}

impl ClientSocket for UnixStream {
    async fn readable(&self) -> io::Result<()> {
        Self::readable(self).await
    }

    fn try_io<R>(&self, interest: Interest, attempt: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        Self::try_io(self, interest, attempt)
    }
}

impl<T: ClientStream> ClientStream for TlsStream<T> {
    fn reset(&self) {
        self.get_ref().0.reset();
    }

    fn poll_sign(&self, cx: &mut Context<'_>) -> Poll<ClientSign> {
        self.get_ref().0.poll_sign(cx)
    }
}

impl<T: ClientStream> ClientStream for WriteTimeout<T> {
    fn reset(&self) {
        self.get_ref().reset();
    }

    fn poll_sign(&self, cx: &mut Context<'_>) -> Poll<ClientSign> {
        self.get_ref().poll_sign(cx)
    }
}

/// A stream that records when bytes arrive between requests, which start the next request head. It
/// also records whether writes are blocked by the client, and detects a client that has
/// disconnected.
pub(super) struct ActivityStream<T> {
    inner: T,
    activity: Rc<ClientActivity>,
}

impl<T> ActivityStream<T> {
    pub(super) fn new(inner: T, activity: Rc<ClientActivity>) -> Self {
        Self { inner, activity }
    }

    pub(super) fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ActivityStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.on_bytes_received();
        }
        read
    }
}

impl<T: ClientStream> ActivityStream<T> {
    /// Fails if the client has disconnected and its request can be abandoned without loss.
    ///
    /// hyper reads nothing between a request and its response, because a client may close its
    /// sending side in between. So hyper does not detect a disconnect either.
    fn look_for_client(&self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.activity.is_watched() {
            return Ok(());
        }
        match self.inner.poll_sign(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(ClientSign::Readable) => {
                // From here on, only the next write detects a reset.
                self.activity.unwatch();
                Ok(())
            }
            Poll::Ready(ClientSign::Gone) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl<T: ClientStream> AsyncWrite for ActivityStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.activity.set_writing(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.activity.set_writing(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // guard: client-is-gone
        self.look_for_client(cx)?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
