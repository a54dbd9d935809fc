//! What is written, found again and pruned.

use std::collections::BTreeMap;
use std::time::Duration;

use agentd_model::Severity;
use agentd_store::{ErrorKind, EventRow, PointRow, Pruned, Reader, Retention, StoreError, Write};

use crate::bed::{begin, event, events_of, finding, name, reopen, sample, seqs};

const DAY_MS: i64 = 86_400_000;
const KEEP: Retention = Retention {
    events: Duration::from_secs(86_400),
    events_max: 1000,
    findings: Duration::from_secs(86_400),
    findings_max: 1000,
    metrics: Duration::from_secs(86_400),
    metrics_max: 1000,
};

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
fn lost_events_leave_one_in_their_place() {
    let (dir, mut store) = begin();
    store.write(&events_of(1..=3)).unwrap();
    for last in [0, 3] {
        let error = store.write(&[Write::Lost { last, time_ms: 5 }]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{last}");
    }
    let lost = Write::Lost { last: 7, time_ms: 5 };
    store.write(&[lost, Write::Event(event(8))]).unwrap();
    let events = Reader::open(dir.path()).unwrap().events(3, None, None, 10).unwrap();
    assert_eq!(seqs(&events), [7, 8]);
    assert_eq!((events[0].kind.as_str(), events[0].time_ms), (agentd_store::LOST, 5));
    assert_eq!(events[0].message, "events 4 to 7 could not be kept");
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
    // Late: neither the least nor the newest.
    store.samples(120_000, &[sample("cpu", &[3.0], 125_000)]).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let points = reader.series("cpu", 0).unwrap().unwrap().points;
    let merged = PointRow { minute_ms: 60_000, count: 3, min: 5.0, sum: 45.0, max: 30.0 };
    let next = PointRow { minute_ms: 120_000, count: 2, min: 2.0, sum: 5.0, max: 3.0 };
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
