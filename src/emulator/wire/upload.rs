//! The body of a request: read, counted into the journal, or left where it is.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use md5::{Digest as _, Md5};

use super::super::journal::{Arrival, Entry};
use super::super::store::Payload;

/// A body on its way in.
#[derive(Debug)]
pub(in crate::emulator) struct Upload {
    body: Incoming,
    entry: Entry,
}

/// What is kept of an upload's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::emulator) enum Keep {
    All,
    Nothing,
}

/// The client went away before its body was whole; this is what came.
#[derive(Debug)]
pub(in crate::emulator) struct Broken(pub(in crate::emulator) Payload);

impl Upload {
    pub(in crate::emulator) fn new(body: Incoming, entry: Entry) -> Self {
        if body.is_end_stream() {
            entry.ended(Arrival::Whole);
        }
        Self { body, entry }
    }

    /// Whether nothing of it is left to come.
    pub(in crate::emulator) fn is_whole(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Reads it to its end.
    pub(in crate::emulator) async fn receive(&mut self, keep: Keep) -> Result<Payload, Broken> {
        let (mut md5, mut crc) = (Md5::new(), crc64fast::Digest::new());
        let announced = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut data = BytesMut::with_capacity(match keep {
            Keep::All => announced.min(RESERVED_BYTES_MAX),
            Keep::Nothing => 0,
        });
        let arrival = loop {
            match self.next().await {
                Next::Bytes(bytes) => {
                    md5.update(&bytes);
                    crc.write(&bytes);
                    if keep == Keep::All {
                        data.extend_from_slice(&bytes);
                    }
                }
                Next::End(arrival) => break arrival,
            }
        };
        let payload = Payload { data: data.freeze(), md5: md5.finalize().into(), crc: crc.sum64() };
        if arrival == Arrival::Whole { Ok(payload) } else { Err(Broken(payload)) }
    }

    /// Reads and forgets so many bytes, perhaps a few more, or fewer if the body ends before.
    pub(in crate::emulator) async fn skip(&mut self, bytes: usize) {
        let mut read = 0;
        while read < bytes {
            let Next::Bytes(bytes) = self.next().await else {
                return;
            };
            read += bytes.len();
        }
    }

    /// Reads and forgets the rest, so that the connection can be used again.
    pub(in crate::emulator) async fn drain(mut self) {
        // What comes later than this is cut off with the connection.
        let _ = tokio::time::timeout(super::LINGER, self.skip(super::LINGER_BYTES_MAX)).await;
    }

    async fn next(&mut self) -> Next {
        loop {
            let arrival = match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => {
                        self.entry.received(bytes.len());
                        return Next::Bytes(bytes);
                    }
                    // Trailers.
                    Err(_) => continue,
                },
                Some(Err(_)) => Arrival::Broken,
                None => Arrival::Whole,
            };
            self.entry.ended(arrival);
            return Next::End(arrival);
        }
    }
}

/// What came next.
enum Next {
    Bytes(Bytes),
    End(Arrival),
}

/// How much is reserved for a body at once, whatever it announces.
const RESERVED_BYTES_MAX: usize = 64 * 1024 * 1024;
