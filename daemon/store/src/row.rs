//! Rows, as callers see them.

use std::collections::BTreeMap;

use agentd_model::{AgentName, Severity};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// One more than the event before; the first is 1.
    pub seq: u64,
    /// When, in milliseconds since the epoch.
    pub time_ms: i64,
    /// What kind.
    pub kind: String,
    /// About which agent, where it is about one.
    pub agent: Option<AgentName>,
    /// One sentence for a person.
    pub message: String,
    /// The same as values.
    pub fields: BTreeMap<String, String>,
}

/// One finding, open or resolved. Known by agent, key and when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingRow {
    /// Whose.
    pub agent: AgentName,
    /// Of which check.
    pub check: String,
    /// Its stable key.
    pub key: String,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence.
    pub summary: String,
    /// What was measured.
    pub evidence: BTreeMap<String, String>,
    /// When it was opened.
    pub opened_ms: i64,
    /// When it was last confirmed.
    pub seen_ms: i64,
    /// When it was resolved; absent while it is open.
    pub resolved_ms: Option<i64>,
}

/// What one series gathered in one minute, or in a part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRow {
    /// Which series.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Readings.
    pub count: u32,
    /// Least.
    pub min: f64,
    /// Their sum.
    pub sum: f64,
    /// Greatest.
    pub max: f64,
    /// Newest.
    pub last: f64,
    /// When that was.
    pub last_ms: i64,
}

/// One kept series.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricName {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Newest reading.
    pub last: f64,
    /// When that was.
    pub last_ms: i64,
}

/// One minute of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointRow {
    /// Start of the minute.
    pub minute_ms: i64,
    /// Readings in it.
    pub count: u32,
    /// Least.
    pub min: f64,
    /// Their sum; the mean is `sum / count`.
    pub sum: f64,
    /// Greatest.
    pub max: f64,
}

/// The points of one series, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its unit.
    pub unit: String,
    /// A point for each minute that has readings.
    pub points: Vec<PointRow>,
}
