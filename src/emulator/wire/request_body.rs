//! The body of a request: read and recorded, or left unread.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use md5::{Digest as _, Md5};

use super::super::recorder::{BodyArrival, RecordedEntry};
use super::super::store::SummedBody;

/// A request body that is being received.
#[derive(Debug)]
pub(in crate::emulator) struct IncomingBody {
    body: Incoming,
    entry: RecordedEntry,
}

/// The amount of an upload's body that is kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emulator) enum KeptBody {
    All,
    Nothing,
}

/// A body that ended before it was complete, with the received part.
#[derive(Debug)]
pub(in crate::emulator) struct BrokenBody(pub(in crate::emulator) SummedBody);

impl IncomingBody {
    pub(in crate::emulator) fn new(body: Incoming, entry: RecordedEntry) -> Self {
        if body.is_end_stream() {
            entry.ended(BodyArrival::Whole);
        }
        Self { body, entry }
    }

    /// Returns whether the complete body has been read.
    pub(in crate::emulator) fn is_whole(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Reads the body to its end.
    pub(in crate::emulator) async fn receive(&mut self, keep: KeptBody) -> Result<SummedBody, BrokenBody> {
        let mut md5 = Md5::new();
        let mut crc = crc64fast::Digest::new();
        let announced = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut data = BytesMut::with_capacity(match keep {
            KeptBody::All => announced.min(RESERVED_BYTES_MAX),
            KeptBody::Nothing => 0,
        });
        let arrival = loop {
            match self.next().await {
                NextFrame::Bytes(bytes) => {
                    md5.update(&bytes);
                    crc.write(&bytes);
                    if keep == KeptBody::All {
                        data.extend_from_slice(&bytes);
                    }
                }
                NextFrame::End(arrival) => break arrival,
            }
        };
        let payload = SummedBody { data: data.freeze(), md5: md5.finalize().into(), crc: crc.sum64() };
        if arrival == BodyArrival::Whole { Ok(payload) } else { Err(BrokenBody(payload)) }
    }

    /// Reads and discards at least this number of bytes, or all of a shorter body.
    pub(in crate::emulator) async fn skip(&mut self, bytes: usize) {
        let mut read = 0;
        while read < bytes {
            let NextFrame::Bytes(bytes) = self.next().await else {
                return;
            };
            read += bytes.len();
        }
    }

    /// Reads and discards the rest, so that the connection can be reused.
    pub(in crate::emulator) async fn drain(mut self) {
        // Data after these limits is cut off with the connection.
        let _ = tokio::time::timeout(super::LINGER, self.skip(super::LINGER_BYTES_MAX)).await;
    }

    async fn next(&mut self) -> NextFrame {
        loop {
            let arrival = match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => {
                        self.entry.received(bytes.len());
                        return NextFrame::Bytes(bytes);
                    }
                    // Trailers are ignored.
                    Err(_) => continue,
                },
                Some(Err(_)) => BodyArrival::Broken,
                None => BodyArrival::Whole,
            };
            self.entry.ended(arrival);
            return NextFrame::End(arrival);
        }
    }
}

/// The next event of a body.
enum NextFrame {
    Bytes(Bytes),
    End(BodyArrival),
}

/// The limit on the initial buffer for a body, whatever length it announces.
const RESERVED_BYTES_MAX: usize = 64 * 1024 * 1024;
