//! The faults that can be injected, and the requests that each affects.

use std::time::Duration;

use super::super::wire::CloseMode;
use crate::oss::Region;

/// A fault to inject. A fault that closes a connection sends FIN; one that resets it sends RST.
/// After a reset, the client may never see the end of what was sent before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InjectedFault {
    /// Closes a new connection once the first byte of a request has arrived, without reading the
    /// rest. This variant and the next count connections, not requests.
    CloseUnread,
    /// Resets the connection at the same point.
    ResetUnread,
    /// Closes the connection without a response and without reading the body.
    HangUp,
    /// Resets the connection at the same point.
    Reset,
    /// Closes the connection on a second or later request. This variant and the next count only the
    /// requests that they affect.
    CloseReused,
    /// Resets the connection at the same point.
    ResetReused,
    /// Closes the connection after the response, without having announced it.
    CloseAfter,
    /// Sends the head and a number of body bytes of the response, then closes the connection.
    CutBody {
        /// The number of body bytes sent.
        after_bytes: usize,
    },
    /// Resets the connection after a number of body bytes of the response.
    ResetBody {
        /// The number of body bytes sent.
        after_bytes: usize,
    },
    /// Sends the body chunked, without a length. Closes the connection after a number of bytes,
    /// before the last chunk.
    CutChunks {
        /// The number of body bytes sent.
        after_bytes: usize,
    },
    /// Sends the body chunked and resets the connection after a number of bytes.
    ResetChunks {
        /// The number of body bytes sent.
        after_bytes: usize,
    },
    /// Announces a `Content-Length` larger than the body, sends the body, then closes the
    /// connection.
    ShortBody {
        /// The number of bytes announced but never sent.
        missing_bytes: usize,
    },
    /// Sends the complete body chunked, without a length.
    Chunked,
    /// Sends a number of body bytes of the response, then stalls with the connection open.
    HangBody {
        /// The number of body bytes sent.
        after_bytes: usize,
    },
    /// Sends the response body in small pieces, with a pause after each.
    Drip {
        /// The size of a piece; at least one byte.
        bytes: usize,
        /// The pause after each piece.
        pause: Duration,
    },
    /// Delays the handling of the request.
    Delay(Duration),
    /// Never responds. The connection remains open.
    Hang,
    /// Reads a number of body bytes of an upload, then stalls and never responds. This variant and
    /// the next count only requests with a body.
    StallUpload {
        /// The approximate number of body bytes read.
        after_bytes: usize,
    },
    /// Rejects an upload with 403 after a number of body bytes, and closes the connection although
    /// more may follow.
    RefuseUpload {
        /// The approximate number of body bytes read.
        after_bytes: usize,
    },
    /// Counts the body of an upload but does not store it, for uploads larger than the memory.
    ForgetBody,
    /// Stores the received part of an incomplete body as if it were complete.
    KeepBroken,
    /// Responds with this status and code instead of executing the operation. The request body is
    /// not awaited.
    Status {
        /// The HTTP status.
        status: u16,
        /// The code in the error document.
        code: String,
    },
    /// Uses a clock that is ahead, or behind if negative, for verification and responses.
    Skew {
        /// The clock offset in seconds.
        seconds: i64,
    },
    /// Treats the security token of a signed request as expired.
    ExpiredToken,
    /// Treats the access key ID of a signed request as unknown.
    UnknownKey,
    /// Treats the signature of a signed request as wrong, and returns the expected string to sign.
    WrongSignature,
    /// Moves the service to another region. The region in the host name, or in the V4 signature, is
    /// then wrong.
    OtherRegion(Region),
}

/// The properties of a request that decide which faults apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emulator) struct FaultContext {
    /// True if the connection has already carried a request.
    pub(in crate::emulator) reused: bool,
    /// True if the request has a body.
    pub(in crate::emulator) has_body: bool,
}

#[expect(clippy::wildcard_enum_match_arm, reason = "few faults are about more than any one request")]
impl InjectedFault {
    /// Returns how to close a new connection, if the fault is about new connections.
    pub(super) fn at_connect(&self) -> Option<CloseMode> {
        match self {
            Self::CloseUnread => Some(CloseMode::Fin),
            Self::ResetUnread => Some(CloseMode::Reset),
            _ => None,
        }
    }

    /// Returns whether the fault affects a request.
    pub(super) fn acts_on(&self, occasion: FaultContext) -> bool {
        match self {
            Self::CloseUnread | Self::ResetUnread => false,
            Self::CloseReused | Self::ResetReused => occasion.reused,
            Self::StallUpload { .. } | Self::RefuseUpload { .. } => occasion.has_body,
            _ => true,
        }
    }
}
