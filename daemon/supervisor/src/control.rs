//! Control: every verb, once, for every front end. Who may do what is decided here and nowhere
//! else; a front end says who asks, translates, and that is all.
//!
//! No verb waits for an agent. What is read comes from the owner's last snapshot or, on a thread
//! of its own and with a time limit, from the store.

mod error;
mod follow;
mod history;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentd_model::{AgentName, AgentSpec, Paths};
use agentd_protocol::control::{
    AgentList, AgentView, Disposition, EventList, EventQuery, Explanation, FindingList,
    FindingQuery, MetricList, MetricQuery, MetricSeries, Problem, ReloadReport, Status, Version,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::caller::{Caller, Right, Rights};
use crate::clock;
use crate::config;
use crate::launcher::Launcher;
use crate::owner::{Asker, Refused, Request, Snapshot, Verb};
use crate::polkit::{Polkit, Verdict};
use crate::record::Events;

pub use error::ControlError;
pub use follow::Follow;
pub use history::History;

/// The owner turns many times a second; one that does not answer within this time hangs.
const OWNER_LIMIT: Duration = Duration::from_secs(5);
/// Reading files on a slow disk, not a hung one.
const FILES_LIMIT: Duration = Duration::from_secs(10);

/// What does not change while agentd runs.
#[derive(Clone, Debug)]
pub struct About {
    /// Where everything lies.
    pub paths: Paths,
    /// When agentd started.
    pub started_ms: i64,
    /// What it cannot do where it runs.
    pub limits: Vec<String>,
}

/// A handle on Control. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    rights: Rights,
    about: Arc<About>,
    requests: mpsc::Sender<Request>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    events: Events,
    history: History,
    launcher: Arc<Launcher>,
    polkit: Polkit,
    /// Why agentd is not on the bus, while it should be.
    bus_trouble: Arc<Mutex<Option<String>>>,
}

/// What Control is made of.
#[derive(Debug)]
pub struct Parts {
    /// Who may do what.
    pub rights: Rights,
    /// What does not change.
    pub about: About,
    /// The owner's inbox for requests.
    pub requests: mpsc::Sender<Request>,
    /// What the owner shows.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Events in memory and to come.
    pub events: Events,
    /// What the store keeps.
    pub history: History,
    /// For `explain`.
    pub launcher: Arc<Launcher>,
}

impl Control {
    /// Puts it together.
    pub fn new(parts: Parts) -> Self {
        let Parts { rights, about, requests, snapshot, events, history, launcher } = parts;
        Self {
            rights,
            about: Arc::new(about),
            requests,
            snapshot,
            events,
            history,
            launcher,
            polkit: Polkit::default(),
            bus_trouble: Arc::default(),
        }
    }

    /// Who is agentd? The only verb for everyone.
    pub fn version(&self) -> Version {
        Version { version: env!("CARGO_PKG_VERSION").into(), pid: own_pid() }
    }

    /// All agents.
    pub fn list(&self, caller: &Caller) -> Result<AgentList, ControlError> {
        self.may_read(caller, "listing agents")?;
        let snapshot = self.now();
        let agents = snapshot.agents.values().map(|agent| AgentView::clone(agent)).collect();
        Ok(AgentList { seq: snapshot.seq, agents })
    }

    /// One agent.
    pub fn get(&self, caller: &Caller, name: &str) -> Result<AgentView, ControlError> {
        self.may_read(caller, "showing an agent")?;
        let name = parse(name)?;
        let snapshot = self.now();
        let agent = snapshot.agents.get(&name).ok_or(ControlError::UnknownAgent(name))?;
        Ok(AgentView::clone(agent))
    }

    /// Asks something of an agent. Answers once the request is taken, not once it is done.
    /// Dropping the future after the first await does not take the request back.
    pub async fn ask(
        &self,
        caller: &Caller,
        verb: Verb,
        name: &str,
    ) -> Result<Disposition, ControlError> {
        let name = parse(name)?;
        self.may_manage(caller, format!("{} of agent {name}", verb.as_str())).await?;
        let by = Asker { uid: caller.uid, front: caller.front };
        self.send(|answer| Request::Agent { verb, name, by, answer }).await
    }

    /// What is done to confine an agent, in order.
    pub async fn explain(&self, caller: &Caller, name: &str) -> Result<Explanation, ControlError> {
        self.may_read(caller, "explaining a cell")?;
        let name = parse(name)?;
        let spec = self.spec(&name)?;
        let launcher = Arc::clone(&self.launcher);
        let planned = within(FILES_LIMIT, "planning a cell", move || launcher.plan(&spec)).await?;
        let plan = planned.map_err(|why| ControlError::Plan { name: name.clone(), why })?;
        Ok(Explanation { name: name.to_string(), operations: plan.lines(), missing: plan.missing })
    }

    /// Past events.
    pub async fn events(
        &self,
        caller: &Caller,
        query: &EventQuery,
    ) -> Result<EventList, ControlError> {
        self.may_read(caller, "reading events")?;
        Ok(EventList { events: history::events(&self.events, &self.history, query).await? })
    }

    /// Past events that the query asks for, then those to come.
    pub fn follow(&self, caller: &Caller, query: EventQuery) -> Result<Follow, ControlError> {
        self.may_read(caller, "following events")?;
        Follow::begin(&self.events, &self.history, query)
    }

    /// Findings.
    pub async fn findings(
        &self,
        caller: &Caller,
        query: &FindingQuery,
    ) -> Result<FindingList, ControlError> {
        self.may_read(caller, "reading findings")?;
        let agent = query.agent.as_deref().map(parse).transpose()?;
        let snapshot = self.now();
        if let Some(name) = &agent
            && !snapshot.agents.contains_key(name)
        {
            return Err(ControlError::UnknownAgent(name.clone()));
        }
        let of_agent = |owner: &str| agent.as_ref().is_none_or(|name| name.as_str() == owner);
        let mut findings: Vec<_> =
            snapshot.findings.iter().filter(|finding| of_agent(&finding.agent)).cloned().collect();
        if query.all {
            findings.extend(self.history.resolved(agent).await?);
        }
        Ok(FindingList { seq: snapshot.seq, findings })
    }

    /// What readings are kept.
    pub async fn metrics(&self, caller: &Caller) -> Result<MetricList, ControlError> {
        self.may_read(caller, "reading metrics")?;
        Ok(MetricList { metrics: self.history.metrics().await? })
    }

    /// One series of readings.
    pub async fn series(
        &self,
        caller: &Caller,
        query: MetricQuery,
    ) -> Result<MetricSeries, ControlError> {
        const HOUR_MS: i64 = 3_600_000;
        self.may_read(caller, "reading metrics")?;
        let since_ms = query.since_ms.unwrap_or_else(|| clock::wall_ms() - HOUR_MS);
        self.history.series(query.name, since_ms).await
    }

    /// Reads the configuration again and puts it in force, all of it or nothing.
    pub async fn reload(
        &self,
        caller: &Caller,
        dry_run: bool,
    ) -> Result<ReloadReport, ControlError> {
        self.may_manage(caller, "reloading the configuration".into()).await?;
        let about = Arc::clone(&self.about);
        let read = move || config::load(&about.paths);
        let loaded = Box::new(within(FILES_LIMIT, "reading the configuration", read).await?);
        self.send(|answer| Request::Reload { loaded, dry_run, answer }).await
    }

    /// How agentd does, and what is wrong.
    pub fn status(&self, caller: &Caller) -> Result<Status, ControlError> {
        self.may_read(caller, "reading the status")?;
        let snapshot = self.now();
        let About { paths, started_ms, limits } = self.about.as_ref();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: own_pid(),
            started_ms: *started_ms,
            all_ready_boot_ms: snapshot.all_ready_boot_ms(),
            root: paths.root().to_string_lossy().into_owned(),
            logs: if paths.is_system() {
                "journal".into()
            } else {
                paths.logs().to_string_lossy().into_owned()
            },
            seq: snapshot.seq,
            problems: snapshot.problems.iter().cloned().chain(self.bus_problem()).collect(),
            limits: limits.clone(),
        })
    }

    /// Why agentd is not on the bus now, or that it is: for the status.
    pub fn note_bus(&self, trouble: Option<String>) {
        *self.bus_trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn bus_problem(&self) -> Option<Problem> {
        let trouble = self.bus_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let problem = |message| Problem { area: "front".into(), subject: "dbus".into(), message };
        trouble.map(problem)
    }

    /// What does not change while agentd runs.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The owner's snapshots, for a front end that mirrors them.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// Events to come, for a front end that mirrors them.
    pub fn live(&self) -> &Events {
        &self.events
    }

    fn now(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    fn spec(&self, name: &AgentName) -> Result<Arc<AgentSpec>, ControlError> {
        let snapshot = self.now();
        let spec = snapshot.specs.get(name);
        spec.cloned().ok_or_else(|| ControlError::UnknownAgent(name.clone()))
    }

    /// Whether the caller may see what there is; `what` is for the refusal.
    pub(crate) fn may_read(&self, caller: &Caller, what: &str) -> Result<(), ControlError> {
        if self.rights.has(caller, Right::Read) {
            return Ok(());
        }
        Err(ControlError::Forbidden { what: what.to_owned(), right: Right::Read })
    }

    async fn may_manage(&self, caller: &Caller, what: String) -> Result<(), ControlError> {
        if self.rights.has(caller, Right::Manage) {
            return Ok(());
        }
        if let Some(bus) = &caller.bus {
            match self.polkit.ask(caller.uid, bus, Rights::POLKIT_MANAGE).await {
                Verdict::Granted => return Ok(()),
                Verdict::Busy => return Err(ControlError::Busy),
                Verdict::Refused => {}
            }
        }
        Err(ControlError::Forbidden { what, right: Right::Manage })
    }

    async fn send<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, Refused>>) -> Request,
    ) -> Result<T, ControlError> {
        let (answer, answered) = oneshot::channel();
        let exchange = async {
            self.requests.send(request(answer)).await.map_err(|_| ControlError::Gone)?;
            answered.await.map_err(|_| ControlError::Gone)
        };
        match tokio::time::timeout(OWNER_LIMIT, exchange).await {
            Ok(answer) => Ok(answer??),
            Err(_elapsed) => Err(ControlError::Timeout { what: "asking the owner of the agents" }),
        }
    }
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(i32::MAX)
}

fn parse(name: &str) -> Result<AgentName, ControlError> {
    name.parse().map_err(ControlError::Name)
}

/// Runs `work` on a blocking thread, for at most `limit`. Work that takes longer goes on unseen.
async fn within<T: Send + 'static>(
    limit: Duration,
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ControlError> {
    match tokio::time::timeout(limit, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_panicked)) => Err(ControlError::Broken { what }),
        Err(_elapsed) => Err(ControlError::Timeout { what }),
    }
}
