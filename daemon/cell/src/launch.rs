//! agentd's side of a start: one plain spawn of the launcher.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agentd_model::AgentName;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::{Plan, handover};

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
    /// Its pid. Reaping it (`waitid(P_PIDFD)`) is the caller's.
    pub pid: i32,
    /// Readable once the process has ended.
    pub pidfd: OwnedFd,
    /// Readable once the plan was applied or has failed; then call [`handover::read_status`]. A
    /// socket, blocking as such; `read_status` does not block.
    pub status: OwnedFd,
}

/// The launcher could not be started. There is no process.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The plan or the descriptors could not be handed over.
    #[error("cannot hand the plan of {agent} to its launcher")]
    HandOver {
        /// Whose.
        agent: AgentName,
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

/// Starts `program` (agentd-launch) on `plan` and returns at once; see [`handover`] for how it
/// learns of it. The control group of the plan must exist ([`crate::cgroup::Leaf::create`]), and
/// `channel` must be given exactly if [`Plan::wants_channel`]. Nobody else in this process may reap
/// children it does not know (`waitpid(-1)`) or ignore SIGCHLD: the pid must stay this child's until
/// the pidfd is open.
pub fn launch(
    program: &Path,
    plan: &Plan,
    output: Output,
    channel: Option<Channel<'_>>,
) -> Result<Launched, LaunchError> {
    let (status, launcher) = hand_over(plan, channel)
        .map_err(|source| LaunchError::HandOver { agent: plan.agent.clone(), source })?;
    let mut child = command(program)
        .arg(plan.agent.as_str())
        .env_clear()
        .current_dir("/")
        .stdin(launcher)
        .stdout(output.stdout)
        .stderr(output.stderr)
        .spawn()
        .map_err(|source| LaunchError::Spawn { program: program.to_owned(), source })?;
    match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        Ok(pidfd) => {
            let pid = Pid::from_child(&child).as_raw_pid();
            Ok(Launched { pid, pidfd, status })
        }
        Err(error) => {
            let pid = Pid::from_child(&child).as_raw_pid();
            // A child that nobody could watch must not live. It is ours, so both calls only fail
            // if it has ended already.
            child.kill().and_then(|()| child.wait()).ok();
            Err(LaunchError::PidFd { pid, source: error.into() })
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place where agentd starts a program: the launcher, with an empty environment"
)]
fn command(program: &Path) -> Command {
    Command::new(program)
}

/// agentd's end of the pair, and the launcher's with the plan already in it.
fn hand_over(plan: &Plan, channel: Option<Channel<'_>>) -> io::Result<(OwnedFd, Stdio)> {
    let kind = SocketType::SEQPACKET;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    handover::send_plan(&ours, plan, channel.map(|c| [c.to_agentd, c.to_agent]))?;
    Ok((ours, theirs.into()))
}
