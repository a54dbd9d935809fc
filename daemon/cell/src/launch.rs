//! agentd's side of a start: one plain spawn of the launcher.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::{Plan, Started};

/// The agent's ends of its channel. Close agentd's copies after [`launch`].
#[derive(Clone, Copy, Debug)]
pub struct Channel<'a> {
    /// Becomes descriptor 3: the agent speaks, agentd answers.
    pub to_agentd: BorrowedFd<'a>,
    /// Becomes descriptor 4: agentd speaks, the agent answers.
    pub to_agent: BorrowedFd<'a>,
}

/// Where the agent's output goes.
#[derive(Debug)]
pub struct Output {
    /// Becomes descriptor 1.
    pub stdout: OwnedFd,
    /// Becomes descriptor 2.
    pub stderr: OwnedFd,
}

/// A launcher that is applying its plan, soon the agent itself: same pid, same pidfd.
#[derive(Debug)]
pub struct Launched {
    /// Its pid. Wait for it with `waitid(P_PIDFD)`: reaping is the caller's.
    pub pid: i32,
    /// Readable once the process has ended.
    pub pidfd: OwnedFd,
    /// Readable once the plan was applied or has failed; then call [`read_status`]. Non-blocking.
    pub status: OwnedFd,
}

/// The launcher could not be started. There is no process.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The plan or the descriptors could not be handed over.
    #[error("cannot hand the plan of {agent} to the launcher")]
    HandOver {
        /// Whose.
        agent: agentd_model::AgentName,
        /// Why.
        source: io::Error,
    },
    /// The launcher could not be run.
    #[error("cannot run {}", program.display())]
    Spawn {
        /// Which program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No pidfd could be had; the process was killed and reaped again.
    #[error("cannot open a pidfd for process {pid}")]
    PidFd {
        /// Of which process.
        pid: i32,
        /// Why.
        source: io::Error,
    },
}

/// Starts `program` (agentd-launch) on `plan`. The control group in the plan must exist
/// ([`crate::cgroup::Leaf::create`]). Does not wait for the agent. With `channel`, the plan must be
/// of a spec that speaks it (`kit`).
pub fn launch(
    _program: &Path,
    _plan: &Plan,
    _output: Output,
    _channel: Option<Channel<'_>>,
) -> Result<Launched, LaunchError> {
    todo!()
}

/// What became of a launch. `WouldBlock` if nothing is known yet.
pub fn read_status(_status: impl AsFd) -> io::Result<Started> {
    todo!()
}
