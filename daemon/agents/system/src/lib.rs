//! The system agent: whether the machine as a whole does its work.
//!
//! It looks at failed systemd units, pressure and load, processes killed for lack of memory, the
//! clock and the last shutdown. It changes nothing; what it keeps over a reboot lies in a folder of
//! its own below `/var/lib/agentos`.
#![forbid(unsafe_code)]

mod load;
mod oom;
mod pressure;
mod shutdown;
mod state;
mod time_sync;
mod units;

use agentd_kit::Agent;

/// The agent's own folder: `write` in its file, and it must exist.
const STATE: &str = "/var/lib/agentos/system";

/// The agent with its checks.
pub fn agent() -> Agent {
    let agent = Agent::new("system", env!("CARGO_PKG_VERSION"))
        .check(load::check())
        .check(oom::check())
        .check(time_sync::check())
        .check(shutdown::check())
        .check(units::check())
        .at_stop(shutdown::stopped);
    pressure::checks().into_iter().fold(agent, Agent::check)
}
