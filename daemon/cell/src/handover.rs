//! What agentd and the launcher say to each other, over the launcher's standard input.

use serde::{Deserialize, Serialize};

/// An op failed: the agent was not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{op}: {error}")]
pub struct LaunchFailure {
    /// The op, as `agentctl explain` shows it.
    pub op: String,
    /// What the kernel said.
    pub error: String,
}

/// What became of a launch, read once the status descriptor is readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// Every op was done and the agent's program runs, or the launcher was killed from outside on
    /// the way; the pidfd tells the two apart.
    Done,
    /// An op failed; the process is ending.
    Failed(LaunchFailure),
}
