//! The checked form of an agent's TOML file. Holding an [`AgentSpec`] proves that the rules were
//! met.

mod agentd;
mod capability;
mod diff;
mod parse;
mod problem;
mod reader;
mod rules;
mod set;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::AgentName;

pub use agentd::{AgentdConfig, parse_agentd};
pub use diff::{Change, SpecDiff, diff};
pub use parse::parse_spec;
pub use problem::{Problem, SpecError};
pub use set::{SetProblem, check_set};
pub(crate) use units::show_duration;

/// One agent: what to run, how to confine it, when to restart it, what to look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentSpec {
    /// Its name; the file is `agents.d/NAME.toml`.
    pub name: AgentName,
    /// One line for a person: what this agent looks after.
    pub summary: String,
    /// Program (an absolute path) and arguments.
    pub exec: Vec<String>,
    /// Started after these, where they are wanted at all. Order only.
    pub after: BTreeSet<AgentName>,
    /// Not started before these are running; each is also an `after`.
    pub needs: BTreeSet<AgentName>,
    /// What its failure means for the machine.
    pub criticality: Criticality,
    /// Whether it speaks the channel. `false`: ready once started, no heartbeat, SIGTERM ends it.
    pub kit: bool,
    /// Whether it is started by itself; `agentctl enable` and `disable` override it.
    pub enabled: bool,
    /// When and how often it is restarted, and how long things may take.
    pub restart: RestartPolicy,
    /// What confines it.
    pub cell: CellSpec,
    /// Settings of its checks by name. What is absent is the agent's own default.
    pub checks: BTreeMap<String, CheckSpec>,
}

/// What the failure of an agent means for the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criticality {
    /// The machine is not what it should be without it.
    Critical,
    /// Its work is missed.
    Important,
    /// Nice to have.
    Optional,
}

/// When an ended agent is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartWhen {
    /// However it ended.
    Always,
    /// When it ended other than with status 0.
    OnFailure,
    /// Never.
    Never,
}

/// At most `starts` starts within any window of `within`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Starts allowed, the first one included. At least 1.
    pub starts: u32,
    /// Length of the sliding window.
    pub within: Duration,
}

/// Restart policy and time limits of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// After which kinds of end it is started again.
    pub when: RestartWhen,
    /// Delay before the first restart.
    pub first_delay: Duration,
    /// No delay is longer than this; from the second restart on delays double from one second,
    /// with jitter.
    pub max_delay: Duration,
    /// How many starts before it is given up as failed.
    pub budget: Budget,
    /// Running this long without ending clears the count of failures.
    pub stable_after: Duration,
    /// Must say it is ready within this time of its start.
    pub ready_within: Duration,
    /// Must be heard from once in this time; three missed and it is killed and restarted.
    pub heartbeat: Duration,
    /// Time between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
}

impl Default for RestartPolicy {
    /// What holds where the file says nothing.
    fn default() -> Self {
        Self {
            when: RestartWhen::OnFailure,
            first_delay: Duration::ZERO,
            max_delay: Duration::from_secs(30),
            budget: Budget { starts: 5, within: Duration::from_secs(5 * 60) },
            stable_after: Duration::from_secs(60),
            ready_within: Duration::from_secs(10),
            heartbeat: Duration::from_secs(5),
            stop_grace: Duration::from_secs(5),
        }
    }
}

/// What one agent may do and see. An empty one may do nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellSpec {
    /// The user it runs as.
    pub user: String,
    /// Supplementary groups, by name.
    pub groups: BTreeSet<String>,
    /// Capabilities it keeps (`CAP_NET_RAW`), in all its sets.
    pub capabilities: BTreeSet<String>,
    /// Paths it sees read-only, besides `/usr`. Absolute and normalised. `/` means all of it.
    pub read: BTreeSet<PathBuf>,
    /// Paths it may write to. Absolute and normalised.
    pub write: BTreeSet<PathBuf>,
    /// Memory limit in bytes (cgroup `memory.max`).
    pub memory_max: Option<u64>,
    /// Most processes and threads (cgroup `pids.max`).
    pub tasks_max: Option<u32>,
    /// Share of the CPU against others, 1 to 10000, 100 is usual (cgroup `cpu.weight`).
    pub cpu_weight: Option<u32>,
    /// Most open files (`RLIMIT_NOFILE`).
    pub files_max: u32,
}

impl CellSpec {
    /// Most open files where the file says nothing.
    pub const FILES_MAX: u32 = 1024;
}

/// Settings of one check. `None` is the agent's own default for that check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckSpec {
    /// `false` turns the check off.
    pub enabled: Option<bool>,
    /// Time from one run's start to the next.
    pub every: Option<Duration>,
    /// A run that takes longer makes the check `unknown`.
    pub timeout: Option<Duration>,
    /// A reading at or above this raises a warning. The check's unit.
    pub warning: Option<f64>,
    /// A reading at or above this raises a critical finding. The check's unit.
    pub critical: Option<f64>,
    /// How far below the threshold a reading must fall before the finding is cleared.
    pub margin: Option<f64>,
    /// Consecutive readings past the threshold before the finding is raised.
    pub raise_after: Option<u32>,
    /// Consecutive good readings before it is cleared.
    pub clear_after: Option<u32>,
    /// What is known and fine: listeners, setuid files, ... in the check's own words.
    pub allow: Option<Vec<String>>,
}

#[cfg(test)]
mod tests;
