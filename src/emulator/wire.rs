//! The connection: bodies that can be cut, a socket that can be closed at an exact byte, and the reading of uploads.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use md5::{Digest as _, Md5};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::store::Payload;

/// Set when the connection must end as soon as all that was written so far is out.
#[derive(Clone, Debug, Default)]
pub(super) struct Exit(Arc<AtomicBool>);

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Outgoing {
    data: Bytes,
    end: End,
}

/// How a body ends.
#[derive(Debug)]
pub(super) enum End {
    /// As announced.
    Whole,
    /// Without an announced length.
    Chunked,
    /// With the connection.
    Exit(Exit),
    /// As announced, and then with the connection.
    WholeThenExit(Exit),
}

/// A socket that fails once [`Exit`] is set and everything written is out.
#[derive(Debug)]
pub(super) struct Socket<I> {
    io: I,
    exit: Exit,
}

/// What is kept of an upload's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    All,
    Nothing,
}

/// The client went away before its body was whole.
#[derive(Debug)]
pub(super) struct Broken;

impl Outgoing {
    pub(super) fn new(data: Bytes, end: End) -> Self {
        if let End::WholeThenExit(exit) = &end {
            exit.set();
        }
        Self { data, end }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))));
        }
        match &self.end {
            End::Whole | End::Chunked | End::WholeThenExit(_) => Poll::Ready(None),
            End::Exit(exit) => {
                exit.set();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && matches!(self.end, End::Whole)
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            End::Whole => SizeHint::with_exact(self.data.len() as u64),
            End::Chunked | End::Exit(_) | End::WholeThenExit(_) => SizeHint::default(),
        }
    }
}

impl Exit {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Socket<I> {
    pub(super) fn new(io: I, exit: Exit) -> Self {
        Self { io, exit }
    }

    /// Says that no more comes, then reads what the client is still sending, so that a reset does not take the last answer
    /// from it.
    pub(super) async fn linger(mut self) {
        if self.exit.is_set() || self.io.shutdown().await.is_err() {
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
        // Whoever sends for longer than this loses the answer.
        let _ = tokio::time::timeout(LINGER, discard).await;
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Socket<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Socket<I> {
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
        // hyper flushes when its own buffer is empty: whatever was to be seen is out.
        Poll::Ready(if self.exit.is_set() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) })
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Left to `linger`.
        Poll::Ready(Ok(()))
    }
}

/// Reads a body to its end. Nothing of a broken one is kept.
pub(super) async fn receive(body: &mut Incoming, keep: Keep) -> Result<Payload, Broken> {
    let (mut md5, mut crc) = (Md5::new(), crc64fast::Digest::new());
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut data = BytesMut::with_capacity(match keep {
        Keep::All => announced.min(RESERVED_BYTES_MAX),
        Keep::Nothing => 0,
    });
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|_| Broken)?.into_data() else {
            continue;
        };
        md5.update(&chunk);
        crc.write(&chunk);
        if keep == Keep::All {
            data.extend_from_slice(&chunk);
        }
    }
    Ok(Payload { data: data.freeze(), md5: md5.finalize().into(), crc: crc.sum64() })
}

/// Reads and forgets the rest of a body, so that the connection can be used again.
pub(super) async fn drain(mut body: Incoming) {
    let mut left = LINGER_BYTES_MAX;
    let discard = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // What comes later than this is cut off with the connection.
    let _ = tokio::time::timeout(LINGER, discard).await;
}

/// How much is reserved for a body at once, whatever it announces.
const RESERVED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How much of a refused body is read.
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// For how long it is read.
const LINGER: Duration = Duration::from_secs(2);
