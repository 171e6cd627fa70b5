//! The body of an answer: whole, cut, held or dripping.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::{CloseMode, ExitFlag};

/// The body of an answer.
#[derive(Debug)]
pub(in crate::emulator) struct OutgoingBody {
    data: Bytes,
    end: BodyEnding,
    pace: Option<SendRate>,
    /// Until when the next piece waits.
    pause: Option<Pin<Box<Sleep>>>,
}

/// How a body ends.
#[derive(Debug)]
pub(in crate::emulator) enum BodyEnding {
    /// As announced.
    Whole,
    /// Without an announced length.
    Chunked,
    /// With the connection.
    Exit(ExitFlag, CloseMode),
    /// As announced, and then with the connection.
    WholeThenExit(ExitFlag),
    /// Never: the rest does not come, and the connection stays.
    Never,
}

/// How fast a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emulator) struct SendRate {
    /// How much is sent at once; at least one byte.
    pub(in crate::emulator) bytes: usize,
    /// How long it rests before the next piece.
    pub(in crate::emulator) pause: Duration,
}

impl OutgoingBody {
    pub(in crate::emulator) fn new(data: Bytes, end: BodyEnding, pace: Option<SendRate>) -> Self {
        if let BodyEnding::WholeThenExit(exit) = &end {
            exit.set(CloseMode::Fin);
        }
        Self { data, end, pace, pause: None }
    }

    /// All that is left or, at a pace, the next piece of it.
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
