//! What tests of a whole agentd are written with.
//!
//! A [`Scratch`] is a directory that agentd takes for the machine; an [`Agentd`] is the real program
//! running in one; a [`Client`] speaks to its control socket. The program `fake-agent` is an agent
//! that does what it is told ([`Scratch::fake`]). Nothing needs root, systemd or a control group, and
//! any number of tests run beside each other.
//!
//! What must hold: nothing waits for a time, only for a condition ([`wait_for`]); a failure says what
//! was last seen and shows agentd's log and those of its agents, so that nobody has to run it again
//! to learn why; whatever a test does, nothing that it started outlives it.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "used by tests only, where a panic is how a failure is told; clippy sees a library"
)]

mod agentd;
mod ask;
mod client;
mod history;
mod host;
mod process;
mod programs;
mod scratch;
mod spec;
mod wait;

pub use agentd::Agentd;
pub use client::{CallError, Client, Stream};
pub use history::{Step, phases};
pub use host::dbus_daemon;
pub use process::{descriptors_of, is_alive, memory_kib, state_of};
pub use programs::{Programs, output_of, programs};
pub use scratch::Scratch;
pub use spec::Spec;
pub use wait::{LIMIT, clock, wait_for};
