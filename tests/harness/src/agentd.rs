//! The real agentd, running in a scratch directory as a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use agentd_protocol::control::{Version, kind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Client;
use crate::process;
use crate::programs::{command, programs};
use crate::scratch::{Scratch, show_tail};
use crate::wait::{LIMIT, wait_for};

/// An agentd that runs. When dropped it is killed, with all of its agents; when a test fails its log
/// is shown.
#[derive(Debug)]
pub struct Agentd {
    child: Child,
    dir: PathBuf,
    root: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    /// Number of the event that says that this agentd started.
    began: u64,
}

impl Agentd {
    /// Starts one and waits until it answers.
    #[track_caller]
    pub fn start(scratch: &Scratch) -> Self {
        let mut agentd = Self::spawn(scratch, &[]);
        agentd.wait_answer();
        agentd
    }

    /// Starts one with these arguments, and waits for nothing.
    pub fn spawn(scratch: &Scratch, arguments: &[&str]) -> Self {
        Self::spawn_with(scratch, arguments, &[])
    }

    /// The same with these variables in its environment, which is empty but for them.
    pub fn spawn_with(scratch: &Scratch, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let log = scratch.beside("agentd.log");
        let output = File::options()
            .append(true)
            .create(true)
            .open(&log)
            .expect("the log of agentd can be written");
        let child = Self::command(scratch, arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a descriptor can be copied"))
            .stderr(output)
            .spawn()
            .expect("agentd can be started");
        Self {
            child,
            dir: scratch.dir().to_owned(),
            root: scratch.paths().root().to_owned(),
            socket: scratch.paths().control_socket(),
            log,
            began: 0,
        }
    }

    /// The command that starts one, for tests of the command itself.
    pub fn command(scratch: &Scratch, arguments: &[&str]) -> Command {
        let mut command = command(&programs().agentd);
        // What systemd or a developer's shell says must not change what is tested.
        command.env_clear().arg("--root").arg(scratch.paths().root()).args(arguments);
        command
    }

    /// Waits until it answers on its socket. One left by another agentd does not count.
    #[track_caller]
    pub fn wait_answer(&mut self) {
        wait_for("agentd to answer", LIMIT, || {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                panic!("agentd ended with {status} instead of answering");
            }
            let version = self.try_version().map_err(|err| err.to_string())?;
            if version.pid == self.pid() { Ok(()) } else { Err(format!("{version:?} answers")) }
        });
        self.began = self.find_beginning();
    }

    fn try_version(&self) -> anyhow::Result<Version> {
        let mut client = Client::connect(&self.socket)?;
        Ok(client.call("org.agentos.Manager.Version", &serde_json::json!({}))?)
    }

    fn find_beginning(&self) -> u64 {
        let pid = self.pid().to_string();
        let events = self.last_events(1000);
        let began = events.iter().rfind(|event| {
            event.kind == kind::AGENTD
                && event.fields.get("pid") == Some(&pid)
                && event.fields.contains_key("version")
        });
        began.unwrap_or_else(|| panic!("no event says that agentd started: {events:?}")).seq
    }

    /// Number of the event that says that this agentd started.
    pub fn began(&self) -> u64 {
        self.began
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid fits")
    }

    /// A new connection to its socket.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(&self.socket).unwrap_or_else(|err| panic!("cannot connect: {err}"))
    }

    /// The path of its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it has logged, what earlier ones in the same directory logged included.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("agentd has a log")).into_owned()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("agentd runs");
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        wait_for("agentd to end", limit, || {
            self.child.try_wait().expect("a child can be waited for").ok_or("it runs")
        })
    }

    /// Tells it to stop and waits until it has: it must end with success.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.wait_end(LIMIT);
        assert!(status.success(), "agentd ended with {status}");
    }

    /// Kills it as a crash would. Its agents are left as they are.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().expect("a child can be waited for");
    }
}

impl Drop for Agentd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_tail(&self.log, 60);
            Scratch::show_agent_logs(&self.root);
        }
        // Ended by the test already, with its agents in whatever state the test wants them.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        self.child.kill().ok();
        self.child.wait().ok();
        process::kill_below(&self.dir);
    }
}
