//! What crosses a process border: varlink frames and messages, the control interface that people
//! and programs use, the channel between agentd and an agent, and the one list of error codes.
//!
//! The interface files in `varlink/` are the contract; the types here say the same in Rust, and a
//! test holds them together. Sockets, rights and agents are left to others.
#![forbid(unsafe_code)]

pub mod channel;
pub mod code;
pub mod control;
pub mod frame;
pub mod idl;
pub mod message;

pub use code::Code;
pub use frame::{FrameError, Frames};
pub use message::{Call, Reply};
