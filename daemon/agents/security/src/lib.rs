//! The security agent: whether this machine is still closed the way it was built.
//!
//! Five checks, each in its file: what listens, who failed to log in, who needs no password or is
//! another root, which programs run with other rights, and how the kernel is set. Each holds what it
//! sees against a declared list that the site may replace; what each raises and when is told in its
//! header and, for a site, in `configs/agents.d/security.toml`.
//!
//! It reads; it changes nothing, and needs no capability: the groups `shadow` and `systemd-journal`
//! and a read-only view of the machine. What must hold: every byte it reads may have been written by
//! an attacker, a list that cannot be read makes a check unknown and never clean, and memory is bounded
//! whatever lies on the disk.
#![forbid(unsafe_code)]

mod account;
mod declared;
mod holder;
mod listener;
mod login;
mod logins;
mod passwd;
mod setting;
mod setuid;
mod socket;
mod sysctl;
mod walk;

use agentd_kit::{Agent, Check};

/// The agent, ready to be run.
pub fn agent() -> Agent {
    Agent::new("security", env!("CARGO_PKG_VERSION"))
        .check(Check::new(
            "listeners",
            "only declared sockets wait for strangers",
            listener::DEFAULTS,
            listener::run,
        ))
        .check(Check::new(
            "logins",
            "failed logins in the last five minutes",
            logins::DEFAULTS,
            logins::run,
        ))
        .check(Check::new(
            "accounts",
            "only declared accounts have uid 0 or no password",
            account::DEFAULTS,
            account::run,
        ))
        .check(Check::blocking(
            "setuid",
            "only declared programs run with other rights than their caller's",
            setuid::DEFAULTS,
            setuid::run,
        ))
        .check(Check::new(
            "sysctl",
            "the kernel is set as tightly as declared",
            sysctl::DEFAULTS,
            sysctl::run,
        ))
}
