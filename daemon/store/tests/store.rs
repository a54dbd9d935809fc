//! What the store promises, on real files.
#![allow(clippy::unwrap_used, reason = "test code, but not all #[test] to clippy")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentd_model::{AgentName, Severity};
use agentd_store::{
    ErrorKind, EventRow, FindingRow, Opened, PointRow, Pruned, Reader, Retention, SampleRow, Store,
    StoreError, Write,
};
use proptest::prelude::*;
use tempfile::TempDir;

const DAY_MS: i64 = 86_400_000;
const KEEP: Retention = Retention {
    events: Duration::from_secs(86_400),
    events_max: 1000,
    findings: Duration::from_secs(86_400),
    findings_max: 1000,
    metrics: Duration::from_secs(86_400),
    metrics_max: 1000,
};

fn name(text: &str) -> AgentName {
    text.parse().unwrap()
}

fn event(seq: u64) -> EventRow {
    EventRow {
        seq,
        time_ms: i64::try_from(seq).unwrap() * 1000,
        kind: "agent.phase".into(),
        agent: Some(name(if seq.is_multiple_of(2) { "network" } else { "system" })),
        message: format!("event {seq}"),
        fields: [("to".to_owned(), "running".to_owned())].into(),
    }
}

fn finding(key: &str, severity: Severity, opened_ms: i64, resolved_ms: Option<i64>) -> FindingRow {
    FindingRow {
        agent: name("storage"),
        check: "space".into(),
        key: key.into(),
        severity,
        summary: format!("{key} is full"),
        evidence: [("used_percent".to_owned(), "96".to_owned())].into(),
        opened_ms,
        seen_ms: opened_ms + 5,
        resolved_ms,
    }
}

fn sample(series: &str, values: &[f64], last_ms: i64) -> SampleRow {
    SampleRow {
        name: series.into(),
        unit: "%".into(),
        count: u32::try_from(values.len()).unwrap(),
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        sum: values.iter().sum(),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        last: values.last().copied().unwrap_or_default(),
        last_ms,
    }
}

fn begin() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let (store, opened) = Store::open(dir.path()).unwrap();
    assert!(opened.set_aside.is_empty() && !opened.was_unclean && opened.last_seq == 0);
    assert!(opened.metrics_failed.is_none());
    (dir, store)
}

fn reopen(dir: &Path) -> (Store, Opened) {
    let (store, opened) = Store::open(dir).unwrap();
    assert!(opened.metrics_failed.is_none(), "{opened:?}");
    (store, opened)
}

fn seqs(events: &[EventRow]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

fn events_of(seqs: impl IntoIterator<Item = u64>) -> Vec<Write> {
    seqs.into_iter().map(|seq| Write::Event(event(seq))).collect()
}

#[test]
fn what_was_written_is_there_after_a_clean_end() {
    let (dir, mut store) = begin();
    let agent = name("network");
    let open = finding("space:/var", Severity::Critical, 10, None);
    let writes = [
        Write::Event(event(1)),
        Write::Finding(open.clone()),
        Write::Enabled { agent: agent.clone(), enabled: true },
        Write::Enabled { agent: agent.clone(), enabled: false },
    ];
    store.write(&writes).unwrap();
    store.close().unwrap();
    let (store, opened) = reopen(dir.path());
    assert_eq!((opened.last_seq, opened.was_unclean), (1, false));
    assert_eq!(store.enabled().unwrap(), BTreeMap::from([(agent, false)]));
    assert_eq!(store.open_findings().unwrap(), [open]);
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.events(0, None, None, 10).unwrap(), [event(1)]);
}

#[test]
fn a_writer_that_was_cut_off_is_told_and_loses_nothing_it_was_promised() {
    let (dir, mut store) = begin();
    store.write(&events_of(1..=20)).unwrap();
    // Its files as they lie on the disk at this moment, as after a power cut: no close, no
    // checkpoint, a WAL that holds everything.
    let after = tempfile::tempdir().unwrap();
    for file in ["agentd.db", "agentd.db-wal", "metrics.db", "metrics.db-wal"] {
        fs::copy(dir.path().join(file), after.path().join(file)).unwrap();
    }
    assert!(fs::metadata(after.path().join("agentd.db-wal")).unwrap().len() > 0);
    let (_, opened) = reopen(after.path());
    assert_eq!((opened.last_seq, opened.was_unclean), (20, true));
    assert_eq!(opened.set_aside, Vec::<PathBuf>::new());
    drop(store);
    assert!(reopen(dir.path()).1.was_unclean);
}

#[test]
fn half_a_transaction_is_none() {
    let (dir, mut store) = begin();
    store.write(&events_of(1..=3)).unwrap();
    let before = fs::metadata(dir.path().join("agentd.db-wal")).unwrap().len();
    store.write(&events_of(4..=9)).unwrap();
    let after = tempfile::tempdir().unwrap();
    fs::copy(dir.path().join("agentd.db"), after.path().join("agentd.db")).unwrap();
    let wal = fs::read(dir.path().join("agentd.db-wal")).unwrap();
    // The power went while the second was being written: cut at every 512 bytes of it.
    let first = usize::try_from(before).unwrap();
    for end in (first..wal.len()).step_by(512) {
        fs::write(after.path().join("agentd.db-wal"), &wal[..end]).unwrap();
        let reader = Reader::open(after.path()).unwrap();
        let seen = seqs(&reader.events(0, None, None, 100).unwrap());
        assert_eq!(seen, [1, 2, 3], "cut at {end} of {}", wal.len());
        drop(reader);
        fs::remove_file(after.path().join("agentd.db-shm")).unwrap();
    }
}

#[test]
fn a_repeat_or_a_gap_is_refused_with_nothing_written() {
    let (dir, mut store) = begin();
    store.write(&events_of(1..=3)).unwrap();
    let finding = Write::Finding(finding("k", Severity::Info, 1, None));
    for (wrong, last) in [(vec![3], 3), (vec![1], 3), (vec![5], 3), (vec![0], 3), (vec![4, 6], 4)] {
        let mut writes = vec![finding.clone()];
        writes.extend(events_of(wrong.clone()));
        let error = store.write(&writes).unwrap_err();
        let found = *wrong.last().unwrap();
        assert_eq!(error.to_string(), format!("event {found} does not follow event {last}"));
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert_eq!(store.open_findings().unwrap(), []);
    }
    store.write(&events_of([4])).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(seqs(&reader.events(0, None, None, 10).unwrap()), [1, 2, 3, 4]);
}

#[test]
fn events_are_found_by_number_time_and_agent() {
    let (dir, mut store) = begin();
    store.write(&events_of(1..=10)).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let network = name("network");
    let find =
        |after, since, agent, limit| seqs(&reader.events(after, since, agent, limit).unwrap());
    assert_eq!(find(0, None, None, 3), [8, 9, 10]);
    assert_eq!(find(7, None, None, 100), [8, 9, 10]);
    assert_eq!(find(0, Some(9000), None, 100), [9, 10]);
    assert_eq!(find(0, None, Some(&network), 3), [6, 8, 10]);
    assert_eq!(find(8, Some(0), Some(&network), 3), [10]);
    assert_eq!(find(u64::MAX, None, None, 3), Vec::<u64>::new());
}

#[test]
fn findings_come_open_first_and_worst_first() {
    let (dir, mut store) = begin();
    let rows = [
        finding("old", Severity::Critical, 1, Some(50)),
        finding("warn", Severity::Warning, 2, None),
        finding("late", Severity::Critical, 9, None),
        finding("early", Severity::Critical, 3, None),
        finding("new", Severity::Info, 4, Some(60)),
    ];
    store.write(&rows.clone().map(Write::Finding)).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let keys = |all| {
        let found = reader.findings(None, all).unwrap();
        found.into_iter().map(|finding| finding.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(false), ["early", "late", "warn"]);
    assert_eq!(keys(true), ["early", "late", "warn", "new", "old"]);
    assert_eq!(reader.findings(Some(&name("network")), true).unwrap(), []);

    // The same one again is replaced; opened again later it is another.
    let again = finding("warn", Severity::Info, 2, Some(70));
    store.write(&[Write::Finding(again.clone())]).unwrap();
    store.write(&[Write::Finding(finding("warn", Severity::Info, 80, None))]).unwrap();
    assert_eq!(keys(true), ["early", "late", "warn", "warn", "new", "old"]);
    assert!(reader.findings(None, true).unwrap().contains(&again));
}

#[test]
fn readings_of_one_minute_are_merged() {
    let (dir, mut store) = begin();
    store
        .samples(60_000, &[sample("cpu", &[10.0, 30.0], 90_000), sample("memory", &[7.0], 1)])
        .unwrap();
    store.samples(60_000, &[sample("cpu", &[5.0], 80_000)]).unwrap();
    store.samples(120_000, &[sample("cpu", &[2.0], 130_000)]).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let points = reader.series("cpu", 0).unwrap().unwrap().points;
    let merged = PointRow { minute_ms: 60_000, count: 3, min: 5.0, sum: 45.0, max: 30.0 };
    let next = PointRow { minute_ms: 120_000, count: 1, min: 2.0, sum: 2.0, max: 2.0 };
    assert_eq!(points, [merged, next]);
    assert_eq!(reader.series("cpu", 60_001).unwrap().unwrap().points, [next]);
    assert_eq!(reader.series("disk", 0).unwrap(), None);
    let names = reader.metric_names().unwrap();
    let names: Vec<_> = names.iter().map(|m| (m.name.as_str(), m.last, m.last_ms)).collect();
    assert_eq!(names, [("cpu", 2.0, 130_000), ("memory", 7.0, 1)]);
}

#[test]
fn what_is_no_number_is_refused_with_nothing_written() {
    let (dir, mut store) = begin();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error =
            store.samples(0, &[sample("ok", &[1.0], 1), sample("bad", &[bad], 1)]).unwrap_err();
        assert!(matches!(&error, StoreError::NotANumber { series } if series == "bad"), "{error}");
    }
    assert_eq!(Reader::open(dir.path()).unwrap().metric_names().unwrap(), []);
}

/// Overwrites `length` bytes at `offset`.
fn damage(file: &Path, offset: u64, length: usize) {
    let mut file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&vec![0xa5; length]).unwrap();
}

#[test]
fn a_damaged_file_is_set_aside_and_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    // The header and the pages that opening reads are looked at always; all of it after an unclean
    // end. Page 3 is the root of the events.
    let places = [(0_usize, true), (4096 * 2, true), (4096 * 3, false)];
    for (round, (offset, clean)) in places.into_iter().enumerate() {
        let (mut store, _) = reopen(dir.path());
        store.write(&events_of(1..=500)).unwrap();
        store.close().unwrap();
        if !clean {
            drop(reopen(dir.path()));
        }
        let file = dir.path().join("agentd.db");
        damage(&file, offset as u64, 4096);
        let length = fs::read(&file).unwrap().len();

        let (mut store, opened) = reopen(dir.path());
        let aside = dir.path().join(format!("agentd.db.corrupt-{}", round + 1));
        assert_eq!(opened.set_aside, std::slice::from_ref(&aside));
        assert_eq!((opened.last_seq, opened.was_unclean), (0, true));
        let kept = fs::read(&aside).unwrap();
        assert_eq!(kept.len(), length, "kept whole");
        assert!(kept[offset..offset + 4096].iter().all(|byte| *byte == 0xa5), "and unmended");
        store.write(&events_of([1])).unwrap();
        store.close().unwrap();
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn damage_found_while_running_is_named_and_gone_after_opening_again() {
    let (dir, mut store) = begin();
    store.write(&events_of(1..=500)).unwrap();
    store.close().unwrap();
    let (mut store, _) = reopen(dir.path());
    // Page 4 is the root of an index of events: not looked at before the next one is written.
    damage(&dir.path().join("agentd.db"), 4096 * 3, 4096);
    let error = store.write(&events_of([501])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    drop(store);
    let (mut store, opened) = reopen(dir.path());
    assert_eq!(opened.set_aside, [dir.path().join("agentd.db.corrupt-1")]);
    store.write(&events_of([1])).unwrap();
}

#[test]
fn a_foreign_or_newer_file_is_refused_untouched() {
    for (pragma, text) in [
        ("application_id = 77", "is not a database of agentd (its application id is 0x4d)"),
        ("user_version = 99", "has schema 99, this agentd knows 1"),
    ] {
        let (dir, store) = begin();
        store.close().unwrap();
        let file = dir.path().join("agentd.db");
        let other = rusqlite::Connection::open(&file).unwrap();
        other.execute_batch(&format!("PRAGMA {pragma}")).unwrap();
        other.close().unwrap();
        let before = fs::read(&file).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.kind(), ErrorKind::Foreign);
        assert_eq!(fs::read(&file).unwrap(), before);
    }
    // A database of someone who never set an id is not ours either.
    let dir = tempfile::tempdir().unwrap();
    let other = rusqlite::Connection::open(dir.path().join("agentd.db")).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    other.close().unwrap();
    assert_eq!(Store::open(dir.path()).unwrap_err().kind(), ErrorKind::Foreign);
}

#[test]
fn metrics_that_cannot_be_opened_do_not_hold_up_the_state() {
    let (dir, store) = begin();
    store.close().unwrap();
    let file = dir.path().join("metrics.db");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let (mut store, opened) = Store::open(dir.path()).unwrap();
    assert!(opened.metrics_failed.is_some());
    assert!(store.samples(0, &[sample("cpu", &[1.0], 1)]).is_err());
    store.write(&events_of([1])).unwrap();
    fs::remove_dir(&file).unwrap();
    store.samples(0, &[sample("cpu", &[1.0], 1)]).unwrap();
    store.close().unwrap();
}

#[test]
fn a_reader_is_not_held_up_by_a_writer_and_cannot_write() {
    let (dir, mut store) = begin();
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let reader = Reader::open(dir.path()).unwrap();
            std::thread::spawn(move || {
                let mut last = 0;
                while last < 200 {
                    let seen = seqs(&reader.events(0, None, None, 1000).unwrap());
                    assert!(seen.iter().copied().eq(1..=seen.len() as u64), "{seen:?}");
                    assert!(
                        seen.len() as u64 >= last && seen.len().is_multiple_of(2),
                        "half a write"
                    );
                    last = seen.len() as u64;
                }
            })
        })
        .collect();
    for seq in (1..=200).step_by(2) {
        store.write(&events_of([seq, seq + 1])).unwrap();
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn a_reader_without_a_store_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = Reader::open(dir.path()).unwrap_err().to_string();
    assert_eq!(error, format!("cannot open {}", dir.path().join("agentd.db").display()));
}

#[test]
fn pruning_keeps_what_it_says() {
    let (dir, mut store) = begin();
    let now = 10 * DAY_MS;
    let at = |seq, time_ms| Write::Event(EventRow { time_ms, ..event(seq) });
    // The fourth was dated by a clock that was not set yet.
    let young = now - DAY_MS / 2;
    store.write(&[at(1, 0), at(2, 5), at(3, young), at(4, 0), at(5, young), at(6, now)]).unwrap();
    let findings = [
        finding("open", Severity::Info, 1, None),
        finding("long ago", Severity::Info, 1, Some(2)),
        finding("lately", Severity::Info, 1, Some(now - 1)),
    ];
    store.write(&findings.map(Write::Finding)).unwrap();
    store.samples(0, &[sample("gone", &[1.0], 1), sample("cpu", &[1.0], 1)]).unwrap();
    store.samples(now, &[sample("cpu", &[2.0], 2)]).unwrap();

    let pruned = store.prune(now, &KEEP).unwrap();
    assert_eq!(pruned, Pruned { events: 2, findings: 1, metrics: 2 });
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(seqs(&reader.events(0, None, None, 10).unwrap()), [3, 4, 5, 6]);
    let keys: Vec<_> = reader.findings(None, true).unwrap().into_iter().map(|f| f.key).collect();
    assert_eq!(keys, ["open", "lately"]);
    assert_eq!(reader.series("gone", 0).unwrap(), None);
    assert_eq!(reader.series("cpu", 0).unwrap().unwrap().points.len(), 1);
    assert_eq!(store.prune(now, &KEEP).unwrap(), Pruned::default());

    // However old everything is, the last number and what is open stay.
    let pruned = store.prune(now * 2, &KEEP).unwrap();
    assert_eq!(pruned, Pruned { events: 3, findings: 1, metrics: 1 });
    assert_eq!(seqs(&reader.events(0, None, None, 10).unwrap()), [6]);
    assert_eq!(reader.findings(None, true).unwrap().len(), 1);
    store.write(&events_of([7])).unwrap();
}

#[test]
fn pruning_keeps_to_the_number_of_rows() {
    let (dir, mut store) = begin();
    store.write(&events_of(1..=20)).unwrap();
    let resolved = |n: i64| Write::Finding(finding(&format!("k{n}"), Severity::Info, n, Some(n)));
    store.write(&(1..=20).map(resolved).collect::<Vec<_>>()).unwrap();
    for minute in 0..20 {
        store.samples(minute * 60_000, &[sample("a", &[1.0], 1), sample("b", &[1.0], 1)]).unwrap();
    }
    let keep = Retention { events_max: 5, findings_max: 6, metrics_max: 8, ..KEEP };
    let pruned = store.prune(0, &keep).unwrap();
    assert_eq!(pruned, Pruned { events: 15, findings: 14, metrics: 32 });
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(seqs(&reader.events(0, None, None, 99).unwrap()), [16, 17, 18, 19, 20]);
    assert_eq!(reader.findings(None, true).unwrap()[5].key, "k15");
    for series in ["a", "b"] {
        let points = reader.series(series, 0).unwrap().unwrap().points;
        assert_eq!(points[0].minute_ms, 16 * 60_000);
    }
}

/// Any text, NUL, quotes and other scripts included.
fn any_text() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter)
}

fn any_map() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(any_text(), any_text(), 0..4)
}

fn any_agent() -> impl Strategy<Value = AgentName> {
    prop::sample::select(vec![name("network"), name("storage"), name("a-1")])
}

prop_compose! {
    fn any_event()(
        time_ms in any::<i64>(), kind in any_text(), agent in prop::option::of(any_agent()),
        message in any_text(), fields in any_map(),
    ) -> EventRow {
        EventRow { seq: 0, time_ms, kind, agent, message, fields }
    }
}

prop_compose! {
    fn any_finding()(
        agent in any_agent(), check in any_text(), key in "[ab]", severity in 0..3_usize,
        summary in any_text(), evidence in any_map(), opened_ms in 0..3_i64,
        seen_ms in any::<i64>(), resolved_ms in prop::option::of(any::<i64>()),
    ) -> FindingRow {
        let severity = [Severity::Info, Severity::Warning, Severity::Critical][severity];
        FindingRow { agent, check, key, severity, summary, evidence, opened_ms, seen_ms, resolved_ms }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Against a model that keeps everything in memory, in batches of any size, across reopenings.
    #[test]
    fn what_was_written_is_read_back(
        batches in prop::collection::vec((
            prop::collection::vec(any_event(), 0..5),
            prop::collection::vec(any_finding(), 0..5),
            any::<bool>(),
        ), 1..5),
    ) {
        let (dir, mut store) = begin();
        let mut events: Vec<EventRow> = Vec::new();
        let mut findings = BTreeMap::new();
        for (new_events, new_findings, ends_cleanly) in batches {
            let mut writes = Vec::new();
            for mut event in new_events {
                event.seq = events.len() as u64 + 1;
                writes.push(Write::Event(event.clone()));
                events.push(event);
            }
            for row in new_findings {
                writes.push(Write::Finding(row.clone()));
                findings.insert((row.agent.clone(), row.key.clone(), row.opened_ms), row);
            }
            store.write(&writes).unwrap();
            if ends_cleanly { store.close().unwrap() } else { drop(store) }
            let opened;
            (store, opened) = reopen(dir.path());
            prop_assert_eq!(opened.last_seq, events.len() as u64);
            prop_assert_eq!(opened.was_unclean, !ends_cleanly);
        }
        let reader = Reader::open(dir.path()).unwrap();
        prop_assert_eq!(reader.events(0, None, None, u32::MAX).unwrap(), events);
        let read = reader.findings(None, true).unwrap().into_iter();
        let read: BTreeMap<_, _> =
            read.map(|row| ((row.agent.clone(), row.key.clone(), row.opened_ms), row)).collect();
        prop_assert_eq!(read, findings);
    }
}
