//! Runs agents through the real launcher.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use agentd_cell::{
    CgroupBase, Channel, HostFacts, LaunchFailure, Launched, Mode, Op, Output, Plan, Started,
    launch, plan, read_status,
};
use agentd_model::AgentSpec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use tempfile::TempDir;

pub(crate) const LAUNCHER: &str = env!("CARGO_BIN_EXE_agentd-launch");

/// Where agents are run from: facts of this machine, users that no one has, and a folder that
/// stands in for the control group (the launcher only writes to a file in it).
pub(crate) struct Bed {
    pub(crate) facts: HostFacts,
    pub(crate) dir: TempDir,
}

/// How an agent ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) started: Started,
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    #[allow(dead_code, reason = "shown, with the rest, when a test fails")]
    pub(crate) stderr: String,
}

/// A started agent. Dropping it kills it.
pub(crate) struct Running {
    launched: Launched,
    stdout: File,
    stderr: File,
}

impl Bed {
    /// For what needs no root.
    pub(crate) fn anywhere() -> Self {
        let mut facts = HostFacts::gather().unwrap();
        facts.cgroup = None;
        Self { facts, dir: tempfile::tempdir().unwrap() }
    }

    /// For what needs root. Without it `None`, and it says so past the test's captured output.
    pub(crate) fn as_root(test: &str) -> Option<Self> {
        let mut bed = Self::anywhere();
        if !bed.facts.capabilities.contains("CAP_SYS_ADMIN") {
            let text = "needs root and was NOT run: run the tests as root";
            let text = format!("agentd-cell: {test} {text}\n");
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            return None;
        }
        bed.facts.users.insert("agentos-network".into(), crate::support::IDS);
        bed.facts.groups.insert("systemd-journal".into(), crate::support::EXTRA_GID);
        bed.facts.paths.insert("/".into());
        bed.facts.paths.insert("/proc".into());
        bed.facts.cgroup =
            Some(CgroupBase { dir: bed.dir.path().to_owned(), controllers: [].into() });
        let leaf = bed.dir.path().join("agents/network");
        fs::create_dir_all(&leaf).unwrap();
        File::create(leaf.join("cgroup.procs")).unwrap();
        // mkdtemp(3) makes it 0700, and the agent is not its owner.
        allow_all(bed.dir.path());
        Some(bed)
    }

    pub(crate) fn joined(&self) -> String {
        fs::read_to_string(self.dir.path().join("agents/network/cgroup.procs")).unwrap()
    }

    pub(crate) fn plan(&self, spec: &AgentSpec, mode: Mode) -> Plan {
        plan(spec, &self.facts, mode).unwrap()
    }

    pub(crate) fn start(&self, plan: &Plan, channel: Option<Channel<'_>>) -> Running {
        let file = || tempfile::tempfile_in(self.dir.path()).unwrap();
        let (stdout, stderr) = (file(), file());
        let copy = |file: &File| -> OwnedFd { file.try_clone().unwrap().into() };
        let output = Output { stdout: copy(&stdout), stderr: copy(&stderr) };
        let launched = launch(Path::new(LAUNCHER), plan, output, channel).unwrap();
        Running { launched, stdout, stderr }
    }

    /// Runs a spec to its end.
    pub(crate) fn run(&self, spec: &AgentSpec, mode: Mode) -> Ended {
        self.start(&self.plan(spec, mode), None).end()
    }

    /// Runs a shell script in the cell of `spec`; it must end well.
    pub(crate) fn shell(&self, spec: &AgentSpec, mode: Mode, script: &str) -> String {
        let mut spec = spec.clone();
        spec.exec = ["/usr/bin/sh", "-c", script].map(str::to_owned).into();
        let ended = self.run(&spec, mode);
        assert_eq!((&ended.started, ended.status), (&Started::Done, Some(0)), "{ended:?}");
        ended.stdout
    }
}

impl Running {
    pub(crate) fn pid(&self) -> i32 {
        self.launched.pid
    }

    /// What became of the launch, once it is known.
    pub(crate) fn started(&self) -> Started {
        readable(&self.launched.status);
        read_status(&self.launched.status).unwrap()
    }

    pub(crate) fn end(mut self) -> Ended {
        let started = self.started();
        let options = WaitIdOptions::EXITED;
        readable(&self.launched.pidfd);
        let status = waitid(WaitId::PidFd(self.launched.pidfd.as_fd()), options).unwrap().unwrap();
        let read = |file: &mut File| {
            let mut text = String::new();
            std::io::Seek::rewind(file).unwrap();
            file.read_to_string(&mut text).unwrap();
            text
        };
        let (stdout, stderr) = (read(&mut self.stdout), read(&mut self.stderr));
        Ended { started, status: status.exit_status(), stdout, stderr }
    }
}

impl Ended {
    pub(crate) fn failure(&self) -> &LaunchFailure {
        match &self.started {
            Started::Failed(failure) => failure,
            Started::Done => panic!("nothing failed: {self:?}"),
        }
    }
}

fn readable(fd: &OwnedFd) {
    let limit = Timespec { tv_sec: 20, tv_nsec: 0 };
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&limit)).unwrap(), 1, "nothing within 20 s");
}

pub(crate) fn allow_all(path: &Path) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
}

/// Puts `op` in the place of the first one for which `is_it`.
pub(crate) fn replace(plan: &mut Plan, is_it: impl Fn(&Op) -> bool, op: Op) {
    *plan.ops.iter_mut().find(|op| is_it(op)).unwrap() = op;
}
