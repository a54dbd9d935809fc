//! The monitor agent.
#![forbid(unsafe_code)]

use agentd_kit::Agent;

/// The agent with its checks.
pub fn agent() -> Agent {
    Agent::new("monitor", env!("CARGO_PKG_VERSION"))
}
