//! The system agent.
#![forbid(unsafe_code)]

use agentd_kit::Agent;

/// The agent with its checks.
pub fn agent() -> Agent {
    Agent::new("system", env!("CARGO_PKG_VERSION"))
}
