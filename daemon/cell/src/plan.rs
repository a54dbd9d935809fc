//! From a spec and facts to a plan. Pure.

use std::fmt;
use std::path::PathBuf;

use agentd_model::{AgentName, AgentSpec};
use serde::{Deserialize, Serialize};

use crate::{HostFacts, Op};

/// Where agentd runs, and so what a confinement that cannot be had means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An appliance: everything the spec asks for, or no agent at all.
    Appliance,
    /// A scratch directory: agents run as agentd's own user on the whole file system; what cannot
    /// be had is listed in [`Plan::missing`].
    Scratch,
}

/// One file of a control group and what is written to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// `memory.max`, ...
    pub file: String,
    /// What is written.
    pub value: String,
}

/// The control group that agentd makes before the launcher joins it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPlan {
    /// The delegated group.
    pub base: PathBuf,
    /// The agent's own: `BASE/agents/NAME`.
    pub leaf: PathBuf,
    /// Controllers to enable on the way down.
    pub controllers: Vec<String>,
    /// Its limits.
    pub settings: Vec<Setting>,
}

/// How one agent is started: what agentd prepares and what the launcher does, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Whose.
    pub agent: AgentName,
    /// Its control group, where there is one.
    pub cgroup: Option<CgroupPlan>,
    /// What the launcher does.
    pub ops: Vec<Op>,
    /// What the spec asks and this host cannot give, a sentence each.
    pub missing: Vec<String>,
}

impl Plan {
    /// The plan for a person, a line for each step, agentd's own first.
    pub fn lines(&self) -> Vec<String> {
        todo!()
    }
}

/// The spec cannot be had on this machine. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The user does not exist.
    #[error("user {user:?} of agent {agent} does not exist")]
    UnknownUser {
        /// Whose.
        agent: AgentName,
        /// Which.
        user: String,
    },
}

/// Plans the start of `spec` on the machine that `facts` describe (after
/// [`HostFacts::look_at`] `spec`).
pub fn plan(_spec: &AgentSpec, _facts: &HostFacts, _mode: Mode) -> Result<Plan, PlanError> {
    todo!()
}

impl fmt::Display for Op {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
