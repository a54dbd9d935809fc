//! The machine the scenarios share, and what they say to it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use agentd_protocol::control::{AgentList, AgentView, EventView, FindingList, FindingView};
use images::{BuildOptions, Image, Output, Progress, Vm, VmOptions, await_agents};
use libtest_mimic::Failed;
use serde::de::DeserializeOwned;

/// Longest time for one command. Everything here runs under emulation.
const COMMAND: Duration = Duration::from_secs(120);

/// A booted machine with all agents up.
pub(crate) struct Machine {
    vm: Vm,
}

impl Machine {
    pub(crate) fn boot() -> Result<Self, Failed> {
        let image = Image::build(&BuildOptions::default(), Progress::on_stderr())
            .map_err(|err| chain(&err))?;
        let mut vm = Vm::boot(&image, &VmOptions::default()).map_err(|err| chain(&err))?;
        await_agents(&mut vm).map_err(|err| chain(&err))?;
        Ok(Self { vm })
    }

    pub(crate) fn reboot(&mut self) {
        self.vm.reboot().unwrap_or_else(|err| panic!("{}", chain(&err)));
        await_agents(&mut self.vm).unwrap_or_else(|err| panic!("{}", chain(&err)));
    }

    /// Runs a script, whatever its status.
    pub(crate) fn try_run(&mut self, script: &str) -> Ran {
        let output = self.vm.run(script, COMMAND).unwrap_or_else(|err| panic!("{}", chain(&err)));
        Ran::new(script, &output)
    }

    /// Runs a script that must succeed, and answers its output.
    pub(crate) fn run(&mut self, script: &str) -> String {
        let ran = self.try_run(script);
        assert_eq!(ran.status, 0, "{ran}");
        ran.stdout
    }

    pub(crate) fn json<T: DeserializeOwned>(&mut self, script: &str) -> T {
        let text = self.run(script);
        serde_json::from_str(&text).unwrap_or_else(|err| panic!("{script}: {err}\n{text}"))
    }

    pub(crate) fn agents(&mut self) -> Vec<AgentView> {
        self.json::<AgentList>("agentctl list --json").agents
    }

    pub(crate) fn agent(&mut self, name: &str) -> AgentView {
        let agents = self.agents();
        let found = agents.into_iter().find(|agent| agent.name == name);
        found.unwrap_or_else(|| panic!("no agent is called {name}"))
    }

    pub(crate) fn findings(&mut self) -> Vec<FindingView> {
        self.json::<FindingList>("agentctl findings --json").findings
    }

    /// Events of an agent, oldest first.
    pub(crate) fn events(&mut self, agent: &str) -> Vec<EventView> {
        let lines = self.run(&format!("agentctl events {agent} -n 1000 --json"));
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|err| panic!("{err}: {line}"));
        lines.lines().map(parse).collect()
    }

    pub(crate) fn last_seq(&mut self) -> u64 {
        self.json::<AgentList>("agentctl list --json").seq
    }

    /// Does `work`, then runs `clean`, however `work` ended: the next scenario finds the machine as
    /// this one did.
    pub(crate) fn cleaned_by(&mut self, clean: &str, work: impl FnOnce(&mut Self)) {
        let done = catch_unwind(AssertUnwindSafe(|| work(self)));
        let cleaned = self.try_run(clean);
        if let Err(panic) = done {
            resume_unwind(panic);
        }
        assert_eq!(cleaned.status, 0, "{cleaned}");
    }

    /// Looks until `probe` answers; panics with what it last saw when `limit` is over. The machine
    /// is asked again and again: it has no other way to tell.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut probe: impl FnMut(&mut Self) -> Result<T, String>,
    ) -> T {
        let began = now();
        loop {
            match probe(self) {
                Ok(found) => return found,
                Err(saw) => {
                    let waited = began.elapsed();
                    assert!(waited < limit, "no {what} after {waited:?}; last saw: {saw}");
                }
            }
            // Looking costs the machine time, which it lacks under emulation.
            self.run("sleep 0.3");
        }
    }

    /// Waits for every agent to run healthy.
    pub(crate) fn wait_healthy(&mut self) {
        let ran = self.try_run("agentctl list --wait=60s");
        assert_eq!(ran.status, 0, "{ran}");
        let limit = Duration::from_secs(60);
        self.wait_for("healthy agents", limit, |machine| {
            let agents = machine.agents();
            let is_fine = |agent: &AgentView| agent.health.as_str() == "ok";
            if agents.iter().all(is_fine) { Ok(()) } else { Err(format!("{agents:#?}")) }
        });
    }

    /// The end of agentd's log, for whoever reads a failure.
    pub(crate) fn print_log(&mut self) {
        let script =
            "journalctl --no-pager -n 60 -o short-monotonic; agentctl list; agentctl doctor";
        match self.vm.run(script, COMMAND) {
            Ok(output) => print_stderr(&String::from_utf8_lossy(&output.stdout)),
            Err(err) => print_stderr(&chain(&err)),
        }
    }
}

/// What a script came to.
pub(crate) struct Ran {
    script: String,
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    fn new(script: &str, output: &Output) -> Self {
        Self {
            script: script.to_owned(),
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { script, status, stdout, stderr } = self;
        write!(f, "`{script}` ended with {status}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

/// An error with its causes.
pub(crate) fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        text.push_str(": ");
        text.push_str(&err.to_string());
        cause = err.source();
    }
    text
}

#[expect(clippy::disallowed_methods, reason = "the host's clock bounds what the machine may take")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::print_stderr, reason = "for whoever reads a failure")]
fn print_stderr(text: &str) {
    eprintln!("{text}");
}
