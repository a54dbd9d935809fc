//! The monitor agent: measures the machine and the agents themselves every ten seconds, for
//! `agentctl metrics`, and says when CPU, memory or an agent's own memory runs short.
//!
//! Everything is read from files of the kernel; no process is started and none is looked at one by
//! one. Rates are taken between two runs of a check, so the first run of each has none. What a
//! rising value means for services, links or disks is left to the other agents.
#![forbid(unsafe_code)]

mod agents;
mod cpu;
mod disks;
mod links;
mod memory;
mod pressure;
mod rate;

use agentd_kit::{Agent, Defaults, clock};

/// All that is measured is measured at one pace: the store keeps a point a minute.
const PACE: Defaults = Defaults::every(clock::seconds(10)).timeout(clock::seconds(3));

/// A file of the kernel is not as the kernel writes it.
#[derive(Debug, thiserror::Error)]
#[error("{file} is not as the kernel writes it")]
struct FormatError {
    file: String,
}

impl FormatError {
    fn of(file: impl Into<String>) -> Self {
        Self { file: file.into() }
    }
}

/// The agent with its checks.
pub fn agent() -> Agent {
    Agent::new("monitor", env!("CARGO_PKG_VERSION"))
        .check(cpu::check())
        .check(memory::check())
        .check(pressure::check())
        .check(disks::check())
        .check(links::check())
        .check(agents::check())
}

#[cfg(test)]
mod machine;
