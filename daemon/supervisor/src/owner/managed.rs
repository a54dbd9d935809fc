//! Everything agentd holds about one agent.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use agentd_model::{Agent, AgentSpec, Criticality, Exit, Mono, Phase, Policy};
use agentd_protocol::channel::{CheckInfo, CheckSettings, Outcome, Report, Settings};
use agentd_protocol::control::{AgentView, CheckView, Health, PhaseName};

use crate::channel::Channel;
use crate::clock;
use crate::news::Generation;

/// How long an agent that was slowed counts as degraded.
const SLOWED_FOR: Duration = Duration::from_secs(60);
/// Heartbeats within which an agent must answer to its settings: as many as it may miss.
const ANSWER_WITHIN: u32 = 3;

/// One agent, its spec and its process.
#[derive(Debug)]
pub(super) struct Managed {
    pub(super) spec: Arc<AgentSpec>,
    pub(super) agent: Agent,
    pub(super) enabled: bool,
    /// Rises with each spawn; news of other generations is of processes long gone.
    pub(super) generation: Generation,
    pub(super) process: Option<Process>,
    /// What the process said of itself. Emptied with it.
    pub(super) said: SaidOfItself,
    /// Spawns since agentd started.
    pub(super) spawns: u64,
    pub(super) last_exit: Option<Exit>,
    pub(super) since_ms: i64,
    pub(super) seq: u64,
    pub(super) health: Health,
    pub(super) reasons: Vec<String>,
    /// Gone from the configuration; forgotten once it is at rest.
    pub(super) is_removed: bool,
}

/// A process that exists.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pidfd: Arc<OwnedFd>,
    pub(super) channel: Option<Channel>,
    pub(super) started_ms: i64,
    pub(super) cgroup: Option<String>,
}

/// What the present process said of itself.
#[derive(Debug, Default)]
pub(super) struct SaidOfItself {
    pub(super) version: Option<String>,
    pub(super) checks: BTreeMap<String, Check>,
    /// What it could not use in its settings.
    problems: Vec<String>,
    slowed: Option<Mono>,
    pub(super) findings_refused: usize,
    /// How many answers to settings it owes, and since when the first.
    owes: Option<(u32, Mono)>,
}

impl SaidOfItself {
    /// It was sent settings.
    pub(super) fn asked(&mut self, now: Mono) {
        let (count, since) = self.owes.unwrap_or((0, now));
        self.owes = Some((count + 1, since));
    }

    /// It answered to settings, and could not use these.
    pub(super) fn answered(&mut self, problems: Vec<String>) {
        self.owes = match self.owes {
            Some((count, since)) if count > 1 => Some((count - 1, since)),
            Some(_) | None => None,
        };
        self.problems = problems;
    }
}

/// One check of an agent.
#[derive(Debug)]
pub(super) struct Check {
    info: CheckInfo,
    last: Option<(Outcome, Option<String>, i64, u64)>,
}

impl Check {
    pub(super) fn new(info: CheckInfo) -> Self {
        Self { info, last: None }
    }

    /// The same check with what the agent says of it now.
    pub(super) fn with(self, info: CheckInfo) -> Self {
        Self { info, ..self }
    }

    pub(super) fn name(&self) -> &str {
        &self.info.name
    }

    pub(super) fn is_measured(&self) -> bool {
        matches!(self.last, Some((Outcome::Measured, ..)))
    }

    /// Notes how a run ended. Answers whether that differs from the run before.
    pub(super) fn note(&mut self, report: &Report, now_ms: i64) -> bool {
        let before = self.last.as_ref().map(|(outcome, reason, ..)| (*outcome, reason.clone()));
        let reason = report.reason.clone();
        self.last = Some((report.outcome, reason.clone(), now_ms, report.took_ms));
        before != Some((report.outcome, reason))
    }

    fn view(&self) -> CheckView {
        let (state, reason, last_ms, took_ms) = match &self.last {
            None => ("pending", None, None, None),
            Some((Outcome::Measured, _, at, took)) => ("measured", None, Some(*at), Some(*took)),
            Some((Outcome::Unknown, reason, at, took)) => {
                ("unknown", reason.clone(), Some(*at), Some(*took))
            }
        };
        CheckView {
            name: self.info.name.clone(),
            summary: self.info.summary.clone(),
            state: state.into(),
            reason,
            every_ms: self.info.every_ms,
            last_ms,
            took_ms,
        }
    }
}

impl Managed {
    pub(super) fn new(spec: AgentSpec, enabled: bool) -> Self {
        Self {
            spec: Arc::new(spec),
            agent: Agent::new(),
            enabled,
            generation: 0,
            process: None,
            said: SaidOfItself::default(),
            spawns: 0,
            last_exit: None,
            since_ms: clock::wall_ms(),
            seq: 0,
            health: Health::Unknown,
            reasons: Vec::new(),
            is_removed: false,
        }
    }

    pub(super) fn policy(&self) -> Policy {
        Policy::from(self.spec.as_ref())
    }

    pub(super) fn settings(&self) -> Settings {
        let heartbeat = self.spec.restart.heartbeat.as_millis();
        Settings {
            name: self.spec.name.to_string(),
            heartbeat_ms: u64::try_from(heartbeat).unwrap_or(u64::MAX),
            checks: self
                .spec
                .checks
                .iter()
                .map(|(name, check)| (name.clone(), CheckSettings::from(check)))
                .collect(),
        }
    }

    /// No process, and none on its way.
    pub(super) fn is_at_rest(&self) -> bool {
        match self.agent.phase {
            Phase::Idle { .. } | Phase::Failed { .. } => true,
            Phase::Waiting { .. }
            | Phase::Backoff { .. }
            | Phase::Spawning { .. }
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. } => false,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.agent.phase, Phase::Running { .. })
    }

    pub(super) fn slow(&mut self, now: Mono) {
        self.said.slowed = Some(now);
    }

    /// How well it does, and why not better.
    pub(super) fn assess(&self, now: Mono) -> (Health, Vec<String>) {
        let Phase::Running { heard, .. } = self.agent.phase else {
            return (Health::Unknown, Vec::new());
        };
        if !self.spec.kit {
            return (Health::Ok, Vec::new());
        }
        let silent = now.since(heard);
        if silent > self.spec.restart.heartbeat * 2 {
            return (Health::Stale, vec![format!("not heard from for {} s", silent.as_secs())]);
        }
        let mut reasons = self.said.problems.clone();
        let allowed = self.spec.restart.heartbeat * ANSWER_WITHIN;
        if self.said.owes.is_some_and(|(_, since)| now.since(since) > allowed) {
            reasons.push("does not answer to its settings".into());
        }
        if self.said.slowed.is_some_and(|at| now.since(at) < SLOWED_FOR) {
            reasons.push("sends faster than it may and is read slowly".into());
        }
        if self.said.findings_refused > 0 {
            let refused = self.said.findings_refused;
            reasons.push(format!("has too many findings; {refused} were not taken"));
        }
        let mut has_pending = false;
        for check in self.said.checks.values() {
            match &check.last {
                None => has_pending = true,
                Some((Outcome::Unknown, reason, ..)) => {
                    let why = reason.as_deref().unwrap_or("no reason given");
                    reasons.push(format!("check {} is unknown: {why}", check.info.name));
                }
                Some((Outcome::Measured, ..)) => {}
            }
        }
        if !reasons.is_empty() {
            (Health::Degraded, reasons)
        } else if has_pending {
            (Health::Unknown, vec!["its first checks are not through".into()])
        } else {
            (Health::Ok, Vec::new())
        }
    }

    pub(super) fn view(&self, user: &str, detail: Option<String>, findings: usize) -> AgentView {
        let pid = self.agent.pid().map(agentd_model::Pid::as_raw);
        AgentView {
            name: self.spec.name.to_string(),
            summary: self.spec.summary.clone(),
            want: self.agent.want.as_str().into(),
            enabled: self.enabled,
            phase: phase_name(&self.agent.phase),
            detail,
            since_ms: self.since_ms,
            pid,
            started_ms: self.process.as_ref().map(|process| process.started_ms),
            user: user.to_owned(),
            cgroup: self.process.as_ref().and_then(|process| process.cgroup.clone()),
            health: self.health,
            health_reasons: self.reasons.clone(),
            restarts: self.spawns.saturating_sub(1),
            failures: self.agent.failures(),
            last_exit: self.last_exit.as_ref().map(ToString::to_string),
            criticality: criticality(self.spec.criticality).into(),
            exec: self.spec.exec.clone(),
            version: self.said.version.clone(),
            checks: self.said.checks.values().map(Check::view).collect(),
            findings: u32::try_from(findings).unwrap_or(u32::MAX),
            seq: self.seq,
        }
    }
}

fn criticality(criticality: Criticality) -> &'static str {
    match criticality {
        Criticality::Critical => "critical",
        Criticality::Important => "important",
        Criticality::Optional => "optional",
    }
}

/// The phase as it goes over the wire.
pub(super) fn phase_name(phase: &Phase) -> PhaseName {
    match phase {
        Phase::Idle { .. } => PhaseName::Idle,
        Phase::Waiting { .. } => PhaseName::Waiting,
        Phase::Spawning { .. } => PhaseName::Spawning,
        Phase::Starting { .. } => PhaseName::Starting,
        Phase::Running { .. } => PhaseName::Running,
        Phase::Stopping { .. } => PhaseName::Stopping,
        Phase::Backoff { .. } => PhaseName::Backoff,
        Phase::Failed { .. } => PhaseName::Failed,
    }
}
