//! The lines of the log: `ts level msg` and fields, as text for people or as one JSON object. Text that came from a caller
//! is escaped in both.

use std::fmt;
use std::io::IsTerminal as _;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use super::settings::{Format, Level, Settings};
use crate::time::Clock;

/// The subscriber for these settings. It writes to `writer`; `Auto` looks whether standard error is a terminal.
pub fn subscribe<W>(
    settings: &Settings,
    clock: std::sync::Arc<dyn Clock>,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let json = match settings.format {
        Format::Auto => !std::io::stderr().is_terminal(),
        Format::Text => false,
        Format::Json => true,
    };
    let level = match settings.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let shape = if json { Shape::Json } else { Shape::Text };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(writer)
        .event_format(Lines { shape, clock })
        .finish()
}

#[derive(Clone, Copy)]
enum Shape {
    Text,
    Json,
}

struct Lines {
    shape: Shape,
    clock: std::sync::Arc<dyn Clock>,
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
        let mut fields = Fields::default();
        event.record(&mut fields);
        let ts = self.clock.now().rfc3339();
        match self.shape {
            Shape::Json => write_json(&mut writer, &ts, event.metadata(), fields),
            Shape::Text => write_text(&mut writer, &ts, event.metadata(), fields),
        }
    }
}

fn write_json(writer: &mut Writer<'_>, ts: &str, metadata: &Metadata<'_>, fields: Fields) -> fmt::Result {
    write!(
        writer,
        "{{\"ts\":\"{ts}\",\"level\":\"{}\",\"msg\":{}",
        level(metadata),
        Value::String(fields.message)
    )?;
    for (name, value) in fields.rest {
        write!(writer, ",\"{name}\":{value}")?;
    }
    writeln!(writer, "}}")
}

fn write_text(writer: &mut Writer<'_>, ts: &str, metadata: &Metadata<'_>, fields: Fields) -> fmt::Result {
    write!(writer, "{ts} {:5} {}", level(metadata), fields.message.escape_debug())?;
    for (name, value) in fields.rest {
        match value.as_str().filter(|text| is_plain(text)) {
            Some(text) => write!(writer, " {name}={text}")?,
            None => write!(writer, " {name}={value}")?,
        }
    }
    writeln!(writer)
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

/// The fields of an event in their order.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.rest.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from((value * 1000.0).round() / 1000.0));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, Value::from(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.put(field, Value::from(format!("{value:?}")));
        }
    }
}
