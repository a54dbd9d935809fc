//! The appliance's own initrd: one static program, run by the kernel as /init.
//!
//! It finds the two partitions, mounts the root read-only and the data partition on its /var, lets
//! the data partition grow into a larger disk, gives the machine its identity, and hands over to
//! systemd. Doing it here spares systemd the wait for udev to announce the disk, which is the
//! longest single wait of a boot under emulation.
//!
//! What must hold: the root is never mounted writable; state is only ever on the data partition;
//! a step that fails is named on the console and ends in a kernel panic, never in a hang. The
//! panic is the kernel's answer to this program ending, and the command line says what follows it.
//!
//! A root that is checked against a hash goes between `find` and `mount` of the root (see
//! `root.rs`); it is not here yet.
#![allow(clippy::print_stderr, reason = "the console is the only place this program can speak to")]

mod block;
mod clock;
mod error;
mod gpt;
mod grow;
mod identity;
mod root;
mod sys;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::clock::Clock;
use crate::error::BootError;

/// Where the appliance's root is put together before it becomes `/`.
const SYSROOT: &str = "/sysroot";

fn main() -> ExitCode {
    let Err(err) = boot(Clock::start());
    let mut text = format!("agentos-initrd: cannot start the appliance: {err}");
    let mut cause = std::error::Error::source(&err);
    while let Some(inner) = cause {
        // Writing to a String cannot fail.
        let _unfailing = write!(text, ": {inner}");
        cause = inner.source();
    }
    eprintln!("{text}");
    ExitCode::FAILURE
}

fn boot(clock: Clock) -> Result<Infallible, BootError> {
    root::mount_kernel_file_systems()?;
    let partitions = block::wait_for_partitions(&clock)?;
    let grown = grow::partition(&partitions.data);
    root::mount_disks(&partitions, Path::new(SYSROOT))?;
    // A data partition that stays small is a nuisance; a machine that does not start is worse.
    if let Err(err) = grown.and_then(|new| grow::file_system(new, &Path::new(SYSROOT).join("var")))
    {
        eprintln!("agentos-initrd: {err}; the data partition keeps its size");
    }
    identity::install(Path::new(SYSROOT))?;
    root::announce_var()?;
    root::record_timing(&clock)?;
    root::hand_over(Path::new(SYSROOT))
}
