//! What a reload changes, and what each change asks for.

use std::collections::BTreeMap;

use super::{AgentSpec, RestartPolicy};
use crate::AgentName;

/// What a changed spec asks for. The greater includes the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Nothing of the process: order, summary, criticality, enabled, restart policy.
    Quiet,
    /// Its checks changed: send them to the running agent.
    Settings,
    /// What its process was made from changed: program, cell, channel, heartbeat.
    Restart,
}

/// The difference between two sets of specs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecDiff {
    /// New agents.
    pub added: Vec<AgentName>,
    /// Agents whose spec differs, and what that asks for.
    pub changed: Vec<(AgentName, Change)>,
    /// Agents that are gone.
    pub removed: Vec<AgentName>,
}

impl SpecDiff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// What leads from `old` to `new`, each list by name.
pub fn diff(
    old: &BTreeMap<AgentName, AgentSpec>,
    new: &BTreeMap<AgentName, AgentSpec>,
) -> SpecDiff {
    let missing_in =
        |other: &BTreeMap<AgentName, AgentSpec>, name: &&AgentName| !other.contains_key(*name);
    SpecDiff {
        added: new.keys().filter(|name| missing_in(old, name)).cloned().collect(),
        changed: new
            .iter()
            .filter_map(|(name, spec)| {
                let before = old.get(name)?;
                (before != spec).then(|| (name.clone(), change(before, spec)))
            })
            .collect(),
        removed: old.keys().filter(|name| missing_in(new, name)).cloned().collect(),
    }
}

fn change(old: &AgentSpec, new: &AgentSpec) -> Change {
    // Taken apart in full: a new field does not compile until it is decided what it asks for.
    let AgentSpec {
        name: _,
        summary: _,
        exec,
        after: _,
        needs: _,
        criticality: _,
        kit,
        enabled: _,
        restart,
        cell,
        checks,
    } = old;
    // The agent is told its heartbeat when it starts; all other times are agentd's alone.
    let RestartPolicy {
        when: _,
        first_delay: _,
        max_delay: _,
        budget: _,
        stable_after: _,
        ready_within: _,
        heartbeat,
        stop_grace: _,
    } = restart;
    let is_same_process = *exec == new.exec
        && *kit == new.kit
        && *cell == new.cell
        && *heartbeat == new.restart.heartbeat;
    match (is_same_process, *checks == new.checks) {
        (false, _) => Change::Restart,
        (true, false) => Change::Settings,
        (true, true) => Change::Quiet,
    }
}
