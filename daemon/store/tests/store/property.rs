//! Whatever was written is read back.

use std::collections::BTreeMap;

use agentd_model::{AgentName, Severity};
use agentd_store::{EventRow, FindingRow, Reader, Write};
use proptest::prelude::*;

use crate::bed::{begin, name, reopen};

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
