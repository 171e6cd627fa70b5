//! The faults of one request, asked at each stage for what concerns it.

#![expect(clippy::wildcard_enum_match_arm, reason = "each stage looks for its own few faults among many")]

use std::borrow::Cow;
use std::future::pending;
use std::time::Duration;

use http::{Response, StatusCode, header};

use super::super::failure::Failure;
use super::super::reply::Reply;
use super::super::settings::Place;
use super::super::verify::Pretence;
use super::super::wire::{Close, End, Exit, Keep, Outgoing, Pace, Upload};
use super::Fault;
use crate::time::Timestamp;

/// The faults of one request.
#[derive(Debug)]
pub(in crate::emulator) struct Active(Vec<Fault>);

impl Active {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        Self(faults)
    }

    /// Waits as long as was planned, perhaps for ever.
    pub(in crate::emulator) async fn wait(&self) {
        let delays = self.0.iter().filter_map(|fault| match fault {
            Fault::Delay(time) => Some(*time),
            _ => None,
        });
        let delay: Duration = delays.sum();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.has(&Fault::Hang) {
            pending().await
        }
    }

    /// How the connection is to be ended in place of an answer.
    pub(in crate::emulator) fn close(&self) -> Option<Close> {
        self.0.iter().find_map(|fault| match fault {
            Fault::HangUp | Fault::CloseReused => Some(Close::Fin),
            Fault::Reset | Fault::ResetReused => Some(Close::Reset),
            _ => None,
        })
    }

    /// The refusal that stands in place of the operation. It comes once so much of the body was read as was planned.
    pub(in crate::emulator) async fn refusal(&self, upload: &mut Upload) -> Option<Failure> {
        for fault in &self.0 {
            match fault {
                Fault::Status { status, code } => {
                    let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                    return Some(Failure::new(status, code.clone(), "A fault switch is on."));
                }
                Fault::RefuseUpload { after_bytes } => {
                    upload.skip(*after_bytes).await;
                    return Some(Failure::denied("A fault switch is on."));
                }
                Fault::StallUpload { after_bytes } => {
                    upload.skip(*after_bytes).await;
                    pending().await
                }
                _ => {}
            }
        }
        None
    }

    /// Whether the rest of a refused body is left unread.
    pub(in crate::emulator) fn leaves_body(&self) -> bool {
        self.0.iter().any(|fault| matches!(fault, Fault::RefuseUpload { .. }))
    }

    pub(in crate::emulator) fn keep(&self) -> Keep {
        if self.has(&Fault::ForgetBody) { Keep::Nothing } else { Keep::All }
    }

    pub(in crate::emulator) fn keeps_broken(&self) -> bool {
        self.has(&Fault::KeepBroken)
    }

    /// The time that the service takes for the right one.
    pub(in crate::emulator) fn clock(&self, now: Timestamp) -> Timestamp {
        let skews = self.0.iter().filter_map(|fault| match fault {
            Fault::Skew { seconds } => Some(*seconds),
            _ => None,
        });
        Timestamp::from_unix_s(now.unix_s().saturating_add(skews.sum()))
    }

    /// Where the service stands.
    pub(in crate::emulator) fn place<'p>(&self, own: &'p Place) -> Cow<'p, Place> {
        let other = self.0.iter().find_map(|fault| match fault {
            Fault::OtherRegion(region) => Some(region),
            _ => None,
        });
        match other {
            None => Cow::Borrowed(own),
            Some(region) => Cow::Owned(own.moved_to(region)),
        }
    }

    /// What is wrong with a signature, right or not.
    pub(in crate::emulator) fn pretence(&self) -> Option<Pretence> {
        self.0.iter().find_map(|fault| match fault {
            Fault::ExpiredToken => Some(Pretence::ExpiredToken),
            Fault::UnknownKey => Some(Pretence::UnknownKey),
            Fault::WrongSignature => Some(Pretence::WrongSignature),
            _ => None,
        })
    }

    /// The answer for hyper, spoiled as planned.
    pub(in crate::emulator) fn response(&self, mut reply: Reply, exit: &Exit) -> Response<Outgoing> {
        let (mut end, mut pace) = (End::Whole, None);
        for fault in &self.0 {
            match fault {
                Fault::CutBody { after_bytes } => {
                    end = cut(&mut reply, *after_bytes, End::Exit(exit.clone(), Close::Fin));
                }
                Fault::ResetBody { after_bytes } => {
                    end = cut(&mut reply, *after_bytes, End::Exit(exit.clone(), Close::Reset));
                }
                Fault::CutChunks { after_bytes } => {
                    reply.headers.remove(header::CONTENT_LENGTH);
                    end = cut(&mut reply, *after_bytes, End::Exit(exit.clone(), Close::Fin));
                }
                Fault::ResetChunks { after_bytes } => {
                    reply.headers.remove(header::CONTENT_LENGTH);
                    end = cut(&mut reply, *after_bytes, End::Exit(exit.clone(), Close::Reset));
                }
                Fault::HangBody { after_bytes } => end = cut(&mut reply, *after_bytes, End::Never),
                Fault::ShortBody { missing_bytes } => {
                    let announced = (reply.body.len() + missing_bytes).to_string();
                    reply = reply.with("content-length", announced);
                    end = End::Exit(exit.clone(), Close::Fin);
                }
                Fault::Chunked => {
                    reply.headers.remove(header::CONTENT_LENGTH);
                    end = if matches!(end, End::Whole) { End::Chunked } else { end };
                }
                Fault::CloseAfter => end = End::WholeThenExit(exit.clone()),
                Fault::Drip { bytes, pause } => pace = Some(Pace { bytes: *bytes, pause: *pause }),
                _ => {}
            }
        }
        let mut response = Response::new(Outgoing::new(reply.body, end, pace));
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response
    }

    fn has(&self, fault: &Fault) -> bool {
        self.0.contains(fault)
    }
}

fn cut(reply: &mut Reply, after_bytes: usize, end: End) -> End {
    reply.body.truncate(after_bytes);
    end
}
