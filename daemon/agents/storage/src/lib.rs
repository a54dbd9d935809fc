//! The storage agent: whether there is room, and whether the disks can be trusted with it.
//!
//! Six checks, each in its file: space, inodes, file systems that stopped taking writes, errors that
//! the kernel tells of, the journal's own size, and the disks' own verdict. What each raises and when
//! is told in its header and, for a site, in `configs/agents.d/storage.toml`.
//!
//! It reads; it changes nothing, and needs no capability and no device: the group `systemd-journal` and
//! a read-only view of the machine. What must hold: a file system that hangs hangs a thread and never
//! the agent, and what could not be measured never looks healthy.
#![forbid(unsafe_code)]

mod block_errors;
mod journal_size;
mod kernel_log;
mod mount;
mod read_only;
mod recorded;
mod smart;
mod smart_report;
mod usage;

use agentd_kit::{Agent, Check};

/// The agent, ready to be run.
pub fn agent() -> Agent {
    Agent::new("storage", env!("CARGO_PKG_VERSION"))
        .check(Check::blocking(
            "space",
            "how full each real file system is",
            usage::DEFAULTS,
            usage::run_space,
        ))
        .check(Check::blocking(
            "inodes",
            "how many inodes of each real file system are used",
            usage::DEFAULTS,
            usage::run_inodes,
        ))
        .check(Check::new(
            "read-only",
            "no file system stopped taking writes",
            read_only::DEFAULTS,
            read_only::run,
        ))
        .check(Check::new(
            "block-errors",
            "errors of disks and file systems that the kernel tells of",
            block_errors::DEFAULTS,
            block_errors::run,
        ))
        .check(Check::blocking(
            "journal-size",
            "room that the journal takes",
            journal_size::DEFAULTS,
            journal_size::run,
        ))
        .check(Check::new(
            "smart",
            "what the disks say of their own health",
            smart::DEFAULTS,
            smart::run,
        ))
}
