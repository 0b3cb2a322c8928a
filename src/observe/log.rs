//! The log: one line an event on standard error, for people or as JSON.
//!
//! - Writing never blocks a shard: lines go through a bounded queue to a thread of their own, and a line for which there is no
//!   room is dropped and counted ([`lines_lost`]).
//! - What peers sent is shown with its control characters escaped: an event is one line, whatever it holds.
//! - A letter's id is the field `id`, an account `account`, the other end `peer`.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::{MakeVisitor, VisitFmt, VisitOutput};
use tracing_subscriber::fmt::format::Writer;

/// Lines waiting to be written. More are dropped and counted.
const LINES_WAITING_MAX: usize = 16_384;

/// Octets of lines that leave in one write.
const LOG_BUFFER_BYTES: usize = 64 << 10;

/// How long a line may wait for others.
const GATHER_TIME: Duration = Duration::from_millis(5);

static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `time LEVEL target: message key=value …`
    #[default]
    Human,
    /// One JSON object.
    Json,
}

/// Keeps the log's thread; drop it last, so that the last lines are written.
pub struct Log {
    _writer: WorkerGuard,
}

/// Starts the log. `level`: `info`, or a filter such as `warn,login=info`.
///
/// # Errors
/// A sentence, when the level is none or a log runs already.
pub fn start(format: Format, level: &str) -> Result<Log, String> {
    let filter = filter(level)?;
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_WAITING_MAX)
        .thread_name("log")
        .finish(Gathered { out: io::stderr(), lines: Vec::with_capacity(LOG_BUFFER_BYTES) });
    let lost = writer.error_counter();
    let plain = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let begun = match format {
        Format::Json => plain.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        Format::Human => plain.with_ansi(io::stderr().is_terminal()).fmt_fields(OneLine).try_init(),
    };
    begun.map_err(|why| format!("the log cannot be started: {why}"))?;
    // Only the first log gets this far.
    let _ = LOST.set(lost);
    Ok(Log { _writer: guard })
}

/// Holds a level against what [`start`] takes.
///
/// # Errors
/// What to write instead.
pub fn check_level(level: &str) -> Result<(), String> {
    filter(level).map(|_| ())
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder()
        .parse(level)
        .map_err(|why| format!("`{level}` is no log level ({why}): say error, warn, info, debug or trace"))
}

/// Gathers lines for a moment before it writes them: under load hundreds leave in one system call, and the shards need
/// not wake this thread for each. The queue flushes whenever it has run empty.
struct Gathered<W> {
    out: W,
    lines: Vec<u8>,
}

impl<W: io::Write> Gathered<W> {
    fn write_out(&mut self) -> io::Result<()> {
        let written = self.out.write_all(&self.lines);
        self.lines.clear();
        written
    }
}

impl<W: io::Write> io::Write for Gathered<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.len() + line.len() > LOG_BUFFER_BYTES {
            self.write_out()?;
        }
        self.lines.extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        // Lines that come meanwhile wait in the queue.
        std::thread::sleep(GATHER_TIME);
        self.write_out()
    }
}

/// Lines dropped because the log's reader was too slow.
#[must_use]
pub fn lines_lost() -> u64 {
    LOST.get().map_or(0, |lost| lost.dropped_lines() as u64)
}

/// Fields for people: `message key=value`, values escaped.
struct OneLine;

impl<'w> MakeVisitor<Writer<'w>> for OneLine {
    type Visitor = Line<'w>;
    fn make_visitor(&self, writer: Writer<'w>) -> Line<'w> {
        Line { writer, result: Ok(()), first: true }
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    result: fmt::Result,
    first: bool,
}

impl Line<'_> {
    fn put(&mut self, field: &Field, text: &str) {
        if self.result.is_err() {
            return;
        }
        let space = if std::mem::take(&mut self.first) { "" } else { " " };
        let name = match field.name() {
            "message" => String::new(),
            name => format!("{name}="),
        };
        self.result = write!(self.writer, "{space}{name}{}", Escaped(text));
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

impl VisitOutput<fmt::Result> for Line<'_> {
    fn finish(self) -> fmt::Result {
        self.result
    }
}

impl VisitFmt for Line<'_> {
    fn writer(&mut self) -> &mut dyn fmt::Write {
        &mut self.writer
    }
}

/// Text without control characters or others that could forge a line or hide one.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for c in self.0.chars() {
            let invisible =
                matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
            if c.is_control() || invisible {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_a_peer_sent() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).fmt_fields(OneLine).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let name = "eve\r\n2026 INFO login: ok\x1b[2J\u{202e}";
            tracing::info!(account = %name, id = "7", why = ?"a\nb", "seen");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(r"seen account=eve\r\n2026 INFO login: ok\u{1b}[2J\u{202e} id=7"), "{text}");
    }

    #[test]
    fn a_wrong_level_is_said_so() {
        assert!(start(Format::Human, "info=loud=very").is_err_and(|why| why.contains("say error, warn")));
    }
}
