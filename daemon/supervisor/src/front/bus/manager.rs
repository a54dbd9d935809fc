//! `org.agentos.Agentd1.Manager`: agentd itself and all agents together.

use std::collections::BTreeMap;
use std::sync::Arc;

use agentd_protocol::control::{EventQuery, FindingQuery, MetricQuery, PhaseName, ReloadReport};
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{OwnedObjectPath, interface};

use super::desk::Desk;
use super::door::Behind;
use super::row::{AgentRow, EventRow, FindingRow, MetricRow, PointRow, ProblemRow};
use super::{BusError, disposition, path_of};
use crate::owner::{Snapshot, Verb};

/// agentd on the bus.
#[derive(Clone, Debug)]
pub(super) struct Manager {
    desk: Desk,
    /// Shown instead of what is now.
    pinned: Option<Arc<Snapshot>>,
}

impl Manager {
    pub(super) fn new(desk: Desk) -> Self {
        Self { desk, pinned: None }
    }

    /// agentd as it was then.
    pub(super) fn as_of(desk: Desk, snapshot: Arc<Snapshot>) -> Self {
        Self { desk, pinned: Some(snapshot) }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.pinned.clone().unwrap_or_else(|| self.desk.shown())
    }

    async fn ask(
        &self,
        header: &Header<'_>,
        verb: Verb,
        name: &str,
    ) -> Result<&'static str, BusError> {
        let caller = self.desk.caller(header).await?;
        Ok(disposition(self.desk.control.ask(&caller, verb, name).await?))
    }
}

impl Behind for Manager {
    const OPEN: &'static [&'static str] = &["Version", "Pid"];
    const QUIET: &'static [&'static str] = &["Seq"];

    fn pinned(&self) -> Self {
        Self::as_of(self.desk.clone(), self.snapshot())
    }
}

/// A text that is empty where it is meant to be absent.
fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[interface(name = "org.agentos.Agentd1.Manager")]
impl Manager {
    /// All agents: name, `up` or `down` (what is wanted), phase, health, process (0: none), times
    /// restarted, open findings, object. `seq` is the last event that these show: a client that
    /// follows subscribes to `Event` first, calls this, and passes over events up to `seq`.
    #[zbus(out_args("seq", "agents"))]
    async fn list_agents(
        &self,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(u64, Vec<AgentRow>), BusError> {
        let caller = self.desk.caller(&header).await?;
        let list = self.desk.control.list(&caller)?;
        Ok((list.seq, list.agents.into_iter().map(AgentRow::from).collect()))
    }

    /// The object of one agent.
    #[zbus(out_args("object"))]
    async fn get_agent(
        &self,
        #[zbus(header)] header: Header<'_>,
        name: &str,
    ) -> Result<OwnedObjectPath, BusError> {
        let caller = self.desk.caller(&header).await?;
        Ok(path_of(&self.desk.control.get(&caller, name)?.name))
    }

    /// Wants an agent up. Answers once the wish is taken: `accepted`, or `already_so`.
    #[zbus(out_args("disposition"))]
    async fn start(
        &self,
        #[zbus(header)] header: Header<'_>,
        name: &str,
    ) -> Result<&'static str, BusError> {
        self.ask(&header, Verb::Start, name).await
    }

    /// Wants an agent down.
    #[zbus(out_args("disposition"))]
    async fn stop(
        &self,
        #[zbus(header)] header: Header<'_>,
        name: &str,
    ) -> Result<&'static str, BusError> {
        self.ask(&header, Verb::Stop, name).await
    }

    /// Ends an agent's process, if there is one, and wants it up.
    #[zbus(out_args("disposition"))]
    async fn restart(
        &self,
        #[zbus(header)] header: Header<'_>,
        name: &str,
    ) -> Result<&'static str, BusError> {
        self.ask(&header, Verb::Restart, name).await
    }

    /// Has an agent started whenever agentd starts. Does not start it now.
    #[zbus(out_args("disposition"))]
    async fn enable(
        &self,
        #[zbus(header)] header: Header<'_>,
        name: &str,
    ) -> Result<&'static str, BusError> {
        self.ask(&header, Verb::Enable, name).await
    }

    /// Has an agent no longer started when agentd starts. Does not stop it now.
    #[zbus(out_args("disposition"))]
    async fn disable(
        &self,
        #[zbus(header)] header: Header<'_>,
        name: &str,
    ) -> Result<&'static str, BusError> {
        self.ask(&header, Verb::Disable, name).await
    }

    /// Reads the configuration again and puts it in force, as a whole or not at all. With
    /// `dry_run` only says what would change. Configuration with problems is the error `Invalid`,
    /// and the last good one stays in force.
    #[zbus(out_args("added", "changed", "removed", "applied"))]
    async fn reload(
        &self,
        #[zbus(header)] header: Header<'_>,
        dry_run: bool,
    ) -> Result<(Vec<String>, Vec<String>, Vec<String>, bool), BusError> {
        let caller = self.desk.caller(&header).await?;
        let report = self.desk.control.reload(&caller, dry_run).await?;
        let ReloadReport { added, changed, removed, applied } = report;
        Ok((added, changed, removed, applied))
    }

    /// Past events, oldest first: number, time, kind, agent, message, fields. Only those above
    /// `after_seq` (0: all), from `since_ms` on (0: all), about `agent` (empty: all), the newest
    /// `limit` of them (0: 100, at most 1000). New ones come as the signal `Event`; a gap in their
    /// numbers is filled from here.
    #[zbus(out_args("events"))]
    async fn list_events(
        &self,
        #[zbus(header)] header: Header<'_>,
        after_seq: u64,
        since_ms: i64,
        agent: &str,
        limit: u32,
    ) -> Result<Vec<EventRow>, BusError> {
        let caller = self.desk.caller(&header).await?;
        let query = EventQuery {
            after_seq: (after_seq != 0).then_some(after_seq),
            since_ms: (since_ms != 0).then_some(since_ms),
            agent: given(agent),
            limit: (limit != 0).then_some(limit),
        };
        let list = self.desk.control.events(&caller, &query).await?;
        Ok(list.events.into_iter().map(EventRow::from).collect())
    }

    /// Findings of `agent` (empty: of all), open ones first, the worst first, with `all` the last
    /// 1000 resolved ones too: agent, check, key, severity, summary, evidence, when opened, when
    /// last seen, when resolved (0: open), whether it is not measured now.
    #[zbus(out_args("seq", "findings"))]
    async fn list_findings(
        &self,
        #[zbus(header)] header: Header<'_>,
        agent: &str,
        all: bool,
    ) -> Result<(u64, Vec<FindingRow>), BusError> {
        let caller = self.desk.caller(&header).await?;
        let query = FindingQuery { agent: given(agent), all };
        let list = self.desk.control.findings(&caller, &query).await?;
        Ok((list.seq, list.findings.into_iter().map(FindingRow::from).collect()))
    }

    /// Every kept series of readings: name, unit, newest reading, when that was.
    #[zbus(out_args("metrics"))]
    async fn list_metrics(
        &self,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<MetricRow>, BusError> {
        let caller = self.desk.caller(&header).await?;
        let list = self.desk.control.metrics(&caller).await?;
        Ok(list.metrics.into_iter().map(MetricRow::from).collect())
    }

    /// One series from `since_ms` on (0: the last hour), oldest first, a point a minute: start of
    /// the minute, readings in it, least, mean, greatest. A minute without a reading is absent.
    #[zbus(out_args("unit", "points"))]
    async fn read_metric(
        &self,
        #[zbus(header)] header: Header<'_>,
        name: &str,
        since_ms: i64,
    ) -> Result<(String, Vec<PointRow>), BusError> {
        let caller = self.desk.caller(&header).await?;
        let since_ms = (since_ms != 0).then_some(since_ms);
        let query = MetricQuery { name: name.to_owned(), since_ms };
        let series = self.desk.control.series(&caller, query).await?;
        Ok((series.unit, series.points.into_iter().map(PointRow::from).collect()))
    }

    /// The plan of an agent's cell, an operation a line, and what its spec asks and this machine
    /// or mode cannot give.
    #[zbus(out_args("operations", "missing"))]
    async fn explain(
        &self,
        #[zbus(header)] header: Header<'_>,
        name: &str,
    ) -> Result<(Vec<String>, Vec<String>), BusError> {
        let caller = self.desk.caller(&header).await?;
        let explanation = self.desk.control.explain(&caller, name).await?;
        Ok((explanation.operations, explanation.missing))
    }

    /// The version and the process of agentd. Anyone may ask.
    #[zbus(out_args("version", "pid"))]
    fn get_version(&self) -> (String, u32) {
        (self.version(), self.pid())
    }

    /// Something happened: number, time in milliseconds since the Unix epoch, kind, agent (empty:
    /// none), one sentence, the same as values. Changes of properties that belong to it are told before.
    #[zbus(signal)]
    pub(super) async fn event(
        emitter: &SignalEmitter<'_>,
        seq: u64,
        time_ms: i64,
        kind: &str,
        agent: &str,
        message: &str,
        fields: &BTreeMap<String, String>,
    ) -> zbus::Result<()>;

    /// The version of agentd. Anyone may read it.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> String {
        self.desk.control.version().version
    }

    /// The process of agentd. Anyone may read it.
    #[zbus(property(emits_changed_signal = "const"))]
    fn pid(&self) -> u32 {
        u32::try_from(self.desk.control.version().pid).unwrap_or(0)
    }

    /// When agentd started, in milliseconds since the Unix epoch.
    #[zbus(property(emits_changed_signal = "const"))]
    fn started_ms(&self) -> i64 {
        self.desk.control.about().started_ms
    }

    /// Milliseconds from boot to the first moment every wanted agent ran; 0 before that.
    #[zbus(property)]
    fn all_ready_boot_ms(&self) -> u64 {
        self.snapshot().all_ready_boot_ms().unwrap_or(0)
    }

    /// How many agents run.
    #[zbus(property)]
    fn agents_running(&self) -> u32 {
        let snapshot = self.snapshot();
        count(snapshot.agents.values().filter(|agent| agent.phase == PhaseName::Running).count())
    }

    /// How many agents there are.
    #[zbus(property)]
    fn agents_total(&self) -> u32 {
        count(self.snapshot().agents.len())
    }

    /// How many findings are open.
    #[zbus(property)]
    fn findings_open(&self) -> u32 {
        count(self.snapshot().findings.len())
    }

    /// What is wrong with configuration, store and agents: area, subject, message.
    #[zbus(property)]
    fn problems(&self) -> Vec<ProblemRow> {
        self.snapshot().problems.iter().map(ProblemRow::from).collect()
    }

    /// What this agentd cannot do where it runs.
    #[zbus(property(emits_changed_signal = "const"))]
    fn limits(&self) -> Vec<String> {
        self.desk.control.about().limits.clone()
    }

    /// Number of the last event. Changes with each, which `Event` tells.
    #[zbus(property(emits_changed_signal = "false"))]
    fn seq(&self) -> u64 {
        self.snapshot().seq
    }
}

fn count(many: usize) -> u32 {
    u32::try_from(many).unwrap_or(u32::MAX)
}
