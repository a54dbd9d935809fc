//! Events: every thing that happened gets a number here, and goes to the journal, to whoever
//! follows, into memory and into the store, in that order of certainty.
//!
//! A line in the journal begins with a constant sentence and goes on with the event's own words, so
//! that `journalctl -t agentd` can be read; programs go by the fields.
//!
//! Owned by the one task that owns the agents. A store that fails or lags costs nothing but
//! history: numbers go on, memory keeps the newest [`KEPT`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentd_model::AgentName;
use agentd_protocol::control::{EventQuery, EventView, kind};
use agentd_store::{EventRow, Write};
use tokio::sync::broadcast;

use crate::archive::Archive;
use crate::clock;

/// Events kept in memory: what is shown while the store cannot be read.
pub const KEPT: usize = 1000;
/// Events a follower may lag behind before it loses some, which it is told.
const LAG: usize = 4096;
/// systemd.journal-fields(7) `MESSAGE_ID`: one for phase changes, fixed for ever.
const PHASE_MESSAGE_ID: &str = "5f1d0b6c7c5e4f0e9b1f6a0d2c8e4b71";

/// An event about to be recorded.
#[derive(Debug)]
pub struct Draft {
    kind: &'static str,
    agent: Option<AgentName>,
    message: String,
    fields: BTreeMap<String, String>,
}

impl Draft {
    /// An event of one of the kinds of `agentd_protocol::control::kind`.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, agent: None, message: message.into(), fields: BTreeMap::new() }
    }

    /// About this agent.
    #[must_use]
    pub fn about(mut self, agent: &AgentName) -> Self {
        self.agent = Some(agent.clone());
        self
    }

    /// With this value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.fields.insert(name.to_owned(), value.to_string());
        self
    }

    /// With this value, if there is one.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

/// What readers share with the recorder.
#[derive(Clone, Debug)]
pub struct Events {
    kept: Arc<Mutex<VecDeque<Arc<EventView>>>>,
    live: broadcast::Sender<Arc<EventView>>,
}

impl Events {
    /// Everything from now on.
    pub fn follow(&self) -> broadcast::Receiver<Arc<EventView>> {
        self.live.subscribe()
    }

    /// What memory holds of the answer to `query`, oldest first.
    pub fn recent(&self, query: &EventQuery) -> Vec<EventView> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = usize::try_from(query.limit.unwrap_or(100)).unwrap_or(KEPT);
        let fitting = kept.iter().filter(|event| matches(query, event));
        let mut newest: Vec<EventView> =
            fitting.rev().take(limit).map(|event| (**event).clone()).collect();
        newest.reverse();
        newest
    }

    /// Everything that memory holds above `last` and `query` asks for, oldest first; and the newest
    /// number that was looked at for it.
    pub fn onward(&self, query: &EventQuery, last: u64) -> (Vec<EventView>, u64) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = kept.iter().filter(|event| event.seq > last && matches(query, event));
        let newest = kept.back().map_or(last, |event| event.seq.max(last));
        (fitting.map(|event| EventView::clone(event)).collect(), newest)
    }

    /// The lowest number that memory still holds.
    pub fn oldest(&self) -> Option<u64> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).front().map(|event| event.seq)
    }
}

/// Whether `query` asks for `event`.
pub fn matches(query: &EventQuery, event: &EventView) -> bool {
    query.after_seq.is_none_or(|after| event.seq > after)
        && query.since_ms.is_none_or(|since| event.time_ms >= since)
        && query.agent.as_ref().is_none_or(|agent| event.agent.as_ref() == Some(agent))
}

/// Numbers and spreads events.
#[derive(Debug)]
pub struct Recorder {
    seq: u64,
    events: Events,
    archive: Archive,
}

impl Recorder {
    /// Goes on after `last_seq`.
    pub fn new(last_seq: u64, archive: Archive) -> Self {
        let events = Events {
            kept: Arc::new(Mutex::new(VecDeque::with_capacity(KEPT))),
            live: broadcast::channel(LAG).0,
        };
        Self { seq: last_seq, events, archive }
    }

    /// What readers need.
    pub fn events(&self) -> Events {
        self.events.clone()
    }

    /// Where rows go.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Waits until everything is written and the store is closed, for at most `limit`.
    pub fn close(self, limit: Duration) {
        self.archive.close(limit);
    }

    /// Number of the last event.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Records `draft` and whatever row belongs to it, in one transaction. Answers its number.
    pub fn record(&mut self, draft: Draft, mut rows: Vec<Write>) -> u64 {
        self.seq += 1;
        let event = EventView {
            seq: self.seq,
            time_ms: clock::wall_ms(),
            kind: draft.kind.to_owned(),
            agent: draft.agent.as_ref().map(ToString::to_string),
            message: draft.message,
            fields: draft.fields,
        };
        log(&event);
        rows.insert(0, Write::Event(row(&event, draft.agent)));
        // What is lost is told in its place by the store: numbers are missing then.
        let _: bool = self.archive.write(rows);
        let event = Arc::new(event);
        {
            let mut kept = self.events.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(Arc::clone(&event));
        }
        // No receiver is the usual case and no error.
        drop(self.events.live.send(event));
        self.seq
    }
}

/// An event as the store keeps it.
fn row(event: &EventView, agent: Option<AgentName>) -> EventRow {
    EventRow {
        seq: event.seq,
        time_ms: event.time_ms,
        kind: event.kind.clone(),
        agent,
        message: event.message.clone(),
        fields: event.fields.clone(),
    }
}

/// A stored event as it goes over the wire.
pub fn view(row: EventRow) -> EventView {
    EventView {
        seq: row.seq,
        time_ms: row.time_ms,
        kind: row.kind,
        agent: row.agent.map(String::from),
        message: row.message,
        fields: row.fields,
    }
}

fn log(event: &EventView) {
    let agent = event.agent.as_deref();
    let name = agent.unwrap_or("agentd");
    // What is not there is not logged: an empty field would read as a value.
    let field = |name: &str| event.fields.get(name).map(String::as_str);
    let EventView { seq, kind: what, message, .. } = event;
    match what.as_str() {
        kind::PHASE => tracing::info!(
            agent,
            seq,
            from = field("from"),
            to = field("to"),
            pid = field("pid"),
            exit = field("exit"),
            cause = field("cause"),
            failures = field("failures"),
            message_id = PHASE_MESSAGE_ID,
            "agent changed phase: {name} {message}"
        ),
        kind::REQUEST => tracing::info!(
            agent,
            seq,
            request = field("verb"),
            caller_uid = field("caller_uid"),
            front = field("front"),
            disposition = field("disposition"),
            "request decided: {name} {message}"
        ),
        kind::FINDING_OPENED | kind::FINDING_CHANGED | kind::FINDING_RESOLVED => tracing::info!(
            agent,
            seq,
            kind = what,
            key = field("key"),
            severity = field("severity"),
            "finding changed: {name} {message}"
        ),
        kind::CONFIG_REFUSED | kind::STORE_FAILED => {
            tracing::error!(seq, kind = what, "operation of agentd failed: {message}");
        }
        kind::CHANNEL => tracing::warn!(agent, seq, "agent broke its channel: {name} {message}"),
        _ => tracing::info!(agent, seq, kind = what, "event recorded: {name} {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder() -> Recorder {
        Recorder::new(41, Archive::none())
    }

    #[test]
    fn numbers_rise_by_one_from_where_the_store_ended() {
        let mut recorder = recorder();
        assert_eq!(recorder.record(Draft::new(kind::AGENTD, "a"), vec![]), 42);
        assert_eq!(recorder.record(Draft::new(kind::AGENTD, "b"), vec![]), 43);
    }

    #[test]
    fn memory_keeps_the_newest_and_answers_oldest_first() {
        let mut recorder = recorder();
        let name: AgentName = "net".parse().unwrap();
        for n in 0..KEPT + 5 {
            let draft = Draft::new(kind::AGENTD, n.to_string());
            recorder.record(if n % 2 == 0 { draft.about(&name) } else { draft }, vec![]);
        }
        let events = recorder.events();
        assert_eq!(events.oldest(), Some(47));
        let of_net = EventQuery { agent: Some("net".into()), limit: Some(2), ..Default::default() };
        let seqs: Vec<u64> = events.recent(&of_net).iter().map(|event| event.seq).collect();
        assert_eq!(seqs, [1044, 1046]);
        let after = EventQuery { after_seq: Some(1045), ..Default::default() };
        assert_eq!(events.recent(&after).len(), 1);
    }

    #[test]
    fn a_follower_sees_what_comes_after_it_came() {
        let mut recorder = recorder();
        recorder.record(Draft::new(kind::AGENTD, "before"), vec![]);
        let mut follower = recorder.events().follow();
        recorder.record(Draft::new(kind::AGENTD, "after"), vec![]);
        assert_eq!(follower.try_recv().unwrap().message, "after");
        assert!(follower.try_recv().is_err());
    }
}
