//! agentd: the daemon that supervises the agents.
//!
//! ```text
//!  varlink ─┐                        ┌─ launcher: a task per process ── agentd-launch ── agent
//!           ├─ Control ── requests ─►│                                                   │
//!  D-Bus  ──┘     ▲                  owner (the one task)  ◄── channel: a task each ─────┘
//!                 └── snapshot ◄─────│
//!                                    └─ recorder ─► journal, followers, memory, archive ─► store
//! ```
//!
//! The program is in `main.rs`; this library is its parts, so that documentation and tests reach
//! them.

pub mod archive;
pub mod caller;
pub mod channel;
pub mod clock;
pub mod config;
pub mod control;
pub mod front;
pub mod launcher;
pub mod news;
pub mod output;
pub mod owner;
pub mod polkit;
pub mod record;
pub mod sys;
pub mod systemd;
mod tally;
mod wire;
