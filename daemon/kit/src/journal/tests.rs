//! The reader against recorded lines and a journalctl that answers from files.

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
    assert!(matches!(&err, JournalError::Refused { stderr, .. } if stderr.contains('4')), "{err}");
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
