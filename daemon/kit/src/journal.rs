//! What was logged since the last look, read from the journal with `journalctl -o json`.
//!
//! A [`Reader`] remembers how far it has read by the journal's own cursor, so that nothing is counted
//! twice and nothing is missed between two looks. What must hold: whoever may log can log anything,
//! so a look takes a bounded number of entries of bounded size, and a journal that cannot be read, or
//! is not there at all, is an error, never silence.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Now;
use crate::tool::{self, ToolError};
use agentd_model::Mono;

/// The program and the arguments that it always gets. journalctl adds times and cursor to the fields
/// by itself. A field that is longer than 4096 bytes comes as null (journalctl(1), "json").
const COMMAND: [&str; 5] = [
    "/usr/bin/journalctl",
    "--output=json",
    "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_UID,_EXE",
    "--quiet",
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    const BACK: Duration = Duration::from_secs(300);

    /// From an appliance: a text, and one that is not printable.
    const SU: &str = r#"{"MESSAGE":"pam_unix(su:auth): authentication failure; logname= uid=65534 euid=0 tty= ruser=nobody rhost=  user=root","__MONOTONIC_TIMESTAMP":"23418288","__CURSOR":"s=4f15;i=20e","SYSLOG_FACILITY":"10","_EXE":"/usr/bin/su","__SEQNUM":"526","_UID":"65534","__REALTIME_TIMESTAMP":"1795164128344810","SYSLOG_IDENTIFIER":"su"}"#;
    const BYTES: &str = r#"{"__CURSOR":"s=4f15;i=20d","__REALTIME_TIMESTAMP":"1795164128223194","_UID":"0","SYSLOG_IDENTIFIER":"root","MESSAGE":[120,27,91,49,109,121,9,122]}"#;

    fn line(at: usize) -> String {
        format!(r#"{{"MESSAGE":"m{at}","__CURSOR":"c{at}","__REALTIME_TIMESTAMP":"{at}000"}}"#)
    }

    /// A journalctl that answers call after call with the files `1`, `2`, …, writes its arguments to
    /// `args`, and fails where there is no file.
    fn reader(dir: &Path, answers: &[String]) -> Reader {
        for (at, answer) in answers.iter().enumerate() {
            fs::write(dir.join((at + 1).to_string()), answer).unwrap();
        }
        let program = dir.join("journalctl");
        let script = format!(
            "cd {} || exit 9\necho \"$*\" >> args\nread -r n < count\necho $((n + 1)) > count\n\
             exec cat $((n + 1))\n",
            dir.display()
        );
        fs::write(dir.join("count"), "0\n").unwrap();
        fs::write(&program, script).unwrap();
        // Read by a shell and not run by itself: a program that a thread of another test is just
        // inheriting open for writing cannot be run (execve(2), ETXTBSY).
        let command = vec!["/bin/sh".to_owned(), program.to_string_lossy().into_owned()];
        Reader { command, cursor: None }
    }

    fn calls(dir: &Path) -> Vec<String> {
        let args = fs::read_to_string(dir.join("args")).unwrap();
        args.lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_entry_is_read_whatever_form_its_fields_have() {
        let (su, cursor) = entry(SU).unwrap();
        assert_eq!(cursor, "s=4f15;i=20e");
        assert!(su.message.starts_with("pam_unix(su:auth)"));
        assert_eq!((su.identifier.as_str(), su.uid), ("su", Some(65534)));
        assert_eq!((su.exe.as_deref(), su.wall_ms), (Some("/usr/bin/su"), 1_795_164_128_344));
        assert_eq!(entry(BYTES).unwrap().0.message, "x\u{1b}[1my\tz");
        for (json, expected) in [
            (r#"["first","second"]"#, Some("first")),
            (r#"[null,[104,105]]"#, Some("hi")),
            ("null", None),
            ("[]", Some("")),
            ("[[[1]]]", None),
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            assert_eq!(text(&value).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn the_age_of_an_entry_never_lies_ahead() {
        let now = Now { boot: Mono(Duration::from_secs(100)), wall_ms: 50_000 };
        let at = |wall_ms| Entry { wall_ms, ..Entry::default() }.at(now);
        assert_eq!(at(40_000), Mono(Duration::from_secs(90)));
        assert_eq!(at(60_000), now.boot);
        assert_eq!(at(i64::MIN), Mono::default());
    }

    #[tokio::test]
    async fn a_look_goes_on_where_the_last_one_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let answers = [line(9), line(3), String::new(), String::new(), line(10), String::new()];
        let mut reader = reader(dir.path(), &answers);
        let mut look = async || reader.read(&["--facility=auth"], BACK, LIMIT).await.unwrap();
        let first = look().await;
        assert_eq!((first.entries[0].message.as_str(), first.entries.len()), ("m3", 1));
        assert!(first.is_fresh);
        assert_eq!(look().await, Look::default());
        assert_eq!(look().await.entries[0].message, "m10");
        assert_eq!(
            calls(dir.path()),
            [
                "--lines=1",
                "--since=-300s --lines=500 --facility=auth",
                "--after-cursor=c3 --lines=500 --facility=auth",
                "--after-cursor=c3 --lines=500 --facility=auth",
                "--after-cursor=c3 --lines=500 --facility=auth",
            ]
        );
    }

    #[tokio::test]
    async fn where_nothing_was_picked_the_next_look_starts_at_the_end_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let mut reader = reader(dir.path(), &[line(9), String::new(), String::new()]);
        assert!(reader.read(&[], BACK, LIMIT).await.unwrap().entries.is_empty());
        assert!(calls(dir.path())[2].starts_with("--after-cursor=c9 "));
    }

    #[tokio::test]
    async fn a_machine_without_a_journal_is_an_error_and_not_silence() {
        let dir = tempfile::tempdir().unwrap();
        let err = reader(dir.path(), &[String::new()]).read(&[], BACK, LIMIT).await.unwrap_err();
        assert!(matches!(err, JournalError::Empty), "{err}");
    }

    #[tokio::test]
    async fn after_a_refusal_the_next_look_starts_anew_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut reader = reader(dir.path(), &[line(1), line(1), String::new()]);
        reader.read(&[], BACK, LIMIT).await.unwrap();
        let err = reader.read(&[], BACK, LIMIT).await.unwrap_err();
        assert!(
            matches!(&err, JournalError::Refused { stderr, .. } if stderr.contains('4')),
            "{err}"
        );
        for (name, answer) in [("5", line(7)), ("6", line(7)), ("7", String::new())] {
            fs::write(dir.path().join(name), answer).unwrap();
        }
        assert!(reader.read(&[], BACK, LIMIT).await.unwrap().is_fresh);
        assert_eq!(calls(dir.path())[4], "--lines=1");
    }

    #[tokio::test]
    async fn after_a_failure_the_next_look_starts_where_the_failed_one_did() {
        let dir = tempfile::tempdir().unwrap();
        let answers = [line(1), line(1), String::new(), "rubbish".to_owned(), line(2)];
        let mut reader = reader(dir.path(), &answers);
        reader.read(&[], BACK, LIMIT).await.unwrap();
        let err = reader.read(&[], BACK, LIMIT).await.unwrap_err();
        assert!(matches!(err, JournalError::NotAnEntry { .. }), "{err}");
        let look = reader.read(&[], BACK, LIMIT).await.unwrap();
        assert!(!look.is_fresh && look.entries[0].message == "m2");
        assert_eq!(calls(dir.path())[3], calls(dir.path())[4]);
    }

    #[tokio::test]
    async fn a_flood_is_read_in_bounded_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let full = |from: usize| (from..from + MANY).map(|n| line(n) + "\n").collect::<String>();
        let too_long = "x".repeat(CAP + 1);
        let answers = [
            line(0),
            String::new(),
            full(1),
            too_long,
            (501..501 + FEW).map(|n| line(n) + "\n").collect(),
            full(600),
            full(1200),
            full(1800),
        ];
        let mut reader = reader(dir.path(), &answers);
        let found = reader.read(&[], BACK, LIMIT).await.unwrap();
        assert_eq!(found.entries.len(), 4 * MANY + FEW);
        let calls = calls(dir.path());
        assert!(calls[4].ends_with("--after-cursor=c500 --lines=32"), "{}", calls[4]);
        assert_eq!(calls.len(), answers.len(), "the rest is for the next look");
        assert_eq!(reader.cursor.as_deref(), Some("c2299"));
    }

    proptest! {
        #[test]
        fn any_output_is_entries_or_an_error_and_never_a_panic(text in ".{0,200}|\\PC{0,40}") {
            let _either = parse(&text);
        }

        #[test]
        fn any_json_in_a_field_is_text_or_nothing(
            message in prop::collection::vec(prop_oneof![
                any::<u16>().prop_map(Value::from),
                Just(Value::Null),
                ".{0,9}".prop_map(Value::from),
                prop::collection::vec(any::<u8>(), 0..4).prop_map(Value::from),
            ], 0..8),
        ) {
            text(&Value::from(message));
        }
    }
}
