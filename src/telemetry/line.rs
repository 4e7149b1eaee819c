//! What one log line looks like: for people, or as one JSON object.
//!
//! Whatever is logged, a line stays one line of bounded length: control and invisible characters are escaped, long
//! values are cut, and anything that looks like an OpenRouter key loses all but its prefix.

use std::fmt::{self, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;
use crate::config::LogFormat;

/// The longest message or field value, in bytes; what is beyond is cut.
const VALUE_MAX_BYTES: usize = 1024;

const KEY_PREFIX: &str = "sk-or-v1-";

/// Formats events as lines.
pub(super) struct Lines {
    pub(super) format: LogFormat,
    pub(super) clock: Clock,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut record = Record::default();
        event.record(&mut record);
        let head = Head {
            time: self.clock.now().to_string(),
            level: event.metadata().level().as_str(),
            target: record.target.take().unwrap_or_else(|| event.metadata().target().to_owned()),
        };
        match self.format {
            LogFormat::Text => record.text(&head, &mut out),
            LogFormat::Json => record.json(head, &mut out),
        }
    }
}

struct Head {
    time: String,
    level: &'static str,
    target: String,
}

/// An event's message and fields, cleaned.
#[derive(Default)]
struct Record {
    /// Where a line of the `log` crate came from; its own metadata only says "log".
    target: Option<String>,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Record {
    fn keep(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("log.target", Value::String(text)) => self.target = Some(text),
            ("log.module_path" | "log.file" | "log.line", _) => {}
            (name, value) => self.fields.push((name, value)),
        }
    }

    fn text(&self, head: &Head, out: &mut Writer<'_>) -> fmt::Result {
        write!(out, "{} {:>5} {}: ", head.time, head.level, head.target)?;
        write_visible(&self.message, out)?;
        for (name, value) in &self.fields {
            match value {
                Value::String(text) if text.bytes().all(is_plain) && !text.is_empty() => write!(out, " {name}={text}")?,
                Value::String(text) => write!(out, " {name}={text:?}")?,
                other => write!(out, " {name}={other}")?,
            }
        }
        out.write_char('\n')
    }

    fn json(self, head: Head, out: &mut Writer<'_>) -> fmt::Result {
        let mut line = Map::new();
        line.insert("time".to_owned(), head.time.into());
        line.insert("level".to_owned(), head.level.into());
        line.insert("target".to_owned(), head.target.into());
        line.insert("message".to_owned(), self.message.into());
        line.extend(self.fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
        writeln!(out, "{}", Value::Object(line))
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Bounded::default();
        // A refusal means that the value is cut, which is meant.
        write!(text, "{value:?}").ok();
        self.keep(field, Value::String(text.finish()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = Bounded::default();
        text.write_str(value).ok();
        self.keep(field, Value::String(text.finish()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value.into());
    }
}

/// A text that stops growing.
#[derive(Default)]
struct Bounded {
    text: String,
    cut: bool,
}

impl Bounded {
    fn finish(self) -> String {
        let mut text = hide_keys(self.text);
        if self.cut {
            text.push('…');
        }
        text
    }
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = VALUE_MAX_BYTES - self.text.len();
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        let end = more.floor_char_boundary(room);
        self.text.push_str(more.get(..end).unwrap_or_default());
        self.cut = true;
        Err(fmt::Error)
    }
}

/// The last line of defence: no caller logs a key, and if one does all the same, it ends here.
fn hide_keys(text: String) -> String {
    if !text.contains(KEY_PREFIX) {
        return text;
    }
    let mut clean = String::with_capacity(text.len());
    for (part, piece) in text.split(KEY_PREFIX).enumerate() {
        if part == 0 {
            clean.push_str(piece);
            continue;
        }
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        clean.push_str(KEY_PREFIX);
        if rest.len() < piece.len() {
            clean.push('…');
        }
        clean.push_str(rest);
    }
    clean
}

fn write_visible(text: &str, out: &mut Writer<'_>) -> fmt::Result {
    text.chars().try_for_each(|c| match c {
        '"' | '\'' => out.write_char(c),
        c => write!(out, "{}", c.escape_debug()),
    })
}

/// Bytes of values that need no quotes.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=' | b'\'')
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::clock::Timestamp;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Sink {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// What `log` writes at 2026-11-24T03:00:00Z.
    fn lines(format: LogFormat, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let clock = Clock::manual(Timestamp::from_secs(1_795_489_200));
        let subscriber =
            tracing_subscriber::fmt().event_format(Lines { format, clock }).with_writer(sink.clone()).finish();
        tracing::subscriber::with_default(subscriber, log);
        let written = sink.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(written).expect("lines are text")
    }

    #[test]
    fn lines_look_like_this() {
        let log = || {
            tracing::info!(key = "k1", count = 3, until = Option::<&str>::None, label = "a b", "key's state changed")
        };
        assert_eq!(
            lines(LogFormat::Text, log),
            "2026-11-24T03:00:00Z  INFO potluck::telemetry::line::tests: key's state changed key=k1 count=3 label=\"a b\"\n"
        );
        assert_eq!(
            lines(LogFormat::Json, log),
            "{\"time\":\"2026-11-24T03:00:00Z\",\"level\":\"INFO\",\"target\":\"potluck::telemetry::line::tests\",\
             \"message\":\"key's state changed\",\"key\":\"k1\",\"count\":3,\"label\":\"a b\"}\n"
        );
    }

    #[test]
    fn nothing_breaks_out_of_its_line() {
        let hostile = "x\n2026 ERROR forged\r\u{1b}[31m\u{202e}\u{7f}\u{2028}";
        for format in [LogFormat::Text, LogFormat::Json] {
            let line = lines(format, || {
                tracing::warn!(as_str = hostile, as_display = %hostile, as_debug = ?hostile, "{hostile}");
            });
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(line.trim_end_matches('\n').bytes().all(|b| b >= 0x20), "{line:?}");
        }
        let line = lines(LogFormat::Text, || tracing::warn!(label = hostile, "{hostile}"));
        assert!(!line.contains(['\u{202e}', '\u{7f}', '\u{2028}']), "{line:?}");
    }

    #[test]
    fn long_values_are_cut() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let long = "é".repeat(1 << 20);
            let line = lines(format, || tracing::warn!(a = %long, b = long, "{long}"));
            assert!(line.len() < 4 * VALUE_MAX_BYTES, "{} bytes", line.len());
        }
    }

    #[test]
    fn a_key_that_is_logged_by_mistake_is_hidden() {
        let key = format!("{KEY_PREFIX}{}", "0123456789abcdef".repeat(4));
        let near_the_cut = "x".repeat(VALUE_MAX_BYTES - 20);
        for format in [LogFormat::Text, LogFormat::Json] {
            let line = lines(format, || {
                tracing::error!(a = %key, b = ?key, c = key, d = %format_args!("{near_the_cut}{key}"), "Bearer {key}, {key}");
            });
            assert!(!line.contains("0123"), "{line}");
            assert!(line.contains("Bearer sk-or-v1-…, sk-or-v1-…"), "{line}");
        }
        assert_eq!(hide_keys("mask sk-or-v1-…beef".to_owned()), "mask sk-or-v1-…beef");
    }
}
