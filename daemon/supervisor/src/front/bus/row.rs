//! What the manager's methods answer with: D-Bus structures, whose fields have an order and no
//! names, so each of them is written down here and in the method's documentation.

use std::collections::BTreeMap;

use agentd_protocol::control::{
    AgentView, EventView, FindingView, MetricInfo, MetricPoint, Problem,
};
use serde::Serialize;
use zbus::{OwnedObjectPath, Type};

use super::agent::pid;
use super::path_of;

#[derive(Debug, Serialize, Type)]
pub(super) struct AgentRow {
    name: String,
    want: String,
    phase: &'static str,
    health: &'static str,
    pid: u32,
    restarts: u64,
    findings: u32,
    path: OwnedObjectPath,
}

#[derive(Debug, Serialize, Type)]
pub(super) struct EventRow {
    seq: u64,
    time_ms: i64,
    kind: String,
    agent: String,
    message: String,
    fields: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Type)]
pub(super) struct FindingRow {
    agent: String,
    check: String,
    key: String,
    severity: &'static str,
    summary: String,
    evidence: BTreeMap<String, String>,
    opened_ms: i64,
    seen_ms: i64,
    resolved_ms: i64,
    stale: bool,
}

#[derive(Debug, Serialize, Type)]
pub(super) struct MetricRow {
    name: String,
    unit: String,
    last: f64,
    last_ms: i64,
}

#[derive(Debug, Serialize, Type)]
pub(super) struct PointRow {
    minute_ms: i64,
    count: u32,
    min: f64,
    mean: f64,
    max: f64,
}

#[derive(Debug, Serialize, Type)]
pub(super) struct ProblemRow {
    area: String,
    subject: String,
    message: String,
}

impl From<AgentView> for AgentRow {
    fn from(agent: AgentView) -> Self {
        Self {
            pid: pid(&agent),
            path: path_of(&agent.name),
            name: agent.name,
            want: agent.want,
            phase: agent.phase.as_str(),
            health: agent.health.as_str(),
            restarts: agent.restarts,
            findings: agent.findings,
        }
    }
}

impl From<EventView> for EventRow {
    fn from(event: EventView) -> Self {
        let EventView { seq, time_ms, kind, agent, message, fields } = event;
        Self { seq, time_ms, kind, agent: agent.unwrap_or_default(), message, fields }
    }
}

impl From<FindingView> for FindingRow {
    fn from(finding: FindingView) -> Self {
        Self {
            agent: finding.agent,
            check: finding.check,
            key: finding.key,
            severity: finding.severity.as_str(),
            summary: finding.summary,
            evidence: finding.evidence,
            opened_ms: finding.opened_ms,
            seen_ms: finding.seen_ms,
            resolved_ms: finding.resolved_ms.unwrap_or_default(),
            stale: finding.stale,
        }
    }
}

impl From<MetricInfo> for MetricRow {
    fn from(metric: MetricInfo) -> Self {
        let MetricInfo { name, unit, last, last_ms } = metric;
        Self { name, unit, last, last_ms }
    }
}

impl From<MetricPoint> for PointRow {
    fn from(point: MetricPoint) -> Self {
        let MetricPoint { minute_ms, count, min, mean, max } = point;
        Self { minute_ms, count, min, mean, max }
    }
}

impl From<&Problem> for ProblemRow {
    fn from(problem: &Problem) -> Self {
        let Problem { area, subject, message } = problem.clone();
        Self { area, subject, message }
    }
}
