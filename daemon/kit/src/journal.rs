//! What was logged since the last look, read from the journal with `journalctl -o json`.
//!
//! A [`Reader`] remembers how far it has read by the journal's own cursor, so that nothing is counted
//! twice and nothing is missed between two looks. What must hold: whoever may log can log anything,
//! so a look takes a bounded number of entries of bounded size, and a journal that cannot be read, or
//! is not there at all, is an error, never silence.

use std::time::Duration;

use agentd_model::Mono;
use serde_json::{Map, Value};

use crate::clock::Now;
use crate::tool::{self, ToolError};

#[cfg(test)]
mod tests;

/// The program and the arguments that it always gets. journalctl adds times and cursor to the fields
/// by itself. A field that is longer than 4096 bytes comes as null (journalctl(1), "json").
const COMMAND: [&str; 4] = [
    "/usr/bin/journalctl",
    "--output=json",
    "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_UID,_EXE",
    "--no-pager",
];
/// Entries in one answer, and the most its text may have.
const MANY: usize = 500;
const CAP: usize = 2 * 1024 * 1024;
/// Entries in one answer when those before were too long. Each byte of a field takes at most four
/// (`255,`), so this many always fit: 32 * (3 * 4 * 4096 + 1024) bytes.
const FEW: usize = 32;

/// One entry of the journal. All of it may be what its writer liked, but `uid` and `exe`, which
/// journald finds out by itself (systemd.journal-fields(7), "Trusted journal fields").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The text; empty when it was too long.
    pub message: String,
    /// What the writer calls itself.
    pub identifier: String,
    /// The user the writer ran as.
    pub uid: Option<u32>,
    /// The program the writer was, where journald was quick enough to see it.
    pub exe: Option<String>,
    /// When it was logged, in milliseconds since the Unix epoch.
    pub wall_ms: i64,
}

impl Entry {
    /// The moment it was logged on the clock that does not jump, as seen at `now`.
    pub fn at(&self, now: Now) -> Mono {
        let age = u64::try_from(now.wall_ms.saturating_sub(self.wall_ms)).unwrap_or(0);
        now.boot - Duration::from_millis(age)
    }
}

/// The journal told nothing.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// journalctl could not be run to its end.
    #[error("cannot read the journal")]
    Tool(#[from] ToolError),
    /// journalctl refused.
    #[error("journalctl refused with status {status:?}: {stderr}")]
    Refused {
        /// Its exit status.
        status: Option<i32>,
        /// What it said.
        stderr: String,
    },
    /// There is no journal, or none that this process may read.
    #[error("there is no journal here, or not one entry in it that this process may read")]
    Empty,
    /// journalctl printed something else than entries.
    #[error("journalctl printed something that is not an entry: {line:?}")]
    NotAnEntry {
        /// The beginning of it.
        line: String,
    },
}

/// Reads on where it stopped.
#[derive(Debug)]
pub struct Reader {
    command: Vec<String>,
    cursor: Option<String>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { command: COMMAND.map(str::to_owned).to_vec(), cursor: None }
    }
}

/// What one look brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// They go back by the whole of `back`, whatever was read before: this is the first look, or the
    /// journal did not know any more where the last one ended. Forget what was counted.
    pub is_fresh: bool,
}

impl Reader {
    /// Entries in one look after which no more are asked for.
    pub const MAX: usize = 2000;

    /// The entries that were logged since the last look and that `select` picks (arguments of
    /// journalctl, such as `--facility=auth`). The first look goes back by `back`. Each call of
    /// journalctl may take `limit`.
    ///
    /// At most [`Reader::MAX`] entries; a later look brings the rest, but the first brings the newest.
    /// After an error, or when the future is dropped, the next look starts where this one did.
    pub async fn read(
        &mut self,
        select: &[&str],
        back: Duration,
        limit: Duration,
    ) -> Result<Look, JournalError> {
        let mut look = Look { entries: Vec::new(), is_fresh: self.cursor.is_none() };
        let mut cursor = match &self.cursor {
            Some(cursor) => cursor.clone(),
            None => {
                let end = self.end(limit).await?;
                let since = format!("--since=-{}s", back.as_secs());
                let ((entries, last), _) = self.ask(&since, select, limit).await?;
                look.entries.extend(entries);
                last.unwrap_or(end)
            }
        };
        while look.entries.len() < Self::MAX {
            let after = format!("--after-cursor={cursor}");
            let answer = self.ask(&after, select, limit).await;
            if let Err(JournalError::Refused { .. }) = answer {
                self.cursor = None;
            }
            let ((entries, last), is_full) = answer?;
            look.entries.extend(entries);
            cursor = last.unwrap_or(cursor);
            if !is_full {
                break;
            }
        }
        self.cursor = Some(cursor);
        Ok(look)
    }

    /// The cursor of the newest entry of all.
    async fn end(&self, limit: Duration) -> Result<String, JournalError> {
        let text = self.journalctl(&["--lines=1"], limit).await?;
        parse(&text)?.1.ok_or(JournalError::Empty)
    }

    /// The next entries, and whether there may be more.
    async fn ask(
        &self,
        from: &str,
        select: &[&str],
        limit: Duration,
    ) -> Result<(Parsed, bool), JournalError> {
        // Counted from the cursor where there is one, else from the end.
        for lines in [MANY, FEW] {
            let lines_arg = format!("--lines={lines}");
            let args: Vec<&str> =
                [from, lines_arg.as_str()].into_iter().chain(select.iter().copied()).collect();
            match self.journalctl(&args, limit).await {
                Ok(text) => {
                    let parsed = parse(&text)?;
                    let is_full = parsed.0.len() >= lines;
                    return Ok((parsed, is_full));
                }
                Err(JournalError::Tool(ToolError::TooMuch { .. })) if lines == MANY => {}
                Err(err) => return Err(err),
            }
        }
        Err(JournalError::Empty)
    }

    async fn journalctl(&self, args: &[&str], limit: Duration) -> Result<String, JournalError> {
        let mut line: Vec<&str> = self.command.iter().map(String::as_str).collect();
        line.extend(args);
        let output = tool::run(line[0], &line[1..], limit, CAP).await?;
        if output.is_success() {
            Ok(output.stdout)
        } else {
            Err(JournalError::Refused { status: output.status, stderr: output.stderr })
        }
    }
}

/// Entries and the cursor of the last one.
type Parsed = (Vec<Entry>, Option<String>);

fn parse(text: &str) -> Result<Parsed, JournalError> {
    let mut entries = Vec::new();
    let mut last = None;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (entry, cursor) = entry(line)
            .ok_or_else(|| JournalError::NotAnEntry { line: line.chars().take(80).collect() })?;
        entries.push(entry);
        last = Some(cursor);
    }
    Ok((entries, last))
}

/// One line of `journalctl -o json`.
fn entry(line: &str) -> Option<(Entry, String)> {
    let fields: Map<String, Value> = serde_json::from_str(line).ok()?;
    let field = |name: &str| fields.get(name).and_then(text);
    let micros: i64 = field("__REALTIME_TIMESTAMP")?.parse().ok()?;
    let entry = Entry {
        message: field("MESSAGE").unwrap_or_default(),
        identifier: field("SYSLOG_IDENTIFIER").unwrap_or_default(),
        uid: field("_UID").and_then(|uid| uid.parse().ok()),
        exe: field("_EXE"),
        wall_ms: micros / 1000,
    };
    Some((entry, field("__CURSOR")?))
}

/// A field as text. Bytes that are not printable text come as an array of numbers, a field that
/// was given several times as an array of values, one that was too long as null (journalctl(1)).
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => bytes(items).or_else(|| {
            items.iter().find_map(|item| match item {
                Value::String(text) => Some(text.clone()),
                Value::Array(items) => bytes(items),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
            })
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

fn bytes(items: &[Value]) -> Option<String> {
    let byte = |item: &Value| u8::try_from(item.as_u64()?).ok();
    let bytes: Vec<u8> = items.iter().map(byte).collect::<Option<_>>()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
