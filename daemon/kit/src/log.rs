//! Where an agent's log goes: to journald with every value a field of its own, or as plain lines to
//! standard error where there is no journal.
//!
//! The message in the journal is the same text as the plain line, so that `journalctl -t agent-NAME`
//! reads well; programs use the fields. A `tracing` subscriber of our own, because the usual one for
//! the journal writes to a blocking socket: a journald that hangs would then hang the heartbeat with
//! it. Here a line that journald does not take at once is counted, and the count is told later.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// systemd-journald(8), "Native protocol".
const JOURNAL: &str = "/run/systemd/journal/socket";

/// The subscriber.
#[derive(Debug)]
pub(crate) struct Log {
    agent: String,
    sink: Sink,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Sink {
    Journal { socket: UnixDatagram, path: PathBuf },
    Stderr,
}

impl Log {
    /// A log for `agent`: the journal, if there is one.
    pub(crate) fn new(agent: String) -> Self {
        Self::at(agent, JOURNAL.into())
    }

    fn at(agent: String, path: PathBuf) -> Self {
        let open = || {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            // Named on every send, so that a journald that was started anew is found again.
            socket.send_to(&[], &path).map(|_| socket)
        };
        let sink = match open() {
            Ok(socket) => Sink::Journal { socket, path },
            Err(_) => Sink::Stderr,
        };
        Self { agent, sink, dropped: AtomicU64::new(0) }
    }

    fn write(&self, line: &Line) {
        match &self.sink {
            Sink::Journal { socket, path } => {
                if socket.send_to(&line.journal(&self.agent), path).is_err() {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                let dropped = self.dropped.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    self.write(&Line {
                        level: Level::WARN,
                        message: "lines were dropped that the journal did not take".to_owned(),
                        fields: vec![("count", dropped.to_string())],
                    });
                }
            }
            Sink::Stderr => {
                let text = format!("agent-{}: {}\n", self.agent, line.plain());
                // If standard error is closed, there is nobody left to tell.
                std::io::stderr().write_all(text.as_bytes()).ok();
            }
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::INFO
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line =
            Line { level: *event.metadata().level(), message: String::new(), fields: Vec::new() };
        event.record(&mut line);
        self.write(&line);
    }

    // Spans are never enabled, so none of these is called with one that means something.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// One line, before it has a form.
struct Line {
    level: Level,
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Line {
    /// `finding raised check=space key=space:/var summary="/var is 96 % full"`
    fn plain(&self) -> String {
        let mut text = one_line(&self.message);
        for (name, value) in &self.fields {
            let is_word = !value.is_empty() && !value.contains(|c: char| " \"=".contains(c));
            let value = one_line(value);
            let done = if is_word {
                write!(text, " {name}={value}")
            } else {
                write!(text, " {name}=\"{}\"", value.replace('"', "\\\""))
            };
            done.expect("a String takes any text");
        }
        text
    }

    /// As journald's native protocol has it (systemd's docs/JOURNAL_NATIVE_PROTOCOL.md).
    fn journal(&self, agent: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, "MESSAGE", &self.plain());
        put(&mut bytes, "PRIORITY", priority(self.level));
        put(&mut bytes, "SYSLOG_IDENTIFIER", &format!("agent-{agent}"));
        put(&mut bytes, "AGENT", agent);
        for (name, value) in &self.fields {
            put(&mut bytes, &field_name(name), value);
        }
        bytes
    }

    fn set(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push((field.name(), value));
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.to_owned());
    }
}

/// syslog(3) levels.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// Text from the machine must not make two lines of one, nor steer a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A field name as journald takes it: `A-Z`, `0-9` and `_`, not first a digit or `_`.
fn field_name(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect();
    name.trim_start_matches(|c: char| !c.is_ascii_uppercase()).to_owned()
}

fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line() -> Line {
        Line {
            level: Level::WARN,
            message: "finding raised".to_owned(),
            fields: vec![("check", "space".to_owned()), ("summary", "/var is \"full\"".to_owned())],
        }
    }

    #[test]
    fn a_plain_line_can_be_read_and_a_value_with_spaces_is_quoted() {
        assert_eq!(line().plain(), r#"finding raised check=space summary="/var is \"full\"""#);
    }

    #[test]
    fn the_journal_gets_every_value_as_a_field() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let log = Log::at("network".to_owned(), path);
        tracing::subscriber::with_default(log, || {
            tracing::warn!(check = "links", took_ms = 3_u64, "check is unknown");
            tracing::info!(reason = "two\nlines", "check is unknown");
            tracing::debug!("nobody reads this");
        });
        let receive = || {
            let mut buffer = [0; 1024];
            let count = journald.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        };
        assert_eq!(receive(), "", "the probe");
        let first = receive();
        let fields: Vec<_> = first.lines().collect();
        assert_eq!(
            fields,
            [
                "MESSAGE=check is unknown check=links took_ms=3",
                "PRIORITY=4",
                "SYSLOG_IDENTIFIER=agent-network",
                "AGENT=network",
                "CHECK=links",
                "TOOK_MS=3",
            ]
        );
        assert!(receive().ends_with("REASON\n\u{9}\0\0\0\0\0\0\0two\nlines\n"));
        journald.set_nonblocking(true).unwrap();
        assert!(journald.recv(&mut [0; 16]).is_err(), "debug lines are not sent");
    }

    #[test]
    fn a_journal_that_takes_nothing_blocks_nobody_and_is_told_the_count_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let log = Log::at("network".to_owned(), path);
        let mut sent = 0_u64;
        while log.dropped.load(Ordering::Relaxed) < 3 {
            log.write(&line());
            sent += 1;
        }
        let mut buffer = [0; 1024];
        for _ in 0..=sent - 3 {
            journald.recv(&mut buffer).unwrap();
        }
        log.write(&line());
        journald.recv(&mut buffer).unwrap();
        let count = journald.recv(&mut buffer).unwrap();
        let told = String::from_utf8_lossy(&buffer[..count]).into_owned();
        assert!(told.contains("COUNT=3\n"), "{told}");
    }

    #[test]
    fn without_a_journal_lines_go_to_standard_error() {
        let log = Log::at("network".to_owned(), "/nonexistent/socket".into());
        assert!(matches!(log.sink, Sink::Stderr));
    }

    proptest! {
        #[test]
        fn no_value_breaks_out_of_its_field_or_line(value in any::<String>()) {
            let line = Line {
                level: Level::INFO,
                message: "x".to_owned(),
                fields: vec![("v", value.clone())],
            };
            prop_assert!(!line.plain().contains(char::is_control));
            let bytes = line.journal("a");
            let field = bytes.windows(2).position(|w| w == b"\nV").unwrap() + 2;
            let rest = &bytes[field..];
            if rest[0] == b'=' {
                let end = rest.iter().position(|b| *b == b'\n').unwrap();
                prop_assert_eq!(&rest[1..end], value.as_bytes());
            } else {
                let length = u64::from_le_bytes(rest[1..9].try_into().unwrap());
                prop_assert_eq!(length, value.len() as u64);
            }
        }
    }
}
