//! The agents of this appliance by name. What each looks at is in its own crate.
#![forbid(unsafe_code)]

use agentd_kit::Agent;

/// Every agent there is.
pub const NAMES: [&str; 5] = ["monitor", "network", "security", "storage", "system"];

/// The agent of that name.
pub fn agent(name: &str) -> Option<Agent> {
    match name {
        "monitor" => Some(agent_monitor::agent()),
        "network" => Some(agent_network::agent()),
        "security" => Some(agent_security::agent()),
        "storage" => Some(agent_storage::agent()),
        "system" => Some(agent_system::agent()),
        _ => None,
    }
}
