//! Counts of what happens, over all cores.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters of a process.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU64,
    refused: AtomicU64,
    malformed: AtomicU64,
    unframed: AtomicU64,
}

impl Counters {
    /// A request was read.
    pub fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// A request was answered with an error of our own.
    pub fn refusal(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// The HTTP library refused what came, with a bare answer and a closed connection.
    pub fn malformed(&self) {
        self.malformed.fetch_add(1, Relaxed);
    }

    /// An answer came without length or chunks on plain TCP: nobody can tell whether it is whole.
    pub fn unframed(&self) {
        self.unframed.fetch_add(1, Relaxed);
    }

    /// All counts with their names.
    #[must_use]
    pub fn snapshot(&self) -> [(&'static str, u64); 4] {
        [
            ("requests", self.requests.load(Relaxed)),
            ("refused", self.refused.load(Relaxed)),
            ("malformed", self.malformed.load(Relaxed)),
            ("unframed", self.unframed.load(Relaxed)),
        ]
    }
}
