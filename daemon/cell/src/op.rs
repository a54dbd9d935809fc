//! The operations of a plan. Their order in [`Op`] is the order in which a plan holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a bound path appears in the cell. `nosuid` is always set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindFlags {
    /// Whether it may be written to.
    pub writable: bool,
    /// Whether device nodes below it work.
    pub devices: bool,
}

/// One step from a fresh process to an agent in its cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Op {
    /// Joins the control group, before anything that costs memory.
    JoinCgroup {
        /// Its `cgroup.procs`.
        procs: PathBuf,
    },
    /// Runs the agent.
    Exec {
        /// Program and arguments.
        argv: Vec<String>,
        /// The whole environment.
        env: BTreeMap<String, String>,
        /// Only for the first commit.
        placeholder: BTreeSet<String>,
    },
}
