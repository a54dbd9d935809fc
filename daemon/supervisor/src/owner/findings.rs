//! The open findings of all agents. A report states everything one check finds; the difference to
//! what stood there before is what happened.

use std::collections::BTreeMap;
use std::sync::Arc;

use agentd_model::{AgentName, Finding};
use agentd_protocol::control::FindingView;
use agentd_store::FindingRow;

/// Most open findings of one agent. Further ones are not taken, and the agent is `degraded`.
pub(super) const MAX_OPEN: usize = 512;

/// One finding that is open.
#[derive(Clone, Debug)]
struct Open {
    check: String,
    finding: Finding,
    opened_ms: i64,
    seen_ms: i64,
}

/// What a report changed about one finding.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened(FindingRow),
    /// Its severity is another one.
    Moved(FindingRow),
    Resolved(FindingRow),
}

/// All open findings.
#[derive(Debug, Default)]
pub(super) struct Findings {
    open: BTreeMap<(AgentName, String), Open>,
}

impl Findings {
    /// Goes on with what was open when agentd last ran.
    pub(super) fn restored(rows: Vec<FindingRow>) -> Self {
        let open = rows.into_iter().filter(|row| row.resolved_ms.is_none()).map(|row| {
            let finding = Finding {
                key: row.key.clone(),
                severity: row.severity,
                summary: row.summary,
                evidence: row.evidence,
            };
            let open =
                Open { check: row.check, finding, opened_ms: row.opened_ms, seen_ms: row.seen_ms };
            ((row.agent, row.key), open)
        });
        Self { open: open.collect() }
    }

    /// What `check` of `agent` now finds, complete. Answers what changed, and how many findings
    /// were not taken because the agent has too many.
    pub(super) fn report(
        &mut self,
        agent: &AgentName,
        check: &str,
        found: Vec<Finding>,
        now_ms: i64,
    ) -> (Vec<Change>, usize) {
        let mut changes = Vec::new();
        let gone: Vec<(AgentName, String)> = self
            .of(agent)
            .filter(|((_, key), open)| {
                open.check == check && !found.iter().any(|finding| finding.key == *key)
            })
            .map(|(id, _)| id.clone())
            .collect();
        changes.extend(gone.iter().filter_map(|id| self.resolve(id, now_ms)));
        let mut room = MAX_OPEN.saturating_sub(self.count(agent));
        let mut refused = 0;
        for finding in found {
            let id = (agent.clone(), finding.key.clone());
            if let Some(open) = self.open.get_mut(&id) {
                let has_moved = open.finding.severity != finding.severity;
                open.finding = finding;
                open.check = check.to_owned();
                open.seen_ms = now_ms;
                if has_moved {
                    changes.push(Change::Moved(row(&id.0, open, None)));
                }
            } else if room == 0 {
                refused += 1;
            } else {
                room -= 1;
                let open =
                    Open { check: check.to_owned(), finding, opened_ms: now_ms, seen_ms: now_ms };
                changes.push(Change::Opened(row(agent, &open, None)));
                self.open.insert(id, open);
            }
        }
        (changes, refused)
    }

    /// Resolves what no check of `agent` will ever report again: those of checks it does not run.
    pub(super) fn keep_checks(
        &mut self,
        agent: &AgentName,
        checks: impl Fn(&str) -> bool,
        now_ms: i64,
    ) -> Vec<Change> {
        let gone: Vec<(AgentName, String)> = self
            .of(agent)
            .filter(|(_, open)| !checks(&open.check))
            .map(|(id, _)| id.clone())
            .collect();
        gone.iter().filter_map(|id| self.resolve(id, now_ms)).collect()
    }

    /// How many findings of `agent` are open.
    pub(super) fn count(&self, agent: &AgentName) -> usize {
        self.of(agent).count()
    }

    /// All, as shown: worst first, then by agent and key. `is_measured` tells whether a check of an
    /// agent measures now.
    pub(super) fn views(
        &self,
        is_measured: impl Fn(&AgentName, &str) -> bool,
    ) -> Arc<Vec<FindingView>> {
        let mut views: Vec<FindingView> = self
            .open
            .iter()
            .map(|((agent, _), open)| {
                let is_stale = !is_measured(agent, &open.check);
                view(row(agent, open, None), is_stale)
            })
            .collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.severity));
        Arc::new(views)
    }

    fn of(&self, agent: &AgentName) -> impl Iterator<Item = (&(AgentName, String), &Open)> {
        let from = (agent.clone(), String::new());
        self.open.range(from..).take_while(move |((owner, _), _)| owner == agent)
    }

    fn resolve(&mut self, id: &(AgentName, String), now_ms: i64) -> Option<Change> {
        let open = self.open.remove(id)?;
        Some(Change::Resolved(row(&id.0, &open, Some(now_ms))))
    }
}

fn row(agent: &AgentName, open: &Open, resolved_ms: Option<i64>) -> FindingRow {
    FindingRow {
        agent: agent.clone(),
        check: open.check.clone(),
        key: open.finding.key.clone(),
        severity: open.finding.severity,
        summary: open.finding.summary.clone(),
        evidence: open.finding.evidence.clone(),
        opened_ms: open.opened_ms,
        seen_ms: open.seen_ms,
        resolved_ms,
    }
}

/// A stored finding as it goes over the wire.
pub(crate) fn view(row: FindingRow, stale: bool) -> FindingView {
    FindingView {
        agent: row.agent.to_string(),
        check: row.check,
        key: row.key,
        severity: row.severity,
        summary: row.summary,
        evidence: row.evidence,
        opened_ms: row.opened_ms,
        seen_ms: row.seen_ms,
        resolved_ms: row.resolved_ms,
        stale,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use agentd_model::Severity;

    use super::*;

    fn name(text: &str) -> AgentName {
        text.parse().unwrap()
    }

    fn finding(key: &str, severity: Severity) -> Finding {
        Finding { key: key.into(), severity, summary: key.into(), evidence: BTreeMap::new() }
    }

    fn told(changes: &[Change]) -> Vec<String> {
        changes
            .iter()
            .map(|change| match change {
                Change::Opened(row) => format!("+{} {}", row.key, row.severity.as_str()),
                Change::Moved(row) => format!("~{} {}", row.key, row.severity.as_str()),
                Change::Resolved(row) => format!("-{} {:?}", row.key, row.resolved_ms),
            })
            .collect()
    }

    #[test]
    fn a_report_opens_moves_and_resolves_and_says_nothing_twice() {
        let mut findings = Findings::default();
        let agent = name("storage");
        let mut report = |found: &[(&str, Severity)], now| {
            let found = found.iter().map(|(key, severity)| finding(key, *severity)).collect();
            told(&findings.report(&agent, "space", found, now).0)
        };
        assert_eq!(report(&[("a", Severity::Warning)], 1), ["+a warning"]);
        assert!(report(&[("a", Severity::Warning)], 2).is_empty());
        assert_eq!(
            report(&[("a", Severity::Critical), ("b", Severity::Info)], 3),
            ["~a critical", "+b info"]
        );
        assert_eq!(report(&[("b", Severity::Info)], 4), ["-a Some(4)"]);
        assert_eq!(report(&[], 5), ["-b Some(5)"]);
    }

    #[test]
    fn checks_and_agents_do_not_touch_each_others_findings() {
        let mut findings = Findings::default();
        let warn = |key| vec![finding(key, Severity::Warning)];
        findings.report(&name("a"), "x", warn("1"), 1);
        findings.report(&name("a"), "y", warn("2"), 1);
        findings.report(&name("ab"), "x", warn("3"), 1);
        assert_eq!(told(&findings.report(&name("a"), "x", vec![], 2).0), ["-1 Some(2)"]);
        assert_eq!(findings.count(&name("a")), 1);
        assert_eq!(findings.count(&name("ab")), 1);
    }

    #[test]
    fn more_than_an_agent_may_have_are_counted_and_not_taken() {
        let mut findings = Findings::default();
        let agent = name("a");
        let many = |prefix: &str, n: usize| -> Vec<Finding> {
            (0..n).map(|i| finding(&format!("{prefix}{i}"), Severity::Info)).collect()
        };
        assert_eq!(findings.report(&agent, "x", many("x", MAX_OPEN - 1), 1).1, 0);
        assert_eq!(findings.report(&agent, "y", many("y", 3), 1).1, 2);
        assert_eq!(findings.count(&agent), MAX_OPEN);
    }

    #[test]
    fn what_was_open_is_open_again_after_a_restart_and_stale_until_measured() {
        let mut before = Findings::default();
        let agent = name("a");
        let (changes, _) = before.report(&agent, "x", vec![finding("k", Severity::Critical)], 7);
        let rows = changes.into_iter().map(|change| match change {
            Change::Opened(row) | Change::Moved(row) | Change::Resolved(row) => row,
        });
        let mut after = Findings::restored(rows.collect());
        let views = after.views(|_, _| false);
        assert!(views[0].stale && views[0].opened_ms == 7);
        let again = vec![finding("k", Severity::Critical)];
        assert!(after.report(&agent, "x", again, 9).0.is_empty());
    }

    #[test]
    fn findings_of_checks_that_are_no_more_are_resolved() {
        let mut findings = Findings::default();
        let agent = name("a");
        findings.report(&agent, "old", vec![finding("k", Severity::Info)], 1);
        findings.report(&agent, "new", vec![finding("l", Severity::Info)], 1);
        let changes = findings.keep_checks(&agent, |check| check == "new", 5);
        assert_eq!(told(&changes), ["-k Some(5)"]);
    }
}
