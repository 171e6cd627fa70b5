//! What is seen: the log and its one access event for each request.

mod settings;

pub use settings::{Format, Level, Settings};
