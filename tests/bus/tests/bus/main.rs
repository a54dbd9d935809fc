//! agentd on the bus: a real dbus-daemon with the rules that the image has, a real agentd, callers
//! of several users, and a polkit that the test plays.
//!
//! Each test has a bus, an agentd and a directory of its own. Callers of other users, and a group
//! `agentos` for them to be in, take root (and leave to make a mount namespace): where that is
//! missing, a test that needs it says past its captured output that it was not run. The others run
//! as anyone, who then stands where root stands on an appliance.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of it is tests; clippy sees that only inside a function that is marked as one"
)]

mod access;
mod agree;
mod bed;
mod errors;
mod flood;
mod loss;
mod peer;
mod played;
mod polkit;
mod shape;
mod signals;
