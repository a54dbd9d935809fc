//! `org.agentos.Agentd1.Agent`: one object per agent.
//!
//! D-Bus has no value for "none": a time, a process or a number that is not there is 0, a text
//! that is not there is empty.

use std::sync::Arc;

use agentd_protocol::control::{AgentView, CheckView};
use serde::Serialize;
use zbus::message::Header;
use zbus::{Type, interface};

use super::desk::Desk;
use super::door::Behind;
use super::{BusError, disposition};
use crate::owner::Verb;

/// One agent on the bus.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    desk: Desk,
    view: Arc<AgentView>,
    is_pinned: bool,
}

/// One check of an agent.
#[derive(Debug, Serialize, Type)]
struct CheckRow {
    name: String,
    summary: String,
    state: String,
    reason: String,
    every_ms: u64,
    last_ms: i64,
    took_ms: u64,
}

impl Agent {
    /// The agent of which `view` is a recent view.
    pub(super) fn new(desk: Desk, view: Arc<AgentView>) -> Self {
        Self { desk, view, is_pinned: false }
    }

    /// The agent as it was then.
    pub(super) fn as_of(desk: Desk, view: Arc<AgentView>) -> Self {
        Self { desk, view, is_pinned: true }
    }

    fn view(&self) -> Arc<AgentView> {
        if self.is_pinned {
            return Arc::clone(&self.view);
        }
        // One that has just been removed is shown as it was.
        let shown = self.desk.shown();
        let agent = shown.agents.values().find(|agent| agent.name == self.view.name);
        Arc::clone(agent.unwrap_or(&self.view))
    }

    async fn ask(&self, header: &Header<'_>, verb: Verb) -> Result<&'static str, BusError> {
        let caller = self.desk.caller(header).await?;
        Ok(disposition(self.desk.control.ask(&caller, verb, &self.view.name).await?))
    }
}

impl Behind for Agent {
    const QUIET: &'static [&'static str] = &["Checks"];

    fn pinned(&self) -> Self {
        Self::as_of(self.desk.clone(), self.view())
    }
}

#[interface(name = "org.agentos.Agentd1.Agent")]
impl Agent {
    /// Wants it up. Answers once the wish is taken: `accepted`, or `already_so`.
    #[zbus(out_args("disposition"))]
    async fn start(&self, #[zbus(header)] header: Header<'_>) -> Result<&'static str, BusError> {
        self.ask(&header, Verb::Start).await
    }

    /// Wants it down.
    #[zbus(out_args("disposition"))]
    async fn stop(&self, #[zbus(header)] header: Header<'_>) -> Result<&'static str, BusError> {
        self.ask(&header, Verb::Stop).await
    }

    /// Ends its process, if there is one, and wants it up.
    #[zbus(out_args("disposition"))]
    async fn restart(&self, #[zbus(header)] header: Header<'_>) -> Result<&'static str, BusError> {
        self.ask(&header, Verb::Restart).await
    }

    /// Has it started whenever agentd starts. Does not start it now.
    #[zbus(out_args("disposition"))]
    async fn enable(&self, #[zbus(header)] header: Header<'_>) -> Result<&'static str, BusError> {
        self.ask(&header, Verb::Enable).await
    }

    /// Has it no longer started when agentd starts. Does not stop it now.
    #[zbus(out_args("disposition"))]
    async fn disable(&self, #[zbus(header)] header: Header<'_>) -> Result<&'static str, BusError> {
        self.ask(&header, Verb::Disable).await
    }

    /// Its name.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> String {
        self.view().name.clone()
    }

    /// What it looks after, one line.
    #[zbus(property)]
    fn summary(&self) -> String {
        self.view().summary.clone()
    }

    /// `up` or `down`: what is wanted of it.
    #[zbus(property)]
    fn want(&self) -> String {
        self.view().want.clone()
    }

    /// Whether it is started when agentd starts.
    #[zbus(property)]
    fn enabled(&self) -> bool {
        self.view().enabled
    }

    /// Where its process is: `idle`, `waiting`, `spawning`, `starting`, `running`, `stopping`,
    /// `backoff` or `failed`.
    #[zbus(property)]
    fn phase(&self) -> &'static str {
        self.view().phase.as_str()
    }

    /// The phase in words, where one word says too little.
    #[zbus(property)]
    fn detail(&self) -> String {
        self.view().detail.clone().unwrap_or_default()
    }

    /// Since when it is in that phase, in milliseconds since the Unix epoch.
    #[zbus(property)]
    fn since_ms(&self) -> i64 {
        self.view().since_ms
    }

    /// Its process.
    #[zbus(property)]
    fn pid(&self) -> u32 {
        pid(&self.view())
    }

    /// When that process was started, in milliseconds since the Unix epoch.
    #[zbus(property)]
    fn started_ms(&self) -> i64 {
        self.view().started_ms.unwrap_or_default()
    }

    /// The user it runs as.
    #[zbus(property)]
    fn user(&self) -> String {
        self.view().user.clone()
    }

    /// Its control group.
    #[zbus(property)]
    fn control_group(&self) -> String {
        self.view().cgroup.clone().unwrap_or_default()
    }

    /// How well it does: `unknown`, `ok`, `degraded` or `stale`.
    #[zbus(property)]
    fn health(&self) -> &'static str {
        self.view().health.as_str()
    }

    /// Why it is not `ok`.
    #[zbus(property)]
    fn health_reasons(&self) -> Vec<String> {
        self.view().health_reasons.clone()
    }

    /// How often it was started again since agentd started.
    #[zbus(property)]
    fn restarts(&self) -> u64 {
        self.view().restarts
    }

    /// Failures in a row.
    #[zbus(property)]
    fn failures(&self) -> u32 {
        self.view().failures
    }

    /// How its last process ended.
    #[zbus(property)]
    fn last_exit(&self) -> String {
        self.view().last_exit.clone().unwrap_or_default()
    }

    /// `critical`, `important` or `optional`.
    #[zbus(property)]
    fn criticality(&self) -> String {
        self.view().criticality.clone()
    }

    /// Program and arguments.
    #[zbus(property)]
    fn exec(&self) -> Vec<String> {
        self.view().exec.clone()
    }

    /// The version it said it has.
    #[zbus(property)]
    fn version(&self) -> String {
        self.view().version.clone().unwrap_or_default()
    }

    /// Its checks: name, summary, state (`pending`, `measured`, `unknown`), reason, interval, when
    /// last heard of, how long that run took; times in milliseconds.
    #[zbus(property(emits_changed_signal = "false"))]
    fn checks(&self) -> Vec<CheckRow> {
        self.view().checks.iter().map(CheckRow::from).collect()
    }

    /// How many of its findings are open.
    #[zbus(property)]
    fn findings(&self) -> u32 {
        self.view().findings
    }

    /// Number of the event that changed it last.
    #[zbus(property)]
    fn seq(&self) -> u64 {
        self.view().seq
    }
}

/// The process of an agent, 0 where there is none.
pub(super) fn pid(view: &AgentView) -> u32 {
    view.pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0)
}

impl From<&CheckView> for CheckRow {
    fn from(check: &CheckView) -> Self {
        Self {
            name: check.name.clone(),
            summary: check.summary.clone(),
            state: check.state.clone(),
            reason: check.reason.clone().unwrap_or_default(),
            every_ms: check.every_ms,
            last_ms: check.last_ms.unwrap_or_default(),
            took_ms: check.took_ms.unwrap_or_default(),
        }
    }
}
