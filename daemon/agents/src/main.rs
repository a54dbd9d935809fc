//! The agents of this appliance: one program under several names, so that they share its pages.
//!
//! The name it is started under (the last part of `argv[0]`) says which agent it is.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use agentd_kit::Agent;

/// Each name and the agent behind it.
const AGENTS: [(&str, fn() -> Agent); 5] = [
    ("monitor", agent_monitor::agent),
    ("network", agent_network::agent),
    ("security", agent_security::agent),
    ("storage", agent_storage::agent),
    ("system", agent_system::agent),
];

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default().to_string_lossy();
    match AGENTS.iter().find(|(known, _)| *known == name) {
        Some((_, agent)) => agentd_kit::run(agent()),
        None => {
            let names = AGENTS.map(|(known, _)| known).join(", ");
            // Nobody is left to tell if standard error is closed.
            writeln!(
                std::io::stderr(),
                "{name}: no agent has this name; agentd starts this program as one of {names}"
            )
            .ok();
            ExitCode::from(2)
        }
    }
}
