//! The agents of this appliance: one program under several names, so that they share its pages.
//!
//! The name it is started under (the last part of `argv[0]`) says which agent it is.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Exit status for a name that is no agent's.
const UNKNOWN_NAME: u8 = 2;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default().to_string_lossy();
    match agentd_agents::agent(&name) {
        Some(agent) => agentd_kit::run(agent),
        None => {
            let text = format!(
                "{name}: no agent has this name; agentd starts this program as one of {}\n",
                agentd_agents::NAMES.join(", ")
            );
            // If standard error is closed, there is nobody left to tell.
            std::io::stderr().write_all(text.as_bytes()).ok();
            ExitCode::from(UNKNOWN_NAME)
        }
    }
}
