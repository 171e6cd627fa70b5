//! What is seen: the log, its one access event for each request, and counters.

mod access;
mod batches;
mod counters;
mod file;
mod format;
mod paper;
mod settings;
mod sheet;

pub use access::{Access, End, Logged, RequestId, Taken};
pub use batches::{Batches, Flusher, Losses};
pub use counters::{Counters, Refused, Reloads, RequestCounts};
pub use file::LogFile;
pub use format::{Control, subscribe};
pub use settings::{Format, Level, Settings};
pub use sheet::{BOUNDS_MS, Ended, Meter, OperationTotal, Outcome, Sheet, Spread, Total};
