//! What tests ask of agentd, as one line each. Every call is a connection of its own.

use agentd_model::AgentName;
use agentd_protocol::control::{
    AgentList, AgentReply, AgentView, Disposition, EventList, EventQuery, EventReply, EventView,
    FindingList, FindingQuery, FindingView, PhaseName, ReloadArg, ReloadReport, RequestReply,
    Status, kind,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::agentd::Agentd;
use crate::client::{CallError, Stream};
use crate::history::{Step, assert_unbroken, phases};
use crate::wait::{LIMIT, wait_for};

impl Agentd {
    /// Calls a method, on a connection of its own.
    #[track_caller]
    pub fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        parameters: &impl Serialize,
    ) -> Result<R, CallError> {
        self.client().call(&format!("org.agentos.{method}"), parameters)
    }

    #[track_caller]
    fn must<R: DeserializeOwned>(&self, method: &str, parameters: &impl Serialize) -> R {
        self.call(method, parameters).unwrap_or_else(|err| panic!("{method}: {err}"))
    }

    /// All agents.
    #[track_caller]
    pub fn list(&self) -> AgentList {
        self.must("Agents.List", &json!({}))
    }

    /// One agent.
    #[track_caller]
    pub fn get(&self, name: &str) -> AgentView {
        self.must::<AgentReply>("Agents.Get", &json!({ "name": name })).agent
    }

    /// Asks something of an agent: `Start`, `Stop`, `Restart`, `Enable`, `Disable`.
    #[track_caller]
    pub fn ask(&self, verb: &str, name: &str) -> Result<Disposition, CallError> {
        self.call::<RequestReply>(&format!("Agents.{verb}"), &json!({ "name": name }))
            .map(|reply| reply.disposition)
    }

    /// How agentd is.
    #[track_caller]
    pub fn status(&self) -> Status {
        self.must("Manager.Status", &json!({}))
    }

    /// The problems of an area, as one text.
    #[track_caller]
    pub fn problems(&self, area: &str) -> String {
        let problems = self.status().problems.into_iter().filter(|problem| problem.area == area);
        problems.map(|problem| problem.message).collect::<Vec<_>>().join("\n")
    }

    /// Has it read its configuration again.
    #[track_caller]
    pub fn reload(&self, dry_run: bool) -> Result<ReloadReport, CallError> {
        self.call("Manager.Reload", &ReloadArg { dry_run })
    }

    /// The last events.
    #[track_caller]
    pub fn last_events(&self, most: u32) -> Vec<EventView> {
        self.events(&EventQuery { limit: Some(most), ..EventQuery::default() })
    }

    /// The events that `query` asks for.
    #[track_caller]
    pub fn events(&self, query: &EventQuery) -> Vec<EventView> {
        self.must::<EventList>("Events.List", query).events
    }

    /// Events of one kind since this agentd started, of one agent or of all.
    #[track_caller]
    pub fn events_of(&self, what: &str, agent: Option<&str>) -> Vec<EventView> {
        let mut events = self.events(&EventQuery {
            after_seq: Some(self.began() - 1),
            agent: agent.map(str::to_owned),
            limit: Some(1000),
            since_ms: None,
        });
        events.retain(|event| event.kind == what);
        events
    }

    /// Events from now on, after those that `query` asks for.
    #[track_caller]
    pub fn follow(&self, query: &EventQuery) -> Stream<EventReply> {
        let stream = self.client().call_more("org.agentos.Events.Follow", query);
        stream.unwrap_or_else(|err| panic!("cannot follow: {err}"))
    }

    /// Open findings, of all agents.
    #[track_caller]
    pub fn findings(&self) -> Vec<FindingView> {
        self.must::<FindingList>("Findings.List", &FindingQuery::default()).findings
    }

    /// Findings, the resolved ones too.
    #[track_caller]
    pub fn all_findings(&self) -> Vec<FindingView> {
        let query = FindingQuery { all: true, ..FindingQuery::default() };
        self.must::<FindingList>("Findings.List", &query).findings
    }

    /// The way of an agent through its phases since this agentd started, checked to be unbroken.
    #[track_caller]
    pub fn history(&self, name: &str) -> Vec<Step> {
        let _: AgentName = name.parse().expect("an agent's name");
        let steps: Vec<Step> =
            self.events_of(kind::PHASE, Some(name)).iter().map(Step::of).collect();
        assert_unbroken(&steps);
        steps
    }

    /// The same, in words.
    #[track_caller]
    pub fn phases(&self, name: &str) -> Vec<String> {
        phases(&self.history(name))
    }

    /// Waits until `is_so` holds for an agent.
    #[track_caller]
    pub fn wait(&self, name: &str, what: &str, is_so: impl Fn(&AgentView) -> bool) -> AgentView {
        wait_for(&format!("{name}: {what}"), LIMIT, || {
            let agent = self.get(name);
            if is_so(&agent) { Ok(agent) } else { Err(format!("{agent:?}")) }
        })
    }

    /// Waits until an agent is in a phase.
    #[track_caller]
    pub fn wait_phase(&self, name: &str, phase: PhaseName) -> AgentView {
        self.wait(name, phase.as_str(), |agent| agent.phase == phase)
    }

    /// Waits until an agent runs, and gives its process.
    #[track_caller]
    pub fn wait_running(&self, name: &str) -> i32 {
        self.wait_phase(name, PhaseName::Running).pid.expect("what runs has a process")
    }

    /// Waits until an agent runs in another process than `before`.
    #[track_caller]
    pub fn wait_replaced(&self, name: &str, before: i32) -> i32 {
        let replaced = self.wait(name, "running in another process", |agent| {
            agent.phase == PhaseName::Running && agent.pid != Some(before)
        });
        replaced.pid.expect("what runs has a process")
    }

    /// Waits for an event of a kind about an agent since this agentd started, and gives the first.
    #[track_caller]
    pub fn wait_event(&self, what: &str, agent: Option<&str>, part: &str) -> EventView {
        wait_for(&format!("an event {what} with {part:?}"), LIMIT, || {
            let events = self.events_of(what, agent);
            let found = events.iter().find(|event| event.message.contains(part));
            found.cloned().ok_or_else(|| format!("{events:#?}"))
        })
    }
}
