//! Rows to write and stores to write them to.

use std::path::Path;

use agentd_model::{AgentName, Severity};
use agentd_store::{EventRow, FindingRow, Opened, SampleRow, Store, Write};
use tempfile::TempDir;

pub(crate) fn name(text: &str) -> AgentName {
    text.parse().unwrap()
}

pub(crate) fn event(seq: u64) -> EventRow {
    EventRow {
        seq,
        time_ms: i64::try_from(seq).unwrap() * 1000,
        kind: "agent.phase".into(),
        agent: Some(name(if seq.is_multiple_of(2) { "network" } else { "system" })),
        message: format!("event {seq}"),
        fields: [("to".to_owned(), "running".to_owned())].into(),
    }
}

pub(crate) fn finding(
    key: &str,
    severity: Severity,
    opened_ms: i64,
    resolved_ms: Option<i64>,
) -> FindingRow {
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

pub(crate) fn sample(series: &str, values: &[f64], last_ms: i64) -> SampleRow {
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

pub(crate) fn begin() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let (store, opened) = Store::open(dir.path()).unwrap();
    assert!(opened.set_aside.is_empty() && !opened.was_unclean && opened.last_seq == 0);
    assert!(opened.metrics_failed.is_none());
    (dir, store)
}

pub(crate) fn reopen(dir: &Path) -> (Store, Opened) {
    let (store, opened) = Store::open(dir).unwrap();
    assert!(opened.metrics_failed.is_none(), "{opened:?}");
    (store, opened)
}

pub(crate) fn seqs(events: &[EventRow]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

pub(crate) fn events_of(seqs: impl IntoIterator<Item = u64>) -> Vec<Write> {
    seqs.into_iter().map(|seq| Write::Event(event(seq))).collect()
}
