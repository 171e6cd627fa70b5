//! Log lines: `ts level msg` and fields, as text for people or as one JSON object. Text from a
//! client is escaped in both.
//!
//! Written by hand: the formatters of tracing-subscriber name the fields differently in text and
//! JSON. Appending strings also takes a third of the time, and each request logs a line.

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

use super::log_writer::{DroppedLineCount, DroppedLines, LogWriter};
use super::settings::{LogFormat, LogLevel, LogSettings};
use crate::time::Clock;

/// Returns the subscriber for these settings, and the control to change them later. The subscriber
/// writes to `batches`. `Auto` selects text if the log goes to standard error and that is a
/// terminal.
pub(crate) fn subscribe(
    settings: &LogSettings,
    clock: Arc<dyn Clock>,
    batches: LogWriter,
) -> (impl Subscriber + Send + Sync + use<>, LogControl) {
    let losses = batches.losses();
    let to_file = settings.file.is_some();
    let json = Arc::new(AtomicBool::new(is_json(settings.format, to_file)));
    let (filter, handle) = reload::Layer::new(filter(settings.level));
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(batches)
        .event_format(LineFormatter { json: Arc::clone(&json), clock })
        .finish()
        .with(filter);
    let set: SetLevel = Box::new(move |level| {
        // This cannot fail: the subscriber lives until the process exits.
        let _ = handle.reload(self::filter(level));
    });
    (subscriber, LogControl { json, to_file, set, level: Mutex::new(settings.level), losses })
}

/// Changes the level and the format of the log at runtime.
pub(crate) struct LogControl {
    json: Arc<AtomicBool>,
    to_file: bool,
    set: SetLevel,
    level: Mutex<LogLevel>,
    losses: Arc<DroppedLines>,
}

type SetLevel = Box<dyn Fn(LogLevel) + Send + Sync>;

impl LogControl {
    /// Applies new format and level settings. The destination of the log does not change.
    pub(crate) fn renew(&self, settings: &LogSettings) {
        self.json.store(is_json(settings.format, self.to_file), Relaxed);
        self.set_level(settings.level);
    }

    /// Logs events of this level and of more severe ones.
    pub(crate) fn set_level(&self, level: LogLevel) {
        *self.level.lock() = level;
        (self.set)(level);
    }

    /// Returns the number of dropped lines by reason.
    #[must_use]
    pub(crate) fn losses(&self) -> [DroppedLineCount; 2] {
        self.losses.read()
    }

    /// The current level.
    #[must_use]
    pub(crate) fn level(&self) -> LogLevel {
        *self.level.lock()
    }
}

fn is_json(format: LogFormat, to_file: bool) -> bool {
    match format {
        LogFormat::Auto => to_file || !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[derive(Clone, Copy)]
enum LineFormat {
    Text,
    Json,
}

struct LineFormatter {
    json: Arc<AtomicBool>,
    clock: Arc<dyn Clock>,
}

impl<S, N> FormatEvent<S, N> for LineFormatter
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
        let shape = if self.json.load(Relaxed) { LineFormat::Json } else { LineFormat::Text };
        let mut fields = EventFields { shape, message: String::new(), rest: String::with_capacity(512) };
        event.record(&mut fields);
        let EventFields { message, rest, .. } = fields;
        let ts = self.clock.now().rfc3339();
        let level = level(event.metadata());
        match shape {
            LineFormat::Json => {
                let mut msg = String::with_capacity(message.len() + 2);
                quote(&message, &mut msg);
                for part in ["{\"ts\":\"", &ts, "\",\"level\":\"", level, "\",\"msg\":", &msg, &rest, "}\n"] {
                    writer.write_str(part)?;
                }
                Ok(())
            }
            LineFormat::Text => writeln!(writer, "{ts} {level:5} {}{rest}", message.escape_debug()),
        }
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

/// Returns whether a value needs no quotes in the text format.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'=')
}

/// Appends `text` as a JSON string.
fn quote(text: &str, out: &mut String) {
    let is_plain = |b: u8| (b' '..0x7f).contains(&b) && b != b'"' && b != b'\\';
    if text.bytes().all(is_plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        // Serializing a string cannot fail.
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

/// The fields of an event, formatted in the order in which they are recorded.
struct EventFields {
    shape: LineFormat,
    message: String,
    rest: String,
}

// A line is written for each request: pushing strings costs a third of formatting them.
impl EventFields {
    fn name(&mut self, field: &Field) {
        let (before, after) = match self.shape {
            LineFormat::Json => (",\"", "\":"),
            LineFormat::Text => (" ", "="),
        };
        self.rest.push_str(before);
        self.rest.push_str(field.name());
        self.rest.push_str(after);
    }

    fn put(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.rest.push_str(value);
    }

    fn put_text(&mut self, field: &Field, text: &str) {
        match self.shape {
            LineFormat::Text if is_plain(text) => self.put(field, text),
            LineFormat::Text | LineFormat::Json => {
                self.name(field);
                quote(text, &mut self.rest);
            }
        }
    }
}

impl Visit for EventFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let thousandths = (value * 1000.0).round();
        if (0.0..1e15).contains(&thousandths) {
            let whole = thousandths as u64 / 1000;
            let rest = thousandths as u64 % 1000;
            self.put(field, itoa::Buffer::new().format(whole));
            let digits =
                [b'.', b'0' + (rest / 100) as u8, b'0' + (rest / 10 % 10) as u8, b'0' + (rest % 10) as u8];
            let text = std::str::from_utf8(&digits).unwrap_or_default();
            self.rest.push_str(text.trim_end_matches('0').trim_end_matches('.'));
        } else if thousandths.is_finite() {
            // JSON cannot represent NaN or infinity; such fields are omitted.
            self.put(field, &(thousandths / 1000.0).to_string());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, itoa::Buffer::new().format(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, itoa::Buffer::new().format(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, if value { "true" } else { "false" });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put_text(field, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a `String` cannot fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.put_text(field, &format!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::atomic::AtomicBool;
    use std::sync::{Arc, Mutex};

    use tracing::info;

    use super::LineFormatter;
    use crate::time::{Clock, Timestamp};

    struct Then;

    impl Clock for Then {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_s(1_702_743_657)
        }
    }

    #[derive(Clone, Default)]
    struct Text(Arc<Mutex<Vec<u8>>>);

    impl Write for Text {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Runs `tell` and returns its log output.
    fn logged(is_json: bool, tell: impl FnOnce()) -> String {
        let text = Text::default();
        let json = Arc::new(AtomicBool::new(is_json));
        let writer = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(LineFormatter { json, clock: Arc::new(Then) });
        tracing::subscriber::with_default(subscriber.finish(), tell);
        String::from_utf8(text.0.lock().expect("no panic").clone()).expect("text")
    }

    #[test]
    fn numbers_have_three_decimals_at_most_and_none_that_say_nothing() {
        let told = logged(true, || {
            info!(
                a = 0.0,
                b = 12.0,
                c = 12.3456,
                d = 0.05,
                e = 1.5,
                f = -2.25,
                g = 3e18,
                h = f64::NAN,
                i = -7,
                j = u64::MAX,
                "n"
            );
        });
        let fields = r#""a":0,"b":12,"c":12.346,"d":0.05,"e":1.5,"f":-2.25,"g":3000000000000000000,"i":-7,"j":18446744073709551615"#;
        assert_eq!(
            told,
            format!("{{\"ts\":\"2023-12-16T16:20:57Z\",\"level\":\"info\",\"msg\":\"n\",{fields}}}\n")
        );
    }

    #[test]
    fn what_is_no_plain_text_is_quoted_and_ends_no_line() {
        let odd = "a \"b\\\n\u{1b}[31m\u{e9}";
        let told = logged(true, || info!(odd, plain = "p", yes = true, seen = ?Some(1), "{odd}"));
        let read: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!((&read["odd"], &read["msg"]), (&odd.into(), &odd.into()));
        assert_eq!(
            (&read["plain"], &read["yes"], &read["seen"]),
            (&"p".into(), &true.into(), &"Some(1)".into())
        );
        let told = logged(false, || info!(odd, plain = "p", empty = "", yes = true, "hello\n"));
        let line = "2023-12-16T16:20:57Z info  hello\\n odd=\"a \\\"b\\\\\\n\\u001b[31m\u{e9}\" plain=p empty=\"\" yes=true\n";
        assert_eq!(told, line);
    }
}
