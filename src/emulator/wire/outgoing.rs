//! The body of an answer: whole, cut, held or dripping.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::{Close, Exit};

/// The body of an answer.
#[derive(Debug)]
pub(in crate::emulator) struct Outgoing {
    data: Bytes,
    end: End,
    pace: Option<Pace>,
    /// Until when the next piece waits.
    pause: Option<Pin<Box<Sleep>>>,
}

/// How a body ends.
#[derive(Debug)]
pub(in crate::emulator) enum End {
    /// As announced.
    Whole,
    /// Without an announced length.
    Chunked,
    /// With the connection.
    Exit(Exit, Close),
    /// As announced, and then with the connection.
    WholeThenExit(Exit),
    /// Never: the rest does not come, and the connection stays.
    Never,
}

/// How fast a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emulator) struct Pace {
    /// How much is sent at once; at least one byte.
    pub(in crate::emulator) bytes: usize,
    /// How long it rests before the next piece.
    pub(in crate::emulator) pause: Duration,
}

impl Outgoing {
    pub(in crate::emulator) fn new(data: Bytes, end: End, pace: Option<Pace>) -> Self {
        if let End::WholeThenExit(exit) = &end {
            exit.set(Close::Fin);
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

impl Body for Outgoing {
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
            End::Whole | End::Chunked | End::WholeThenExit(_) => Poll::Ready(None),
            End::Exit(exit, close) => {
                exit.set(*close);
                Poll::Pending
            }
            End::Never => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && matches!(self.end, End::Whole)
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            End::Whole => SizeHint::with_exact(self.data.len() as u64),
            End::Chunked | End::Exit(..) | End::WholeThenExit(_) | End::Never => SizeHint::default(),
        }
    }
}
