//! From a reply to what a person reads. Everything here writes to a writer, takes the time and
//! the width as values, and trusts that its text is safe to show (the client saw to that).

pub(crate) mod agent;
pub(crate) mod agents;
pub(crate) mod events;
pub(crate) mod findings;
pub(crate) mod metrics;
#[cfg(test)]
mod snapshots;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod time;

use std::io::{self, IsTerminal, Write};

use comfy_table::Color as Ink;
use jiff::Zoned;

use crate::args::Color;
use crate::clock;

/// What is drawn on.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    /// Columns; none where nobody cuts or wraps, in a file or a pipe.
    pub(crate) width: Option<u16>,
    /// Whether there is colour.
    pub(crate) is_coloured: bool,
    /// Now, where the reader is.
    pub(crate) now: Zoned,
}

impl Screen {
    /// The screen behind stdout. `COLUMNS` goes before what the terminal says, as it does for
    /// systemd's tools.
    pub(crate) fn of_stdout(color: Color) -> Self {
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let of_terminal =
            || io::stdout().is_terminal().then(|| comfy_table::Table::new().width()).flatten();
        let is_coloured = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
            }
        };
        Self {
            width: columns.filter(|columns| *columns > 0).or_else(of_terminal),
            is_coloured,
            now: clock::now(),
        }
    }

    /// The text, bold where there is colour.
    pub(crate) fn bold(&self, text: &str) -> String {
        if self.is_coloured { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Writes an empty line and a heading.
    pub(crate) fn heading(&self, out: &mut dyn Write, text: &str) -> io::Result<()> {
        writeln!(out, "\n{}", self.bold(text))
    }
}

/// `1 agent`, `2 agents`.
pub(crate) fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// The colour of something that is well, on its way, or wrong.
pub(crate) mod ink {
    use super::Ink;
    use agentd_model::Severity;
    use agentd_protocol::control::{Health, PhaseName};

    pub(crate) fn phase(phase: PhaseName) -> Option<Ink> {
        match phase {
            PhaseName::Running => Some(Ink::Green),
            PhaseName::Failed => Some(Ink::Red),
            PhaseName::Idle => None,
            PhaseName::Waiting
            | PhaseName::Spawning
            | PhaseName::Starting
            | PhaseName::Stopping
            | PhaseName::Backoff => Some(Ink::Yellow),
        }
    }

    pub(crate) fn health(health: Health) -> Option<Ink> {
        match health {
            Health::Ok => Some(Ink::Green),
            Health::Degraded => Some(Ink::Yellow),
            Health::Stale => Some(Ink::Red),
            Health::Unknown => None,
        }
    }

    pub(crate) fn severity(severity: Severity) -> Option<Ink> {
        match severity {
            Severity::Info => None,
            Severity::Warning => Some(Ink::Yellow),
            Severity::Critical => Some(Ink::Red),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A screen at a fixed time, in a fixed zone.
    pub(crate) fn screen(width: Option<u16>) -> Screen {
        let now = "2026-11-20T09:30:00+01:00[Europe/Berlin]".parse().unwrap();
        Screen { width, is_coloured: false, now }
    }

    /// That time, `ago` milliseconds before.
    pub(crate) fn ms(ago: i64) -> i64 {
        screen(None).now.timestamp().as_millisecond() - ago
    }
}
