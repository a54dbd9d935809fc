//! What must hold between the specs of a machine: each name once, every name that is waited for
//! there, and no agent waiting for itself.

use std::collections::{BTreeMap, BTreeSet};

use super::AgentSpec;
use super::reader::nearest;
use crate::AgentName;

/// One thing that is wrong between specs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetProblem {
    /// Two specs have one name.
    #[error("{name}: {count} agents have this name")]
    Duplicate {
        /// The name.
        name: AgentName,
        /// How many have it.
        count: usize,
    },
    /// A spec names an agent that is not there.
    #[error(
        "{name}: agent.{key}: no agent is called {missing}{}",
        .nearest.as_ref().map(|name| format!("; the nearest is {name}")).unwrap_or_default()
    )]
    Missing {
        /// The spec.
        name: AgentName,
        /// `after` or `needs`.
        key: &'static str,
        /// Whom it names.
        missing: AgentName,
        /// Who may be meant.
        nearest: Option<AgentName>,
    },
    /// Agents wait for each other.
    #[error("agents wait for each other: {}", show_cycle(.cycle))]
    Cycle {
        /// Each waits for the next, the last for the first. Begins with the least name.
        cycle: Vec<AgentName>,
    },
}

fn show_cycle(cycle: &[AgentName]) -> String {
    let names: Vec<&str> = cycle.iter().chain(cycle.first()).map(AgentName::as_str).collect();
    names.join(" -> ")
}

/// The specs by name, if they fit together.
///
/// # Errors
///
/// Everything that is wrong between them; of each knot of cycles one.
pub fn check_set(specs: Vec<AgentSpec>) -> Result<BTreeMap<AgentName, AgentSpec>, Vec<SetProblem>> {
    let mut problems = vec![];
    let mut count: BTreeMap<AgentName, usize> = BTreeMap::new();
    for spec in &specs {
        *count.entry(spec.name.clone()).or_default() += 1;
    }
    for (name, count) in count {
        if count > 1 {
            problems.push(SetProblem::Duplicate { name, count });
        }
    }
    let specs: BTreeMap<AgentName, AgentSpec> =
        specs.into_iter().map(|spec| (spec.name.clone(), spec)).collect();
    for spec in specs.values() {
        // A need is an `after` too: name it by the key it stands at.
        let after = spec.after.difference(&spec.needs).map(|name| ("after", name));
        for (key, missing) in spec.needs.iter().map(|name| ("needs", name)).chain(after) {
            if !specs.contains_key(missing) {
                problems.push(SetProblem::Missing {
                    name: spec.name.clone(),
                    key,
                    missing: missing.clone(),
                    nearest: nearest(missing.as_str(), specs.keys().map(AgentName::as_str))
                        .and_then(|name| name.parse().ok()),
                });
            }
        }
    }
    problems.extend(cycles(&specs).into_iter().map(|cycle| SetProblem::Cycle { cycle }));
    if problems.is_empty() { Ok(specs) } else { Err(problems) }
}

/// One cycle for each agent-disjoint knot: what is found is taken out before looking further.
fn cycles(specs: &BTreeMap<AgentName, AgentSpec>) -> Vec<Vec<AgentName>> {
    let mut left: BTreeMap<&AgentName, BTreeSet<&AgentName>> =
        specs.iter().map(|(name, spec)| (name, spec.after.union(&spec.needs).collect())).collect();
    let mut found = vec![];
    loop {
        // Without those who wait for nobody that is left, everyone waits for someone who is: every
        // walk along "waits for" then ends in a cycle.
        loop {
            let names: BTreeSet<&AgentName> = left.keys().copied().collect();
            left.retain(|_, waits| waits.iter().any(|other| names.contains(other)));
            if left.len() == names.len() {
                break;
            }
        }
        let Some(cycle) = walk(&left) else { return found };
        left.retain(|name, _| !cycle.contains(name));
        let least = cycle.iter().enumerate().min_by_key(|(_, name)| **name).map_or(0, |(i, _)| i);
        found.push(
            cycle.iter().cycle().skip(least).take(cycle.len()).map(|n| (*n).clone()).collect(),
        );
    }
}

/// The cycle that a walk from the first agent runs into.
fn walk<'a>(left: &BTreeMap<&'a AgentName, BTreeSet<&'a AgentName>>) -> Option<Vec<&'a AgentName>> {
    let mut path: Vec<&AgentName> = vec![];
    let mut here = *left.keys().next()?;
    loop {
        if let Some(start) = path.iter().position(|name| *name == here) {
            return Some(path.split_off(start));
        }
        path.push(here);
        here = left.get(here)?.iter().find(|other| left.contains_key(**other)).copied()?;
    }
}
