//! agentd-launch: takes a plan from agentd, applies it op by op and becomes the agent.
//!
//! It decides nothing: what is done, and in which order, stands in the plan. It runs with agentd's
//! rights and one thread, knows no other input than the packet on its standard input, and ends at
//! the first op that fails, which it names to agentd. An exit status below is only for a person who
//! looks; agentd goes by the packet.
#![forbid(unsafe_code)]

mod apply;
mod mounts;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use agentd_cell::{Plan, handover, sys};
use nix::sys::stat::{Mode, umask};
use rustix::io::fcntl_dupfd_cloexec;

use apply::Cell;

/// Not started by agentd, or not as it should be.
const NO_PLAN: u8 = 125;
/// An op failed.
const NOT_APPLIED: u8 = 126;

fn main() -> ExitCode {
    let (status, plan, channel) = match take_over() {
        Ok(taken) => taken,
        Err(error) => {
            let text = "agentd-launch: agentd starts this program, with a plan on standard input";
            writeln!(io::stderr(), "{text}: {error}").ok();
            return ExitCode::from(NO_PLAN);
        }
    };
    let mut cell = Cell::new(channel);
    for op in &plan.ops {
        if let Err(error) = cell.apply(op) {
            // If agentd is gone there is nobody to tell.
            handover::send_failure(&status, &op.to_string(), &error.to_string()).ok();
            return ExitCode::from(NOT_APPLIED);
        }
    }
    handover::send_failure(&status, "run the agent", "the plan does not end with it").ok();
    ExitCode::from(NOT_APPLIED)
}

/// Takes the plan and puts what the launcher owns out of the way of what the agent gets.
fn take_over() -> io::Result<(OwnedFd, Plan, Vec<OwnedFd>)> {
    let (plan, received) = handover::receive_plan(io::stdin())?;
    let status = own(io::stdin())?;
    let channel = received.into_iter().map(own).collect::<io::Result<_>>()?;
    sys::duplicate_to(own(File::open("/dev/null")?)?, 0)?;
    // Mount points in the new root are for everyone, whatever agentd's own mask is.
    umask(Mode::from_bits_truncate(0o022));
    Ok((status, plan, channel))
}

fn own(fd: impl AsFd) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(fd, sys::FIRST_OWN)?)
}
