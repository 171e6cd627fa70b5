//! The body of a response: complete, truncated, stalled or throttled.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::{CloseMode, ExitFlag};

/// The body of a response.
#[derive(Debug)]
pub(in crate::emulator) struct OutgoingBody {
    data: Bytes,
    end: BodyEnding,
    pace: Option<SendRate>,
    /// The timer that delays the next piece.
    pause: Option<Pin<Box<Sleep>>>,
}

/// The ways in which a body ends.
#[derive(Debug)]
pub(in crate::emulator) enum BodyEnding {
    /// As announced.
    Whole,
    /// Complete, but without an announced length.
    Chunked,
    /// By closing the connection.
    Exit(ExitFlag, CloseMode),
    /// As announced, followed by a close of the connection.
    WholeThenExit(ExitFlag),
    /// Never: the rest is not sent, and the connection remains open.
    Never,
}

/// The rate at which a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emulator) struct SendRate {
    /// The number of bytes sent at once; at least one.
    pub(in crate::emulator) bytes: usize,
    /// The pause before the next piece.
    pub(in crate::emulator) pause: Duration,
}

impl OutgoingBody {
    pub(in crate::emulator) fn new(data: Bytes, end: BodyEnding, pace: Option<SendRate>) -> Self {
        if let BodyEnding::WholeThenExit(exit) = &end {
            exit.set(CloseMode::Fin);
        }
        Self { data, end, pace, pause: None }
    }

    /// Takes the next piece if a rate is set, otherwise all remaining data.
    fn piece(&mut self) -> Bytes {
        let Some(pace) = self.pace else {
            return std::mem::take(&mut self.data);
        };
        let piece = self.data.split_to(pace.bytes.max(1).min(self.data.len()));
        self.pause = Some(Box::pin(sleep(pace.pause)));
        piece
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.piece()))));
        }
        match &self.end {
            BodyEnding::Whole | BodyEnding::Chunked | BodyEnding::WholeThenExit(_) => Poll::Ready(None),
            BodyEnding::Exit(exit, close) => {
                exit.set(*close);
                Poll::Pending
            }
            BodyEnding::Never => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && matches!(self.end, BodyEnding::Whole)
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            BodyEnding::Whole => SizeHint::with_exact(self.data.len() as u64),
            BodyEnding::Chunked | BodyEnding::Exit(..) | BodyEnding::WholeThenExit(_) | BodyEnding::Never => {
                SizeHint::default()
            }
        }
    }
}
