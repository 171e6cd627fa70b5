//! The faults that apply to one request, with a query for each stage of its handling.

#![expect(clippy::wildcard_enum_match_arm, reason = "each stage looks for its own few faults among many")]

use std::borrow::Cow;
use std::future::pending;
use std::time::Duration;

use http::{Response, StatusCode, header};

use super::super::error::OssError;
use super::super::response::OssResponse;
use super::super::settings::ServiceIdentity;
use super::super::verify::SimulatedFailure;
use super::super::wire::{BodyEnding, CloseMode, ExitFlag, IncomingBody, KeptBody, OutgoingBody, SendRate};
use super::injected_fault::InjectedFault;
use crate::time::Timestamp;

/// The faults that apply to one request.
#[derive(Debug)]
pub(in crate::emulator) struct ActiveFaults(Vec<InjectedFault>);

impl ActiveFaults {
    pub(super) fn new(faults: Vec<InjectedFault>) -> Self {
        Self(faults)
    }

    /// Waits for the sum of the injected delays, or forever if [`InjectedFault::Hang`] applies.
    pub(in crate::emulator) async fn wait(&self) {
        let delays = self.0.iter().filter_map(|fault| match fault {
            InjectedFault::Delay(time) => Some(*time),
            _ => None,
        });
        let delay: Duration = delays.sum();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.has(&InjectedFault::Hang) {
            pending().await
        }
    }

    /// Returns how to close the connection instead of responding, if a fault requires it.
    pub(in crate::emulator) fn close(&self) -> Option<CloseMode> {
        self.0.iter().find_map(|fault| match fault {
            InjectedFault::HangUp | InjectedFault::CloseReused => Some(CloseMode::Fin),
            InjectedFault::Reset | InjectedFault::ResetReused => Some(CloseMode::Reset),
            _ => None,
        })
    }

    /// Returns the error response that replaces the operation, if any. First reads the number of
    /// body bytes that the fault specifies.
    pub(in crate::emulator) async fn refusal(&self, upload: &mut IncomingBody) -> Option<OssError> {
        for fault in &self.0 {
            match fault {
                InjectedFault::Status { status, code } => {
                    let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                    return Some(OssError::new(status, code.clone(), "A fault is injected."));
                }
                InjectedFault::RefuseUpload { after_bytes } => {
                    upload.skip(*after_bytes).await;
                    return Some(OssError::denied("A fault is injected."));
                }
                InjectedFault::StallUpload { after_bytes } => {
                    upload.skip(*after_bytes).await;
                    pending().await
                }
                _ => {}
            }
        }
        None
    }

    /// Returns whether the rest of a rejected body is left unread.
    pub(in crate::emulator) fn leaves_body(&self) -> bool {
        self.0.iter().any(|fault| matches!(fault, InjectedFault::RefuseUpload { .. }))
    }

    pub(in crate::emulator) fn keep(&self) -> KeptBody {
        if self.has(&InjectedFault::ForgetBody) { KeptBody::Nothing } else { KeptBody::All }
    }

    pub(in crate::emulator) fn keeps_broken(&self) -> bool {
        self.has(&InjectedFault::KeepBroken)
    }

    /// Returns the time that the service uses as the current time.
    pub(in crate::emulator) fn clock(&self, now: Timestamp) -> Timestamp {
        let skews = self.0.iter().filter_map(|fault| match fault {
            InjectedFault::Skew { seconds } => Some(*seconds),
            _ => None,
        });
        Timestamp::from_unix_s(now.unix_s().saturating_add(skews.sum()))
    }

    /// Returns the identity of the service, in another region if a fault says so.
    pub(in crate::emulator) fn identity<'p>(&self, own: &'p ServiceIdentity) -> Cow<'p, ServiceIdentity> {
        let other = self.0.iter().find_map(|fault| match fault {
            InjectedFault::OtherRegion(region) => Some(region),
            _ => None,
        });
        match other {
            None => Cow::Borrowed(own),
            Some(region) => Cow::Owned(own.moved_to(region)),
        }
    }

    /// Returns the signature failure to simulate, whether the signature is valid or not.
    pub(in crate::emulator) fn simulated_failure(&self) -> Option<SimulatedFailure> {
        self.0.iter().find_map(|fault| match fault {
            InjectedFault::ExpiredToken => Some(SimulatedFailure::ExpiredToken),
            InjectedFault::UnknownKey => Some(SimulatedFailure::UnknownKey),
            InjectedFault::WrongSignature => Some(SimulatedFailure::WrongSignature),
            _ => None,
        })
    }

    /// Builds the hyper response and applies the faults to it.
    pub(in crate::emulator) fn response(
        &self,
        mut oss_response: OssResponse,
        exit: &ExitFlag,
    ) -> Response<OutgoingBody> {
        let mut end = BodyEnding::Whole;
        let mut pace = None;
        for fault in &self.0 {
            match fault {
                InjectedFault::CutBody { after_bytes } => {
                    end =
                        cut(&mut oss_response, *after_bytes, BodyEnding::Exit(exit.clone(), CloseMode::Fin));
                }
                InjectedFault::ResetBody { after_bytes } => {
                    end = cut(
                        &mut oss_response,
                        *after_bytes,
                        BodyEnding::Exit(exit.clone(), CloseMode::Reset),
                    );
                }
                InjectedFault::CutChunks { after_bytes } => {
                    oss_response.headers.remove(header::CONTENT_LENGTH);
                    end =
                        cut(&mut oss_response, *after_bytes, BodyEnding::Exit(exit.clone(), CloseMode::Fin));
                }
                InjectedFault::ResetChunks { after_bytes } => {
                    oss_response.headers.remove(header::CONTENT_LENGTH);
                    end = cut(
                        &mut oss_response,
                        *after_bytes,
                        BodyEnding::Exit(exit.clone(), CloseMode::Reset),
                    );
                }
                InjectedFault::HangBody { after_bytes } => {
                    end = cut(&mut oss_response, *after_bytes, BodyEnding::Never)
                }
                InjectedFault::ShortBody { missing_bytes } => {
                    let announced = (oss_response.body.len() + missing_bytes).to_string();
                    oss_response = oss_response.with("content-length", announced);
                    end = BodyEnding::Exit(exit.clone(), CloseMode::Fin);
                }
                InjectedFault::Chunked => {
                    oss_response.headers.remove(header::CONTENT_LENGTH);
                    end = if matches!(end, BodyEnding::Whole) { BodyEnding::Chunked } else { end };
                }
                InjectedFault::CloseAfter => end = BodyEnding::WholeThenExit(exit.clone()),
                InjectedFault::Drip { bytes, pause } => {
                    pace = Some(SendRate { bytes: *bytes, pause: *pause })
                }
                _ => {}
            }
        }
        let mut response = Response::new(OutgoingBody::new(oss_response.body, end, pace));
        *response.status_mut() = oss_response.status;
        *response.headers_mut() = oss_response.headers;
        response
    }

    fn has(&self, fault: &InjectedFault) -> bool {
        self.0.contains(fault)
    }
}

fn cut(oss_response: &mut OssResponse, after_bytes: usize, end: BodyEnding) -> BodyEnding {
    oss_response.body.truncate(after_bytes);
    end
}
