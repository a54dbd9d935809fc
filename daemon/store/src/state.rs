//! The state file: events, findings and what the operator enabled.

use std::collections::BTreeMap;

use agentd_model::{AgentName, Severity};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, Transaction, named_params};
use serde::de::DeserializeOwned;

use crate::file::{Failure, Schema};
use crate::{EventRow, FindingRow, Retention, StoreError};

pub(crate) const STATE: Schema = Schema {
    name: "agentd.db",
    application_id: 0x6167_656e, // "agen"
    synchronous: "FULL",
    migrations: &["
        CREATE TABLE event (
            seq     INTEGER PRIMARY KEY CHECK (seq > 0),
            time_ms INTEGER NOT NULL,
            kind    TEXT NOT NULL,
            agent   TEXT,
            message TEXT NOT NULL,
            fields  TEXT NOT NULL
        ) STRICT;
        CREATE INDEX event_agent ON event (agent, seq) WHERE agent IS NOT NULL;
        CREATE TABLE finding (
            agent       TEXT NOT NULL,
            key         TEXT NOT NULL,
            opened_ms   INTEGER NOT NULL,
            check_name  TEXT NOT NULL,
            severity    TEXT NOT NULL,
            summary     TEXT NOT NULL,
            evidence    TEXT NOT NULL,
            seen_ms     INTEGER NOT NULL,
            resolved_ms INTEGER,
            PRIMARY KEY (agent, key, opened_ms)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX finding_resolved ON finding (resolved_ms);
        CREATE TABLE agent (
            name    TEXT PRIMARY KEY,
            enabled INTEGER NOT NULL CHECK (enabled IN (0, 1))
        ) STRICT, WITHOUT ROWID;
    "],
};

/// The kind of the event that stands for lost ones.
pub const LOST: &str = "store.lost";

/// One change of the state file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Records an event.
    Event(EventRow),
    /// Records that the events up to `last` were lost, in their place: an event of kind
    /// [`LOST`] numbered `last`. Refused if one of them is recorded.
    Lost {
        /// The number of the last one lost.
        last: u64,
        /// When that was noticed.
        time_ms: i64,
    },
    /// Records a finding, in place of what was recorded for its agent, key and `opened_ms`.
    Finding(FindingRow),
    /// Records whether an agent is started with agentd.
    Enabled {
        /// Which agent.
        agent: AgentName,
        /// Whether.
        enabled: bool,
    },
}

pub(crate) fn write(tx: &Transaction<'_>, change: &Write) -> Result<(), Failure> {
    match change {
        Write::Event(event) => write_event(tx, event),
        Write::Lost { last, time_ms } => write_lost(tx, *last, *time_ms),
        Write::Finding(finding) => write_finding(tx, finding),
        Write::Enabled { agent, enabled } => {
            let sql = "INSERT INTO agent (name, enabled) VALUES (:name, :enabled) \
                       ON CONFLICT (name) DO UPDATE SET enabled = excluded.enabled";
            let values = named_params! { ":name": agent.as_str(), ":enabled": enabled };
            tx.prepare_cached(sql)?.execute(values)?;
            Ok(())
        }
    }
}

fn write_event(tx: &Transaction<'_>, event: &EventRow) -> Result<(), Failure> {
    let (last, found) = (last_seq(tx)?, event.seq);
    if found != last + 1 {
        return Err(Failure::Refused(StoreError::OutOfOrder { last, found }));
    }
    insert_event(tx, event)
}

fn write_lost(tx: &Transaction<'_>, found: u64, time_ms: i64) -> Result<(), Failure> {
    let last = last_seq(tx)?;
    if found <= last {
        return Err(Failure::Refused(StoreError::OutOfOrder { last, found }));
    }
    let first = last + 1;
    let event = EventRow {
        seq: found,
        time_ms,
        kind: LOST.to_owned(),
        agent: None,
        message: format!("events {first} to {found} could not be kept"),
        fields: [("first".to_owned(), first.to_string()), ("last".to_owned(), found.to_string())]
            .into(),
    };
    insert_event(tx, &event)
}

fn insert_event(tx: &Transaction<'_>, event: &EventRow) -> Result<(), Failure> {
    let sql = "INSERT INTO event (seq, time_ms, kind, agent, message, fields) \
               VALUES (:seq, :time_ms, :kind, :agent, :message, :fields)";
    tx.prepare_cached(sql)?.execute(named_params! {
        ":seq": number(event.seq)?,
        ":time_ms": event.time_ms,
        ":kind": event.kind,
        ":agent": event.agent.as_ref().map(AgentName::as_str),
        ":message": event.message,
        ":fields": to_json(&event.fields)?,
    })?;
    Ok(())
}

fn write_finding(tx: &Transaction<'_>, finding: &FindingRow) -> Result<(), Failure> {
    let sql = "INSERT INTO finding (agent, key, opened_ms, check_name, severity, summary, \
               evidence, seen_ms, resolved_ms) VALUES (:agent, :key, :opened_ms, :check, \
               :severity, :summary, :evidence, :seen_ms, :resolved_ms) \
               ON CONFLICT (agent, key, opened_ms) DO UPDATE SET \
               check_name = excluded.check_name, severity = excluded.severity, \
               summary = excluded.summary, evidence = excluded.evidence, \
               seen_ms = excluded.seen_ms, resolved_ms = excluded.resolved_ms";
    tx.prepare_cached(sql)?.execute(named_params! {
        ":agent": finding.agent.as_str(),
        ":key": finding.key,
        ":opened_ms": finding.opened_ms,
        ":check": finding.check,
        ":severity": finding.severity.as_str(),
        ":summary": finding.summary,
        ":evidence": to_json(&finding.evidence)?,
        ":seen_ms": finding.seen_ms,
        ":resolved_ms": finding.resolved_ms,
    })?;
    Ok(())
}

/// The number of the last event. Pruning keeps that one, so that it is never lost.
pub(crate) fn last_seq(db: &Connection) -> rusqlite::Result<u64> {
    let mut statement = db.prepare_cached("SELECT coalesce(max(seq), 0) FROM event")?;
    statement.query_row([], |row| unsigned(row, 0))
}

pub(crate) fn enabled(db: &Connection) -> rusqlite::Result<BTreeMap<AgentName, bool>> {
    let mut statement = db.prepare_cached("SELECT name, enabled FROM agent")?;
    let rows = statement.query_map([], |row| Ok((agent(row, 0)?, row.get(1)?)))?;
    rows.collect()
}

/// Which of the events that fit, when there are more than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Newest,
    Oldest,
}

/// The newest or oldest `limit` of the events above `after_seq`, oldest first.
pub(crate) fn events(
    db: &Connection,
    after_seq: u64,
    since_ms: Option<i64>,
    about: Option<&AgentName>,
    (side, limit): (Which, u32),
) -> rusqlite::Result<Vec<EventRow>> {
    let order = match side {
        Which::Newest => "DESC",
        Which::Oldest => "ASC",
    };
    // The two forms, and no `OR`, so that each walks one index and stops at the limit.
    let which = if about.is_some() { "agent = :agent" } else { ":agent IS NULL" };
    let sql = format!(
        "SELECT {EVENT} FROM event WHERE {which} AND seq > :after AND time_ms >= :since \
         ORDER BY seq {order} LIMIT :limit"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let values = named_params! {
        ":agent": about.map(AgentName::as_str),
        ":after": i64::try_from(after_seq).unwrap_or(i64::MAX),
        ":since": since_ms.unwrap_or(i64::MIN),
        ":limit": limit,
    };
    let mut events: Vec<EventRow> =
        statement.query_map(values, event_of)?.collect::<rusqlite::Result<_>>()?;
    if side == Which::Newest {
        events.reverse();
    }
    Ok(events)
}

/// Open findings, worst first and then oldest first.
pub(crate) fn open_findings(
    db: &Connection,
    about: Option<&AgentName>,
) -> rusqlite::Result<Vec<FindingRow>> {
    let sql = format!(
        "SELECT {FINDING} FROM finding \
         WHERE resolved_ms IS NULL AND agent = coalesce(:agent, agent)"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map([about.map(AgentName::as_str)], finding_of)?;
    let mut findings: Vec<FindingRow> = rows.collect::<rusqlite::Result<_>>()?;
    findings.sort_by(|a, b| {
        let rank = b.severity.cmp(&a.severity);
        rank.then(a.opened_ms.cmp(&b.opened_ms)).then_with(|| a.key.cmp(&b.key))
    });
    Ok(findings)
}

/// The last `limit` resolved findings, newest first.
pub(crate) fn resolved_findings(
    db: &Connection,
    about: Option<&AgentName>,
    limit: u32,
) -> rusqlite::Result<Vec<FindingRow>> {
    let sql = format!(
        "SELECT {FINDING} FROM finding WHERE resolved_ms IS NOT NULL \
         AND agent = coalesce(:agent, agent) ORDER BY resolved_ms DESC, key LIMIT :limit"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let values = named_params! { ":agent": about.map(AgentName::as_str), ":limit": limit };
    let rows = statement.query_map(values, finding_of)?;
    rows.collect()
}

/// Removes old events and findings. How many of each.
pub(crate) fn prune(
    tx: &Transaction<'_>,
    now_ms: i64,
    keep: &Retention,
) -> Result<(u64, u64), Failure> {
    let before = |age: std::time::Duration| {
        now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    };
    let most = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
    // From the beginning up to the first that is young enough, and never the last one: so pruning
    // makes no gap, and an event that a wrong clock dated 1970 is not lost before its time.
    let sql = "DELETE FROM event WHERE seq < (SELECT max(seq) FROM event) AND (\
               seq < coalesce((SELECT min(seq) FROM event WHERE time_ms >= ?1), 1 << 62) \
               OR seq <= (SELECT max(seq) FROM event) - ?2)";
    let events = tx.execute(sql, (before(keep.events), most(keep.events_max)))?;
    let sql = "DELETE FROM finding WHERE resolved_ms < ?1";
    let old = tx.execute(sql, [before(keep.findings)])?;
    let sql = "DELETE FROM finding WHERE (agent, key, opened_ms) IN (SELECT agent, key, opened_ms \
               FROM finding WHERE resolved_ms IS NOT NULL \
               ORDER BY resolved_ms DESC LIMIT -1 OFFSET ?1)";
    let many = tx.execute(sql, [most(keep.findings_max)])?;
    Ok((events as u64, (old + many) as u64))
}

/// The columns that [`event_of`] reads, in its order.
const EVENT: &str = "seq, time_ms, kind, agent, message, fields";

fn event_of(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        seq: unsigned(row, 0)?,
        time_ms: row.get(1)?,
        kind: row.get(2)?,
        agent: row.get::<_, Option<String>>(3)?.map(|name| parse_agent(name, 3)).transpose()?,
        message: row.get(4)?,
        fields: from_json(row, 5)?,
    })
}

/// The columns that [`finding_of`] reads, in its order.
const FINDING: &str = "agent, key, opened_ms, check_name, severity, summary, evidence, seen_ms, \
                       resolved_ms";

fn finding_of(row: &Row<'_>) -> rusqlite::Result<FindingRow> {
    Ok(FindingRow {
        agent: agent(row, 0)?,
        key: row.get(1)?,
        opened_ms: row.get(2)?,
        check: row.get(3)?,
        severity: severity(row, 4)?,
        summary: row.get(5)?,
        evidence: from_json(row, 6)?,
        seen_ms: row.get(7)?,
        resolved_ms: row.get(8)?,
    })
}

fn bad(
    column: usize,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

fn agent(row: &Row<'_>, column: usize) -> rusqlite::Result<AgentName> {
    parse_agent(row.get(column)?, column)
}

fn parse_agent(name: String, column: usize) -> rusqlite::Result<AgentName> {
    name.parse().map_err(|error: agentd_model::NameError| bad(column, error))
}

fn severity(row: &Row<'_>, column: usize) -> rusqlite::Result<Severity> {
    let word: String = row.get(column)?;
    let all = [Severity::Info, Severity::Warning, Severity::Critical];
    let known = all.into_iter().find(|severity| severity.as_str() == word);
    known.ok_or_else(|| bad(column, format!("{word:?} is not a severity")))
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str().map_err(|error| bad(column, error))?;
    serde_json::from_str(text).map_err(|error| bad(column, error))
}

fn to_json(map: &BTreeMap<String, String>) -> rusqlite::Result<String> {
    serde_json::to_string(map).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

fn number(value: u64) -> rusqlite::Result<i64> {
    i64::try_from(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}
