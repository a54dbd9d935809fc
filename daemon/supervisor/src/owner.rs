//! The one task that owns every agent.
//!
//! Everything that changes an agent comes through here, one thing after the other: requests from
//! Control, news from processes, the timer. Each is put to `agentd_model::step`, and what that
//! answers is carried out; nothing here waits for an agent, a disk or a caller. After each turn the
//! [`Snapshot`] that readers see is made anew.

mod act;
mod findings;
mod managed;
mod reload;
mod request;
mod settle;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agentd_model::{AgentName, AgentSpec, AgentdConfig, Event, Mono};
use agentd_protocol::control::{Problem, kind};
use agentd_store::{FindingRow, Write};
use tokio::sync::{mpsc, watch};

use crate::archive;
use crate::clock;
use crate::config::Loaded;
use crate::launcher::Launcher;
use crate::news::{News, ProcessNews};
use crate::record::{Draft, Recorder};
use findings::Findings;
use managed::Managed;

pub(crate) use findings::view as finding_view;
pub use request::{Asker, Refused, Request, Verb};
pub use show::Snapshot;

/// How often silence is looked for and the watchdog is told.
const TICK: Duration = Duration::from_secs(1);

/// What the owner begins with.
#[derive(Debug)]
pub struct Beginning {
    /// Configuration, problems included.
    pub loaded: Loaded,
    /// What the operator enabled or disabled.
    pub enabled: BTreeMap<AgentName, bool>,
    /// Findings that were open when agentd last ran.
    pub findings: Vec<FindingRow>,
    /// Why there is no store, if there is none.
    pub store_error: Option<String>,
    /// Damaged files of the store that were moved out of the way.
    pub set_aside: Vec<std::path::PathBuf>,
    /// Where everything lies.
    pub paths: agentd_model::Paths,
    /// Where agentd's own settings are told.
    pub config: watch::Sender<AgentdConfig>,
}

/// Owns the agents. See the module's header.
pub struct Owner {
    managed: BTreeMap<AgentName, Managed>,
    /// The configuration in force.
    specs: BTreeMap<AgentName, AgentSpec>,
    findings: Findings,
    /// What the operator said of agents, those that are not configured now included.
    enabled: BTreeMap<AgentName, bool>,
    recorder: Recorder,
    launcher: Arc<Launcher>,
    requests: mpsc::Receiver<Request>,
    news: mpsc::Receiver<News>,
    /// Handed to the tasks that mind processes.
    inbox: mpsc::Sender<News>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    timers: BTreeSet<(Mono, AgentName)>,
    armed: BTreeMap<AgentName, Mono>,
    dirty: BTreeSet<AgentName>,
    findings_dirty: bool,
    config_problems: Vec<Problem>,
    store_problem: Option<Problem>,
    paths: agentd_model::Paths,
    /// agentd's own settings, for whoever uses them.
    config: watch::Sender<AgentdConfig>,
    all_ready: Option<Mono>,
    stopping: bool,
    /// Answers to the requests of this turn.
    answers: Vec<Box<dyn FnOnce() + Send>>,
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").field("agents", &self.managed.len()).finish_non_exhaustive()
    }
}

/// How to reach the owner.
#[derive(Debug)]
pub struct Inboxes {
    /// Requests from Control.
    pub requests: mpsc::Receiver<Request>,
    /// News from processes and the store.
    pub news: mpsc::Receiver<News>,
    /// The other end of `news`.
    pub inbox: mpsc::Sender<News>,
}

impl Owner {
    /// An owner of the agents in `beginning`; starts none before [`Owner::run`].
    pub fn new(
        beginning: Beginning,
        recorder: Recorder,
        launcher: Arc<Launcher>,
        inboxes: Inboxes,
    ) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let Beginning { loaded, enabled, findings, store_error, set_aside, paths, config } =
            beginning;
        let (snapshot, reader) = watch::channel(Arc::new(Snapshot::default()));
        let mut owner = Self {
            managed: BTreeMap::new(),
            specs: BTreeMap::new(),
            findings: Findings::restored(findings),
            enabled,
            recorder,
            launcher,
            requests: inboxes.requests,
            news: inboxes.news,
            inbox: inboxes.inbox,
            snapshot,
            timers: BTreeSet::new(),
            armed: BTreeMap::new(),
            dirty: BTreeSet::new(),
            findings_dirty: true,
            config_problems: Vec::new(),
            store_problem: None,
            paths,
            config,
            all_ready: None,
            stopping: false,
            answers: Vec::new(),
        };
        if let Some(error) = store_error {
            owner.store_failed(error);
        }
        owner.begin(loaded);
        for file in set_aside {
            owner.store_set_aside(&file);
        }
        (owner, reader)
    }

    fn begin(&mut self, loaded: Loaded) {
        let version = env!("CARGO_PKG_VERSION");
        let started = Draft::new(kind::AGENTD, format!("agentd {version} started"))
            .with("version", version)
            .with("pid", std::process::id());
        self.recorder.record(started, vec![]);
        self.refuse(loaded.problems);
        self.config.send_replace(loaded.agentd);
        for spec in loaded.specs.into_values() {
            self.add(spec);
        }
        self.publish();
    }

    /// Runs until `stop` says so and every agent is at rest. `beat` is called once a second, and
    /// only by a loop that turns.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>, beat: impl Fn(&Snapshot)) {
        for name in self.managed.keys().cloned().collect::<Vec<_>>() {
            if self.managed[&name].enabled {
                self.step(&name, Event::Start);
            }
        }
        self.settle();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let next = self.timers.first().map(|(at, _)| at.since(clock::mono()));
            tokio::select! {
                // Time first: it comes seldom, and nobody who asks or talks all the time may hold
                // up a timer or the watchdog.
                biased;
                Ok(()) = stop.changed(), if !self.stopping => self.begin_stop(),
                () = sleep(next) => self.fire(),
                _ = tick.tick() => {
                    self.assess_all();
                    beat(&self.snapshot.borrow());
                }
                Some(request) = self.requests.recv() => self.requested(request),
                Some(news) = self.news.recv() => self.heard(news),
            }
            // What else waits already, so that one snapshot shows it all.
            for _ in 0..256 {
                match self.news.try_recv() {
                    Ok(news) => self.heard(news),
                    Err(_) => break,
                }
            }
            self.settle();
            self.answers.drain(..).for_each(|answer| answer());
            if self.stopping && self.managed.values().all(Managed::is_at_rest) {
                break;
            }
        }
        let stopped = Draft::new(kind::AGENTD, "agentd stopped").with("pid", std::process::id());
        self.recorder.record(stopped, vec![]);
        self.recorder.close(Duration::from_secs(5));
    }

    fn heard(&mut self, news: News) {
        match news {
            News::Process { agent, generation, what } => {
                let is_current = self
                    .managed
                    .get(&agent)
                    .is_some_and(|managed| managed.generation == generation);
                if is_current {
                    self.process(&agent, what);
                }
            }
            News::Store(archive::News::Failed(error)) => self.store_failed(error),
            News::Store(archive::News::Recovered { lost }) => {
                let message = match self.store_problem.take() {
                    Some(_) => format!("the store works again; {lost} rows were lost"),
                    None => format!("the store could not keep up; {lost} rows were lost"),
                };
                let draft = Draft::new(kind::STORE_RECOVERED, message).with("lost", lost);
                self.recorder.record(draft, vec![]);
            }
        }
    }

    fn store_failed(&mut self, error: String) {
        let message =
            format!("the store failed: {error}; supervision goes on, history is kept in memory");
        self.store_problem = Some(Problem {
            area: "store".into(),
            subject: self.paths.database().to_string_lossy().into_owned(),
            message: message.clone(),
        });
        let draft = Draft::new(kind::STORE_FAILED, message).with("error", error);
        self.recorder.record(draft, vec![]);
    }

    fn store_set_aside(&mut self, file: &std::path::Path) {
        let error = format!("was damaged: moved to {}, a new one was begun", file.display());
        let draft = Draft::new(kind::STORE_FAILED, format!("the store {error}"));
        self.recorder.record(draft.with("error", error), vec![]);
    }

    fn fire(&mut self) {
        let now = clock::mono();
        while let Some((at, name)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            self.armed.remove(&name);
            self.step(&name, Event::Timer);
        }
    }

    fn arm(&mut self, name: &AgentName, at: Mono) {
        self.disarm(name);
        self.armed.insert(name.clone(), at);
        self.timers.insert((at, name.clone()));
    }

    fn disarm(&mut self, name: &AgentName) {
        if let Some(at) = self.armed.remove(name) {
            self.timers.remove(&(at, name.clone()));
        }
    }

    /// The problems of the present configuration, each told once.
    fn refuse(&mut self, problems: Vec<Problem>) {
        if !problems.is_empty() && problems != self.config_problems {
            let count = problems.len();
            let first = &problems[0].message;
            let message = format!("{count} problems with the configuration, the first: {first}");
            let draft = Draft::new(kind::CONFIG_REFUSED, message).with(
                "problems",
                problems
                    .iter()
                    .map(|problem| problem.message.as_str())
                    .collect::<Vec<_>>()
                    .join("\n"),
            );
            self.recorder.record(draft, vec![]);
        }
        self.config_problems = problems;
    }

    fn add(&mut self, spec: AgentSpec) {
        let name = spec.name.clone();
        let enabled = self.is_enabled(&spec);
        self.specs.insert(name.clone(), spec.clone());
        self.managed.insert(name.clone(), Managed::new(spec, enabled));
        self.dirty.insert(name);
    }

    /// What the operator said, else what the file says.
    fn is_enabled(&self, spec: &AgentSpec) -> bool {
        self.enabled.get(&spec.name).copied().unwrap_or(spec.enabled)
    }

    /// The state of the archive's rows for a change of a finding and the event that tells it.
    fn tell_findings(&mut self, agent: &AgentName, changes: Vec<findings::Change>) {
        for change in changes {
            let (what, verb, row) = match change {
                findings::Change::Opened(row) => (kind::FINDING_OPENED, "", row),
                findings::Change::Moved(row) => (kind::FINDING_CHANGED, "now ", row),
                findings::Change::Resolved(row) => (kind::FINDING_RESOLVED, "resolved: ", row),
            };
            let draft = Draft::new(what, format!("{verb}{}", row.summary))
                .about(agent)
                .with("key", &row.key)
                .with("check", &row.check)
                .with("severity", row.severity.as_str());
            self.recorder.record(draft, vec![Write::Finding(row)]);
            self.findings_dirty = true;
            self.dirty.insert(agent.clone());
        }
    }

    fn process(&mut self, name: &AgentName, what: ProcessNews) {
        match what {
            ProcessNews::Spawned { pid, pidfd, ends } => self.spawned(name, pid, pidfd, ends),
            ProcessNews::NotSpawned(why) => {
                self.step(name, Event::SpawnFailed(why));
            }
            ProcessNews::Exited(status) => {
                self.step(name, Event::Exited(status));
            }
            ProcessNews::Said(said) => self.said(name, said),
        }
    }
}

/// Until `after` is over; for ever without one.
async fn sleep(after: Option<Duration>) {
    match after {
        Some(after) => tokio::time::sleep(after).await,
        None => std::future::pending().await,
    }
}
