//! The lines of the log: `ts level msg` and fields, as text for people or as one JSON object. Text that came from a caller
//! is escaped in both.

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

use super::batches::{Batches, Losses};
use super::settings::{Format, Level, Settings};
use crate::time::Clock;

/// The subscriber for these settings, and what changes them later. It writes to `batches`; `Auto` is text if standard error, and
/// no file, is written to, and is a terminal.
pub fn subscribe(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    batches: Batches,
) -> (impl Subscriber + Send + Sync + use<>, Control) {
    let losses = batches.losses();
    let to_file = settings.file.is_some();
    let json = Arc::new(AtomicBool::new(is_json(settings.format, to_file)));
    let (filter, handle) = reload::Layer::new(filter(settings.level));
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(batches)
        .event_format(Lines { json: Arc::clone(&json), clock })
        .finish()
        .with(filter);
    let set: SetLevel = Box::new(move |level| {
        // The subscriber lives as long as the process.
        let _ = handle.reload(self::filter(level));
    });
    (subscriber, Control { json, to_file, set, level: Mutex::new(settings.level), losses })
}

/// Changes what is logged, while it is.
pub struct Control {
    json: Arc<AtomicBool>,
    to_file: bool,
    set: SetLevel,
    level: Mutex<Level>,
    losses: Arc<Losses>,
}

type SetLevel = Box<dyn Fn(Level) + Send + Sync>;

impl Control {
    /// Has these settings from now on; where the log is written stays.
    pub fn renew(&self, settings: &Settings) {
        self.json.store(is_json(settings.format, self.to_file), Relaxed);
        self.set_level(settings.level);
    }

    /// Shows events of this level and of those above.
    pub fn set_level(&self, level: Level) {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = level;
        (self.set)(level);
    }

    /// How many lines were lost, by why.
    #[must_use]
    pub fn losses(&self) -> [(&'static str, u64); 2] {
        self.losses.read()
    }

    /// The level that is shown.
    #[must_use]
    pub fn level(&self) -> Level {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_json(format: Format, to_file: bool) -> bool {
    match format {
        Format::Auto => to_file || !std::io::stderr().is_terminal(),
        Format::Text => false,
        Format::Json => true,
    }
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Text,
    Json,
}

struct Lines {
    json: Arc<AtomicBool>,
    clock: Arc<dyn Clock>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let shape = if self.json.load(Relaxed) { Shape::Json } else { Shape::Text };
        let mut fields = Fields { shape, message: String::new(), rest: String::with_capacity(512) };
        event.record(&mut fields);
        let Fields { message, rest, .. } = fields;
        let (ts, level) = (self.clock.now().rfc3339(), level(event.metadata()));
        match shape {
            Shape::Json => {
                write!(
                    writer,
                    "{{\"ts\":\"{ts}\",\"level\":\"{level}\",\"msg\":{}{rest}}}",
                    Quoted(&message)
                )?;
            }
            Shape::Text => write!(writer, "{ts} {level:5} {}{rest}", message.escape_debug())?,
        }
        writeln!(writer)
    }
}

fn level(metadata: &Metadata<'_>) -> &'static str {
    match *metadata.level() {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warn",
        tracing::Level::INFO => "info",
        tracing::Level::DEBUG => "debug",
        tracing::Level::TRACE => "trace",
    }
}

/// Whether a text needs no quotes in a line for people.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'=')
}

/// A text as JSON writes it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |b: u8| (b' '..0x7f).contains(&b) && b != b'"' && b != b'\\';
        if self.0.bytes().all(is_plain) {
            f.write_str("\"")?;
            f.write_str(self.0)?;
            return f.write_str("\"");
        }
        f.write_str(&serde_json::to_string(self.0).map_err(|_| fmt::Error)?)
    }
}

/// The fields of an event, written in their order as they come.
struct Fields {
    shape: Shape,
    message: String,
    rest: String,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl fmt::Display) {
        // Writing to a text cannot fail.
        let _ = match self.shape {
            Shape::Json => write!(self.rest, ",\"{}\":{value}", field.name()),
            Shape::Text => write!(self.rest, " {}={value}", field.name()),
        };
    }

    fn put_text(&mut self, field: &Field, text: &str) {
        match self.shape {
            Shape::Text if is_plain(text) => self.put(field, text),
            Shape::Text | Shape::Json => self.put(field, Quoted(text)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let rounded = (value * 1000.0).round() / 1000.0;
        // JSON has no word for what is no number.
        if rounded.is_finite() {
            self.put(field, rounded);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put_text(field, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put_text(field, &text);
        }
    }
}
