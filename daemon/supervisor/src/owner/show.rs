//! What readers see: a snapshot made anew after each turn, of what changed only.

use std::collections::BTreeMap;
use std::sync::Arc;

use agentd_model::{AgentName, AgentSpec, Mono, Phase};
use agentd_protocol::control::{AgentView, FindingView, Problem};

use super::Owner;
use super::managed::{self, Managed};
use crate::clock;

/// What readers see. Cheap to clone, made anew after each change.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The last event that it shows.
    pub seq: u64,
    /// All agents.
    pub agents: BTreeMap<AgentName, Arc<AgentView>>,
    /// Their specs.
    pub specs: BTreeMap<AgentName, Arc<AgentSpec>>,
    /// Open findings, worst first.
    pub findings: Arc<Vec<FindingView>>,
    /// What is wrong with configuration and store.
    pub problems: Arc<Vec<Problem>>,
    /// When every wanted agent was first running.
    pub all_ready: Option<Mono>,
}

impl Snapshot {
    /// Milliseconds from boot (`CLOCK_BOOTTIME`) to when every wanted agent was first running.
    pub fn all_ready_boot_ms(&self) -> Option<u64> {
        self.all_ready.map(|at| u64::try_from(at.0.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Owner {
    pub(super) fn problems(&self) -> Vec<Problem> {
        let agents = self.managed.values().filter_map(|managed| {
            let Phase::Failed { last, .. } = &managed.agent.phase else { return None };
            Some(Problem {
                area: "agent".into(),
                subject: managed.spec.name.to_string(),
                message: format!("was given up: {last}; `agentctl start` tries again"),
            })
        });
        let stored = self.store_problem.iter().cloned();
        self.config_problems.iter().cloned().chain(stored).chain(agents).collect()
    }

    pub(super) fn publish(&mut self) {
        let mut next = Snapshot::clone(&self.snapshot.borrow());
        let dirty = std::mem::take(&mut self.dirty);
        let is_new = next.seq != self.recorder.seq()
            || !dirty.is_empty()
            || self.findings_dirty
            || next.all_ready != self.all_ready;
        if !is_new {
            return;
        }
        for name in dirty {
            let Some(managed) = self.managed.get(&name) else {
                next.agents.remove(&name);
                next.specs.remove(&name);
                continue;
            };
            let user = self.launcher.user_of(&managed.spec);
            let findings = self.findings.count(&name);
            let view = managed.view(&user, self.detail(&name, managed), findings);
            next.agents.insert(name.clone(), Arc::new(view));
            next.specs.insert(name, Arc::clone(&managed.spec));
        }
        if std::mem::take(&mut self.findings_dirty) {
            next.findings = self.findings.views(|agent, check| {
                self.managed.get(agent).is_some_and(|managed| {
                    managed.is_running()
                        && managed.said.checks.get(check).is_some_and(managed::Check::is_measured)
                })
            });
        }
        next.problems = Arc::new(self.problems());
        next.seq = self.recorder.seq();
        next.all_ready = self.all_ready;
        self.snapshot.send_replace(Arc::new(next));
    }

    pub(super) fn detail(&self, name: &AgentName, managed: &Managed) -> Option<String> {
        match &managed.agent.phase {
            Phase::Waiting { .. } => {
                let reasons = self.reasons_to_wait(name);
                let words: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                Some(format!("waiting for {}", words.join(", ")))
            }
            Phase::Backoff { until, last, .. } => {
                let left = until.since(clock::mono()).as_secs_f64();
                Some(format!("{last}; starting again within {left:.0} s"))
            }
            Phase::Failed { last, .. } => Some(format!("{last}; given up")),
            Phase::Stopping { cause, .. } => Some(cause.to_string()),
            Phase::Idle { .. }
            | Phase::Spawning { .. }
            | Phase::Starting { .. }
            | Phase::Running { .. } => None,
        }
    }
}
