//! What an agent states about the machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing; nothing need be done.
    Info,
    /// Will become a problem if nothing is done.
    Warning,
    /// Is a problem now.
    Critical,
}

impl Severity {
    /// The word used in files, on the wire and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// An agent's statement that something is so ("/var is 96 % full").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Names the thing and what is wrong with it, the same each time it is seen, unique within
    /// the agent: `space:/var`, `unit-failed:foo.service`.
    pub key: String,
    /// How much it matters now; may change while the finding stays open.
    pub severity: Severity,
    /// One sentence for a person, without a full stop.
    pub summary: String,
    /// What was measured, as text, by name: `{"used_percent": "96", "path": "/var"}`.
    #[serde(default)]
    pub evidence: BTreeMap<String, String>,
}

impl Finding {
    /// Longest key in bytes that agentd takes.
    pub const MAX_KEY: usize = 256;
    /// Longest summary in bytes that agentd takes.
    pub const MAX_SUMMARY: usize = 1024;
    /// Most evidence, names and values together, in bytes, that agentd takes.
    pub const MAX_EVIDENCE: usize = 8 * 1024;
}
