//! The real agentd, in a scratch directory, with real processes as its agents.
//!
//! Each test has an agentd and a directory of its own, so all of them run beside each other. Where a
//! test says what happened it says all of it: the whole way of an agent through its phases, not only
//! its end.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "all of it is tests; clippy sees that only inside a function that is marked as one"
)]

mod config;
mod death;
mod events;
mod figures;
mod findings;
mod flood;
mod hang;
mod hostile;
mod leftover;
mod log;
mod metrics;
mod order;
mod reload;
mod request;
mod restart;
mod service;
mod socket;
mod start;
mod store;

/// One start and no more: an agent that fails is given up at once, so that its history is short.
const ONCE: &str = "budget = { starts = 1, within = \"1h\" }";

/// The way of an agent that starts without trouble.
const UP: [&str; 4] = ["waiting", "spawning", "starting", "running"];
