//! The connection: a socket that can be closed or reset at an exact byte, and the bodies in both
//! directions. The socket is written by hand: no library changes the flush and the shutdown of a
//! stream.

mod request_body;
mod response_body;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

pub(super) use request_body::{BrokenBody, IncomingBody, KeptBody};
pub(super) use response_body::{BodyEnding, OutgoingBody, SendRate};

/// The stream over which the service speaks HTTP.
pub trait ServiceStream: AsyncRead + AsyncWrite + Unpin {
    /// Makes the next close a reset (RST instead of FIN).
    fn reset_on_close(&self);
}

impl ServiceStream for TcpStream {
    fn reset_on_close(&self) {
        // On failure the connection closes normally, and a test that expects a reset fails.
        let _ = self.set_zero_linger();
    }
}

impl<S: ServiceStream> ServiceStream for tokio_rustls::server::TlsStream<S> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}

/// The ways of closing a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseMode {
    /// An orderly close: FIN.
    Fin,
    /// A reset: RST. The client may never see data that it has not received by then.
    Reset,
}

/// A flag that closes the connection once all data written so far has been sent.
#[derive(Clone, Debug, Default)]
pub(super) struct ExitFlag(Arc<OnceLock<CloseMode>>);

/// A socket that fails once [`ExitFlag`] is set and all written data has been sent.
#[derive(Debug)]
pub(super) struct ExitSocket<I> {
    io: I,
    exit: ExitFlag,
}

impl ExitFlag {
    /// Sets the flag. Only the first call has an effect.
    pub(super) fn set(&self, close: CloseMode) {
        let _ = self.0.set(close);
    }

    fn get(&self) -> Option<CloseMode> {
        self.0.get().copied()
    }
}

impl<I: ServiceStream> ExitSocket<I> {
    pub(super) fn new(io: I, exit: ExitFlag) -> Self {
        Self { io, exit }
    }

    /// Waits for the first byte, so that the client is in the middle of its request.
    pub(super) async fn touch(&mut self) {
        // End-of-file and errors are handled alike here.
        let _ = self.io.read(&mut [0]).await;
    }

    /// Closes the connection as the flag says. Without the flag, closes it in order, or immediately
    /// after an error.
    pub(super) async fn close(self, ended_well: bool) {
        match self.exit.get() {
            Some(CloseMode::Reset) => self.io.reset_on_close(),
            Some(CloseMode::Fin) => self.linger().await,
            None if ended_well => self.linger().await,
            None => {}
        }
    }

    /// Shuts down the sending side, then reads the data that the client is still sending. Otherwise
    /// a reset could discard the last response.
    async fn linger(mut self) {
        if self.io.shutdown().await.is_err() {
            return;
        }
        let discard = async {
            let mut buffer = vec![0; 16 * 1024];
            let mut left = LINGER_BYTES_MAX;
            while let Ok(count @ 1..) = self.io.read(&mut buffer).await {
                left = left.saturating_sub(count);
                if left == 0 {
                    return;
                }
            }
        };
        // A client that sends for longer than this loses the response.
        let _ = tokio::time::timeout(LINGER, discard).await;
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for ExitSocket<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for ExitSocket<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        // hyper flushes when its own buffer is empty: all data that the client may see is sent.
        Poll::Ready(match self.exit.get() {
            Some(_) => Err(io::ErrorKind::ConnectionAborted.into()),
            None => Ok(()),
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // `linger` shuts the connection down.
        Poll::Ready(Ok(()))
    }
}

/// The limit on the bytes of a rejected body that are read.
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The limit on the time for reading them.
const LINGER: Duration = Duration::from_secs(2);
