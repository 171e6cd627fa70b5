//! What is seen: the log, its one access event for each request, and counters.

mod access;
mod batches;
mod counters;
mod format;
mod settings;

pub use access::{Access, End, Logged, RequestId};
pub use batches::{Batches, Flusher};
pub use counters::Counters;
pub use format::subscribe;
pub use settings::{Format, Level, Settings};
