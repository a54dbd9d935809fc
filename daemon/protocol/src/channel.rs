//! The channel between agentd and one agent.
//!
//! Two stream sockets that the launcher leaves open in the agent: on [`TO_AGENTD`] the agent calls
//! `org.agentos.Supervisor`, on [`TO_AGENT`] agentd calls `org.agentos.Agent`.
//!
//! ```text
//! agentd                                   agent
//!   | --- fd 4: Reload {settings} ----------> |   first of all; again when the checks change
//!   | <-- fd 4: reply {problems} ------------ |
//!   | <-- fd 3: Ready {checks} -------------- |   once, within `ready_within` of the start
//!   | <-- fd 3: Heartbeat (oneway) ---------- |   every `heartbeat`
//!   | <-- fd 3: Report, Sample (oneway) ----- |   after each run of a check
//! ```

use std::collections::BTreeMap;

use agentd_model::{CheckSpec, Finding};
use serde::{Deserialize, Serialize};

/// The agent calls agentd here.
pub const TO_AGENTD: i32 = 3;
/// agentd calls the agent here.
pub const TO_AGENT: i32 = 4;

/// Interface agentd serves to an agent.
pub const SUPERVISOR: &str = "org.agentos.Supervisor";
/// Interface an agent serves to agentd.
pub const AGENT: &str = "org.agentos.Agent";

/// Most findings that one check may report at once.
pub const MAX_FINDINGS: usize = 256;
/// Most checks that one agent may have.
pub const MAX_CHECKS: usize = 64;
/// Most values in one [`Sample`].
pub const MAX_VALUES: usize = 512;

/// `org.agentos.Agent.Reload`: the settings, complete. The agent applies them at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The agent's own name.
    pub name: String,
    /// Send a heartbeat this often.
    pub heartbeat_ms: u64,
    /// Settings by check.
    pub checks: BTreeMap<String, CheckSettings>,
}

/// Settings of one check as they cross the channel. What is absent is the agent's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckSettings {
    /// `false`: do not run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Time from one start to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// Longest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Threshold of a warning, in the check's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<f64>,
    /// Threshold of a critical finding, in the check's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<f64>,
    /// How far below a threshold counts as good again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Bad readings in a row before it is raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raise_after: Option<u32>,
    /// Good readings in a row before it is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear_after: Option<u32>,
    /// What is known and fine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
}

impl From<&CheckSpec> for CheckSettings {
    fn from(spec: &CheckSpec) -> Self {
        let millis = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        Self {
            enabled: spec.enabled,
            every_ms: spec.every.map(millis),
            timeout_ms: spec.timeout.map(millis),
            warning: spec.warning,
            critical: spec.critical,
            margin: spec.margin,
            raise_after: spec.raise_after,
            clear_after: spec.clear_after,
            allow: spec.allow.clone(),
        }
    }
}

/// Answer to `Reload`: what in the settings the agent could not use, in words. The rest is in
/// force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReply {
    /// `no check is called "dsik"; did you mean "disk"?`
    #[serde(default)]
    pub problems: Vec<String>,
}

/// `org.agentos.Supervisor.Ready`: the agent does its work from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Version of the agent.
    pub version: String,
    /// Every check it runs. Sent again after a `Reload` that changed the set.
    pub checks: Vec<CheckInfo>,
}

/// One check as the agent runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckInfo {
    /// Its name.
    pub name: String,
    /// One line: what it looks at.
    pub summary: String,
    /// Time from one start to the next.
    pub every_ms: u64,
    /// Longest run.
    pub timeout_ms: u64,
}

/// `org.agentos.Supervisor.Report`: what one run of a check came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which check.
    pub check: String,
    /// Its outcome.
    pub outcome: Outcome,
    /// Why, when the outcome is `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Everything this check now finds, complete: an open finding of this check that is missing
    /// here is resolved. Ignored when the outcome is `unknown`.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// How long the run took.
    pub took_ms: u64,
}

/// What a run of a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It measured; `findings` say what.
    Measured,
    /// It failed or took too long. Nothing is known, and nothing is `ok`.
    Unknown,
}

/// `org.agentos.Supervisor.Sample`: readings to be kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The readings.
    pub values: Vec<Value>,
}

/// One reading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// What: `cpu.busy`, `agent.network.memory`. At most 128 of `a-z0-9._:/-`.
    pub name: String,
    /// How much.
    pub value: f64,
    /// In what: `percent`, `bytes`, `bytes/s`, `1`.
    pub unit: String,
}
