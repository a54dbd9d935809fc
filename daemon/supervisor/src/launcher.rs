//! From a spec to a running process, and from its end to an empty control group.
//!
//! One task minds one process: it has the plan made and launched on a blocking thread, tells the
//! owner how that went, waits for the end, makes sure that nothing is left, and only then tells the
//! exit. So a phase without a process really has none.

mod group;

use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentd_cell::cgroup::Leaf;
use agentd_cell::{self as cell, HostFacts, Launched, Mode, Plan, Started};
use agentd_model::{AgentName, AgentSpec, Chain, ExitStatus, Paths, Pid};
use nix::unistd::{User, chown};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::net::UnixStream;

use crate::channel::Ends;
use crate::news::{ProcessNews, Teller};
use crate::{output, sys};

/// A launcher that says nothing for this long hangs in an operation.
const LAUNCH_LIMIT: Duration = Duration::from_secs(10);
/// How often a killed control group is looked at until it is empty.
const EMPTY_POLL: Duration = Duration::from_millis(2);
/// After so many looks, ten seconds, what is left hangs in the kernel: it is told and then looked
/// at less often.
const EMPTY_POLLS: u32 = 5000;
const EMPTY_SLOW: Duration = Duration::from_secs(1);
/// For a process whose status the kernel did not give: never a success.
const UNKNOWN_EXIT: ExitStatus = ExitStatus::Exited(i32::MAX);

/// Makes processes of agents.
#[derive(Debug)]
pub struct Launcher {
    program: PathBuf,
    mode: Mode,
    paths: Paths,
    facts: Mutex<HostFacts>,
}

impl Launcher {
    /// Uses the launcher program `program`, on the machine that `facts` describe.
    pub fn new(program: PathBuf, mode: Mode, paths: Paths, facts: HostFacts) -> Self {
        Self { program, mode, paths, facts: Mutex::new(facts) }
    }

    /// What would be done to start `spec` now. Reads files; not for an async thread.
    pub fn plan(&self, spec: &AgentSpec) -> Result<Plan, String> {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        facts.look_at(spec).map_err(|err| Chain(&err).to_string())?;
        cell::plan(spec, &facts, self.mode).map_err(|err| Chain(&err).to_string())
    }

    /// The user an agent runs as here.
    pub fn user_of(&self, spec: &AgentSpec) -> String {
        match self.mode {
            Mode::Appliance => spec.cell.user.clone(),
            Mode::Scratch => {
                let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
                format!("uid {}", facts.euid)
            }
        }
    }

    /// The control group of `agent`, where there are any.
    pub fn cgroup_of(&self, agent: &AgentName) -> Option<PathBuf> {
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let base = facts.cgroup.as_ref()?;
        Some(base.dir.join("agents").join(agent.as_str()))
    }

    /// Kills what an agentd that died left behind in the control groups of its agents, as long as
    /// it cannot be taken over. Answers how many groups held processes.
    pub fn clear_leftovers(&self) -> io::Result<usize> {
        let base = {
            let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
            facts.cgroup.as_ref().map(|base| base.dir.join("agents"))
        };
        let Some(base) = base else { return Ok(0) };
        let entries = match std::fs::read_dir(&base) {
            Ok(entries) => entries,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(err) => return Err(err),
        };
        let mut held = 0;
        for entry in entries.filter_map(Result::ok) {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let leaf = Leaf::existing(entry.path());
            if leaf.is_populated().map_err(io::Error::other)? {
                held += 1;
                leaf.kill().map_err(io::Error::other)?;
            }
        }
        Ok(held)
    }

    /// Starts a process of `spec` in a task of its own. Everything about it goes to `teller`.
    pub fn start(self: &Arc<Self>, spec: Arc<AgentSpec>, teller: Teller) {
        let launcher = Arc::clone(self);
        tokio::spawn(async move {
            let what = match launcher.run(spec, &teller).await {
                Ok(status) => ProcessNews::Exited(status),
                Err(why) => ProcessNews::NotSpawned(why),
            };
            teller.tell(what).await;
        });
    }

    /// An agent that may write to `/var/lib/agentos/NAME` finds it made, and its own.
    fn make_state(&self, spec: &AgentSpec) -> io::Result<()> {
        let dir = self.paths.state().join(spec.name.as_str());
        if self.mode != Mode::Appliance || !spec.cell.write.contains(&dir) {
            return Ok(());
        }
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        // Each time: a folder that came from elsewhere may be somebody else's. A user that does
        // not exist is told by the plan.
        if let Some(user) = User::from_name(&spec.cell.user)? {
            chown(&dir, Some(user.uid), Some(user.gid))?;
        }
        Ok(())
    }

    async fn run(
        self: &Arc<Self>,
        spec: Arc<AgentSpec>,
        teller: &Teller,
    ) -> Result<ExitStatus, String> {
        let launcher = Arc::clone(self);
        let attempt = tokio::task::spawn_blocking(move || launcher.launch(&spec)).await;
        let attempt = attempt.map_err(|err| format!("the launch was broken off: {err}"))??;
        let Attempt { launched, ends, leaf } = attempt;
        let Launched { pid, pidfd, status } = launched;
        let pidfd = Arc::new(pidfd);
        let begun = tokio::time::timeout(LAUNCH_LIMIT, started(status)).await;
        let begun = match begun {
            Ok(Ok(Started::Done)) => Ok(()),
            Ok(Ok(Started::Failed(failure))) => Err(failure.to_string()),
            Ok(Err(err)) => Err(format!("the launcher's answer cannot be read: {err}")),
            Err(_elapsed) => {
                Err(format!("the launcher gave no answer for {} s", LAUNCH_LIMIT.as_secs()))
            }
        };
        if let Err(why) = begun {
            if let Err(err) = kill(&pidfd) {
                tracing::error!(pid, %err, "failed launcher was not killed");
            }
            finish(&pidfd, pid, leaf.as_ref()).await;
            return Err(why);
        }
        let known = Pid::new(pid).expect("a pid that the kernel gave out is positive");
        let spawned = ProcessNews::Spawned { pid: known, pidfd: Arc::clone(&pidfd), ends };
        teller.tell(spawned).await;
        Ok(finish(&pidfd, pid, leaf.as_ref()).await)
    }

    fn launch(&self, spec: &AgentSpec) -> Result<Attempt, String> {
        self.make_state(spec).map_err(|err| format!("cannot make its state folder: {err}"))?;
        let plan = self.plan(spec)?;
        let leaf = plan.cgroup.as_ref().map(Leaf::create).transpose();
        let leaf = leaf.map_err(|err| Chain(&err).to_string())?;
        let output = output::open(&spec.name, &self.paths, Path::new(output::JOURNAL_STREAM))
            .map_err(|err| Chain(&err).to_string())?;
        // What can fail comes before the launch: a process that this function did not tell of would
        // be nobody's.
        let (launched, ends) = if spec.kit {
            let (ends, theirs) =
                channel().map_err(|err| format!("cannot make a channel: {err}"))?;
            let theirs =
                cell::Channel { to_agentd: theirs[0].as_fd(), to_agent: theirs[1].as_fd() };
            (cell::launch(&self.program, &plan, output, Some(theirs)), Some(ends))
        } else {
            (cell::launch(&self.program, &plan, output, None), None)
        };
        let launched = launched.map_err(|err| Chain(&err).to_string())?;
        Ok(Attempt { launched, ends, leaf })
    }
}

/// agentd's ends of a channel, and the agent's: its descriptors 3 and 4.
fn channel() -> io::Result<(Ends, [StdUnixStream; 2])> {
    let (from_agent, to_agentd) = StdUnixStream::pair()?;
    let (to_agent, at_agent) = StdUnixStream::pair()?;
    from_agent.set_nonblocking(true)?;
    to_agent.set_nonblocking(true)?;
    let ends = Ends {
        from_agent: UnixStream::from_std(from_agent)?,
        to_agent: UnixStream::from_std(to_agent)?,
    };
    Ok((ends, [to_agentd, at_agent]))
}

struct Attempt {
    launched: Launched,
    ends: Option<Ends>,
    leaf: Option<Leaf>,
}

/// Waits until the plan was applied or has failed.
async fn started(status: OwnedFd) -> io::Result<Started> {
    let status = sys::readable(Arc::new(status))?;
    loop {
        let mut guard = status.readable().await?;
        match cell::read_status(status.get_ref()) {
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
            answer => return answer,
        }
    }
}

/// Sends SIGKILL to the process itself.
pub fn kill(pidfd: &OwnedFd) -> io::Result<()> {
    signal(pidfd, Signal::KILL)
}

/// Whether the process has ended, reaped or not (pidfd_open(2): readable then).
pub fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Sends SIGTERM to the process itself.
pub fn terminate(pidfd: &OwnedFd) -> io::Result<()> {
    signal(pidfd, Signal::TERM)
}

fn signal(pidfd: &OwnedFd, signal: Signal) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(pidfd, signal) {
        // Ended and reaped: what the signal wanted.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// Waits for the end of the process, kills what it leaves behind, and reaps it. Does not answer
/// before nothing is left: a process that hangs in the kernel keeps its phase.
async fn finish(pidfd: &Arc<OwnedFd>, pid: i32, leaf: Option<&Leaf>) -> ExitStatus {
    if let Err(err) = ended(pidfd).await {
        tracing::error!(pid, %err, "process cannot be watched");
    }
    match leaf {
        Some(leaf) => empty(leaf).await,
        None => group::kill(pid),
    }
    let status = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    match leaf.map(Leaf::remove) {
        Some(Ok(())) => {}
        // It is made anew by the next start.
        Some(Err(err)) => tracing::debug!(err = %Chain(&err), "control group was left"),
        None => group::gone(pid).await,
    }
    match status {
        Ok(Some(status)) => exit_status(&status),
        Ok(None) => UNKNOWN_EXIT,
        Err(err) => {
            tracing::error!(pid, %err, "process cannot be reaped");
            UNKNOWN_EXIT
        }
    }
}

/// pidfd_open(2): readable once the process has ended.
async fn ended(pidfd: &Arc<OwnedFd>) -> io::Result<()> {
    let watched = sys::readable(Arc::clone(pidfd))?;
    drop(watched.readable().await?);
    Ok(())
}

async fn empty(leaf: &Leaf) {
    let mut polls: u32 = 0;
    loop {
        // Each time anew: one that forks while it is killed may be missed by a kernel before 5.14,
        // which has no `cgroup.kill`.
        let step = leaf
            .is_populated()
            .and_then(|populated| if populated { leaf.kill().map(|()| false) } else { Ok(true) });
        match step {
            Ok(true) => return,
            Ok(false) => {}
            Err(err) if polls == EMPTY_POLLS => {
                tracing::error!(err = %Chain(&err), "control group cannot be emptied");
            }
            Err(_) => {}
        }
        if polls == EMPTY_POLLS {
            tracing::error!(cgroup = %leaf.dir().display(), "control group does not get empty");
        }
        polls = polls.saturating_add(1);
        tokio::time::sleep(if polls > EMPTY_POLLS { EMPTY_SLOW } else { EMPTY_POLL }).await;
    }
}

fn exit_status(status: &rustix::process::WaitIdStatus) -> ExitStatus {
    match (status.exit_status(), status.terminating_signal()) {
        (_, Some(signal)) => ExitStatus::Signalled { signal, core: status.dumped() },
        (Some(code), None) => ExitStatus::Exited(code),
        // waitid was asked for ends only; the kernel has no third kind.
        (None, None) => UNKNOWN_EXIT,
    }
}

/// Whether this kernel can do what [`Launcher`] needs.
pub fn has_pidfd() -> bool {
    rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).is_ok()
}
