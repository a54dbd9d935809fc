//! Who waits for whom: what holds a start back, and in which order to stop.
//!
//! `needs` is a requirement: held back until the other runs. `after` is order only: held back
//! while the other is on its way up, and not by one that is unwanted, gone or in trouble.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Agent, Phase, Want};
use crate::{AgentName, AgentSpec};

/// One agent that another waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitReason {
    /// Which.
    pub name: AgentName,
    /// What it lacks.
    pub why: WaitWhy,
}

/// What an agent that is waited for lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitWhy {
    /// No agent has this name.
    Missing,
    /// It is not wanted.
    NotWanted,
    /// It has ended, and its policy does not start it again.
    Ended,
    /// It waits itself.
    Waiting,
    /// It is being started.
    NotReady,
    /// It is being stopped.
    Stopping,
    /// It failed, and is tried again later.
    Backoff,
    /// It failed, and was given up.
    Failed,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            WaitWhy::Missing => "no such agent",
            WaitWhy::NotWanted => "not wanted",
            WaitWhy::Ended => "ended and not restarted",
            WaitWhy::Waiting => "waits itself",
            WaitWhy::NotReady => "not ready",
            WaitWhy::Stopping => "stopping",
            WaitWhy::Backoff => "failed, tried again later",
            WaitWhy::Failed => "failed",
        };
        write!(f, "{}: {why}", self.name)
    }
}

/// What agent `name` has to wait for now. Empty: it is cleared to start.
///
/// `agent_of` gives the state of each agent of `specs`. An order that cannot be kept (a cycle,
/// which `check_set` refuses) holds nobody back.
pub fn waits_for<'a>(
    name: &AgentName,
    specs: &BTreeMap<AgentName, AgentSpec>,
    agent_of: impl Fn(&AgentName) -> Option<&'a Agent>,
) -> Vec<WaitReason> {
    let Some(spec) = specs.get(name) else { return vec![] };
    let agent_of: &AgentOf<'a, '_> = &agent_of;
    let needed = spec.needs.iter().filter_map(|other| {
        let why = lacks(agent_of(other))?;
        Some(WaitReason { name: other.clone(), why })
    });
    let ordered = spec.after.difference(&spec.needs).filter_map(|other| {
        let why = lacks(agent_of(other))?;
        let comes = is_coming(other, specs, agent_of, &mut BTreeSet::from([name.clone()]));
        comes.then(|| WaitReason { name: other.clone(), why })
    });
    needed.chain(ordered).collect()
}

type AgentOf<'a, 'f> = dyn Fn(&AgentName) -> Option<&'a Agent> + 'f;

/// What an agent lacks to be running.
fn lacks(agent: Option<&Agent>) -> Option<WaitWhy> {
    let Some(agent) = agent else { return Some(WaitWhy::Missing) };
    match (&agent.phase, agent.want) {
        (Phase::Running { .. }, _) => None,
        (Phase::Stopping { .. }, _) => Some(WaitWhy::Stopping),
        (Phase::Idle { .. } | Phase::Spawning { .. }, Want::Down) => Some(WaitWhy::NotWanted),
        (Phase::Idle { .. }, Want::Up) => Some(WaitWhy::Ended),
        (Phase::Waiting { .. }, _) => Some(WaitWhy::Waiting),
        (Phase::Spawning { .. }, Want::Up) | (Phase::Starting { .. }, _) => Some(WaitWhy::NotReady),
        (Phase::Backoff { .. }, _) => Some(WaitWhy::Backoff),
        (Phase::Failed { .. }, _) => Some(WaitWhy::Failed),
    }
}

/// Whether an agent is on its way up with nothing but time before it. One that waits for a need
/// which does not come is not: else an `after` on it would be a `needs` in disguise.
fn is_coming(
    name: &AgentName,
    specs: &BTreeMap<AgentName, AgentSpec>,
    agent_of: &AgentOf<'_, '_>,
    seen: &mut BTreeSet<AgentName>,
) -> bool {
    let (Some(spec), Some(agent)) = (specs.get(name), agent_of(name)) else { return false };
    if agent.want == Want::Down || !seen.insert(name.clone()) {
        return false;
    }
    match agent.phase {
        Phase::Spawning { .. } | Phase::Starting { .. } | Phase::Stopping { .. } => true,
        Phase::Waiting { .. } => spec.needs.iter().all(|need| {
            lacks(agent_of(need)).is_none() || is_coming(need, specs, agent_of, &mut seen.clone())
        }),
        Phase::Idle { .. }
        | Phase::Running { .. }
        | Phase::Backoff { .. }
        | Phase::Failed { .. } => false,
    }
}

/// All agents in layers, each to be stopped when the layers before it are: dependants first.
pub fn stop_order(specs: &BTreeMap<AgentName, AgentSpec>) -> Vec<Vec<AgentName>> {
    let mut left: BTreeSet<&AgentName> = specs.keys().collect();
    let mut layers = vec![];
    while !left.is_empty() {
        let waited_for: BTreeSet<&AgentName> = left
            .iter()
            .filter_map(|name| specs.get(*name))
            .flat_map(|spec| spec.after.union(&spec.needs))
            .collect();
        let mut layer: Vec<&AgentName> =
            left.iter().filter(|name| !waited_for.contains(*name)).copied().collect();
        if layer.is_empty() {
            // Only a cycle is left, which `check_set` refuses: all at once then.
            layer = left.iter().copied().collect();
        }
        left.retain(|name| !layer.contains(name));
        layers.push(layer.into_iter().cloned().collect());
    }
    layers
}
