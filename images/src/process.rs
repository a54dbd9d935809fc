//! A QEMU that runs: started, watched, and ended with certainty.
//!
//! A thread of its own starts it and waits for it, because the kernel ends it with the thread that
//! started it (see `qemu::bound_to_this_thread`) and the caller may be a test's thread.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::exec::{ExecError, Program, pid_of};
use crate::interrupt;
use crate::qemu;

/// A started QEMU. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    ended: Receiver<Option<ExitStatus>>,
    status: Option<Option<ExitStatus>>,
    keeper: Option<JoinHandle<()>>,
    said: PathBuf,
}

impl Process {
    /// Starts it with what it says (not the guest) kept in `folder`.
    pub(crate) fn start(program: &Program, folder: &Path) -> Result<Self, ExecError> {
        let said = folder.join("qemu.log");
        let program = qemu::bound_to_this_thread(program);
        let log = File::create(&said)
            .map_err(|source| ExecError::Log { command: program.to_string(), source })?;
        let (tell_start, started) = mpsc::channel();
        let (tell_end, ended) = mpsc::channel();
        let keeper = thread::spawn(move || {
            let again = log
                .try_clone()
                .map_err(|source| ExecError::Log { command: program.to_string(), source });
            let spawned = again.and_then(|again| program.spawn(log.into(), again.into()));
            let mut child = match spawned {
                Ok(child) => child,
                Err(err) => {
                    let _caller_is_gone = tell_start.send(Err(err));
                    return;
                }
            };
            let registered = interrupt::Child::register(pid_of(&child));
            let _caller_is_gone = tell_start.send(Ok(pid_of(&child)));
            let status = child.wait().ok();
            drop(registered);
            let _caller_is_gone = tell_end.send(status);
        });
        let pid = started.recv().expect("the thread above always tells")?;
        Ok(Self { pid, ended, status: None, keeper: Some(keeper), said })
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.wait(Duration::ZERO).is_none()
    }

    /// Waits for its end, but not for longer than `limit`. `None` if it still runs; the inner
    /// `None` if how it ended is not known.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = match self.ended.recv_timeout(limit) {
                Ok(status) => Some(status),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(None),
            };
        }
        self.status
    }

    /// Ends it at once, as a power cut would end the machine.
    pub(crate) fn kill(&mut self) {
        if self.is_running() {
            let _gone_already = killpg(self.pid, Signal::SIGKILL);
        }
        if let Some(keeper) = self.keeper.take() {
            let _joined = keeper.join();
        }
    }

    /// The processor time that it has used, by itself and for itself (proc_pid_stat(5), `utime` and
    /// `stime`). `None` once it has ended.
    pub(crate) fn processor_time(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        // The name may hold anything, but the last parenthesis ends it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        // Linux counts a hundred of these a second on every architecture that we run on (time(7)).
        Some(Duration::from_millis((user + system) * 10))
    }

    /// What QEMU itself complained about.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
