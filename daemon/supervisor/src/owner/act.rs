//! From an event to what it does: puts it to the state machine, carries out the answer, records
//! the transition.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use agentd_model::{Action, AgentName, Event, Exit, Mono, Phase, Pid, step};
use agentd_protocol::channel::{Outcome, Report, Value};
use agentd_protocol::control::{Health, kind};
use agentd_store::SampleRow;

use super::Owner;
use super::managed::{Check, Process, SaidOfItself};
use crate::channel::{Channel, Ends, Said};
use crate::clock;
use crate::launcher;
use crate::news::Teller;
use crate::record::Draft;

impl Owner {
    /// Puts `event` to the state machine of `name` and carries out what it answers. Answers
    /// whether anything changed.
    pub(super) fn step(&mut self, name: &AgentName, event: Event) -> bool {
        let Some(managed) = self.managed.get_mut(name) else { return false };
        let now = clock::mono();
        let policy = managed.policy();
        let before = managed.agent.clone();
        let exit = exit_of(&before.phase, &event);
        let (after, actions) = step(before.clone(), event, &policy, now);
        managed.agent = after;
        if let Some(exit) = exit.clone() {
            managed.last_exit = Some(exit);
            managed.process = None;
            managed.said = SaidOfItself::default();
            self.findings_dirty = true;
        }
        if before != managed.agent {
            self.transition(name, &before.phase, exit);
        }
        let has_changed = before != self.managed[name].agent;
        for action in actions {
            self.carry_out(name, action);
        }
        self.assess(name, now);
        has_changed
    }

    fn transition(&mut self, name: &AgentName, from: &Phase, exit: Option<Exit>) {
        let Some(managed) = self.managed.get_mut(name) else { return };
        let to = managed.agent.phase.clone();
        if from.name() == to.name() && exit.is_none() {
            self.dirty.insert(name.clone());
            return;
        }
        let cause = match &to {
            Phase::Stopping { cause, .. } => Some(cause.to_string()),
            Phase::Idle { .. }
            | Phase::Waiting { .. }
            | Phase::Spawning { .. }
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Backoff { .. }
            | Phase::Failed { .. } => None,
        };
        let words = match (&exit, &cause) {
            (Some(exit), _) => format!("{} -> {}: {exit}", from.name(), to.name()),
            (None, Some(cause)) => format!("{} -> {}: {cause}", from.name(), to.name()),
            (None, None) => format!("{} -> {}", from.name(), to.name()),
        };
        managed.since_ms = clock::wall_ms();
        let draft = Draft::new(kind::PHASE, words)
            .about(name)
            .with("from", from.name())
            .with("to", to.name())
            .with("failures", managed.agent.failures())
            .with("restarts", managed.spawns.saturating_sub(1))
            .with_some("pid", to.pid().or(from.pid()))
            .with_some("cause", cause)
            .with_some("exit", exit);
        managed.seq = self.recorder.record(draft, vec![]);
        self.dirty.insert(name.clone());
    }

    fn carry_out(&mut self, name: &AgentName, action: Action) {
        match action {
            Action::Spawn => self.spawn(name),
            Action::Terminate(_) => self.signal(name, "SIGTERM", launcher::terminate),
            Action::Kill(_) => self.signal(name, "SIGKILL", launcher::kill),
            Action::SetTimer(at) => self.arm(name, at),
            Action::CancelTimer => self.disarm(name),
        }
    }

    fn spawn(&mut self, name: &AgentName) {
        let Some(managed) = self.managed.get_mut(name) else { return };
        managed.generation += 1;
        managed.spawns += 1;
        let teller = Teller {
            agent: name.clone(),
            generation: managed.generation,
            inbox: self.inbox.clone(),
        };
        self.launcher.start(Arc::clone(&managed.spec), teller);
    }

    fn signal(
        &mut self,
        name: &AgentName,
        what: &'static str,
        send: fn(&OwnedFd) -> std::io::Result<()>,
    ) {
        let process = self.managed.get(name).and_then(|managed| managed.process.as_ref());
        if let Some(process) = process
            && let Err(err) = send(&process.pidfd)
        {
            tracing::error!(agent = %name, signal = what, %err, "signal was not sent");
        }
    }

    pub(super) fn spawned(
        &mut self,
        name: &AgentName,
        pid: Pid,
        pidfd: Arc<OwnedFd>,
        ends: Option<Ends>,
    ) {
        let cgroup = self.launcher.cgroup_of(name);
        let Some(managed) = self.managed.get_mut(name) else { return };
        let teller = Teller {
            agent: name.clone(),
            generation: managed.generation,
            inbox: self.inbox.clone(),
        };
        let settings = managed.settings();
        if ends.is_some() {
            managed.said.asked(clock::mono());
        }
        managed.process = Some(Process {
            pidfd,
            channel: ends.map(|ends| Channel::open(ends, settings, teller)),
            started_ms: clock::wall_ms(),
            cgroup: cgroup.map(|path| path.to_string_lossy().into_owned()),
        });
        self.step(name, Event::Spawned(pid));
    }

    pub(super) fn said(&mut self, name: &AgentName, said: Said) {
        match said {
            Said::Ready { version, checks } => {
                if let Some(managed) = self.managed.get_mut(name) {
                    let mut before = std::mem::take(&mut managed.said.checks);
                    managed.said.version = Some(version);
                    managed.said.checks = checks
                        .into_iter()
                        .map(|info| {
                            let check = match before.remove(&info.name) {
                                Some(known) => known.with(info),
                                None => Check::new(info),
                            };
                            (check.name().to_owned(), check)
                        })
                        .collect();
                }
                self.drop_findings_of_gone_checks(name);
                self.dirty.insert(name.clone());
                self.step(name, Event::Ready);
            }
            Said::Heartbeat => {
                self.step(name, Event::Heard);
            }
            Said::Report(report) => {
                self.step(name, Event::Heard);
                self.reported(name, report);
            }
            Said::Sample(values) => self.sampled(values),
            Said::Settled(reply) => {
                if let Some(managed) = self.managed.get_mut(name) {
                    managed.said.answered(reply.problems);
                }
                self.assess(name, clock::mono());
            }
            Said::Slowed => {
                let message = "sends faster than it may; it is read slowly";
                self.channel_event(name, message.into());
                if let Some(managed) = self.managed.get_mut(name) {
                    managed.slow(clock::mono());
                }
                self.assess(name, clock::mono());
            }
            Said::Broke(reason) => {
                self.channel_event(name, reason.clone());
                self.step(name, Event::Misbehaved(reason));
            }
            Said::Closed => {
                let process = self.managed.get(name).and_then(|managed| managed.process.as_ref());
                // A process that ends closes its channel, too, and its end is told when nothing of
                // it is left, which may take a while: only one that lives on broke it.
                if process.is_some_and(|process| !launcher::has_ended(&process.pidfd)) {
                    self.step(name, Event::Misbehaved("closed its channel".into()));
                }
            }
        }
    }

    fn channel_event(&mut self, name: &AgentName, reason: String) {
        let draft = Draft::new(kind::CHANNEL, reason.clone()).about(name).with("reason", reason);
        self.recorder.record(draft, vec![]);
    }

    fn reported(&mut self, name: &AgentName, report: Report) {
        let now_ms = clock::wall_ms();
        let Some(managed) = self.managed.get_mut(name) else { return };
        let Some(check) = managed.said.checks.get_mut(&report.check) else {
            let reason = format!("reported on {:?}, a check it never named", report.check);
            self.channel_event(name, reason.clone());
            self.step(name, Event::Misbehaved(reason));
            return;
        };
        if check.note(&report, now_ms) {
            self.findings_dirty = true;
        }
        self.dirty.insert(name.clone());
        if report.outcome == Outcome::Measured {
            let (changes, refused) =
                self.findings.report(name, &report.check, report.findings, now_ms);
            managed.said.findings_refused = refused;
            self.findings_dirty = true;
            self.tell_findings(name, changes);
        }
        self.assess(name, clock::mono());
    }

    fn drop_findings_of_gone_checks(&mut self, name: &AgentName) {
        let Some(managed) = self.managed.get(name) else { return };
        let checks = &managed.said.checks;
        let changes =
            self.findings.keep_checks(name, |check| checks.contains_key(check), clock::wall_ms());
        self.tell_findings(name, changes);
    }

    fn sampled(&self, values: Vec<Value>) {
        let now_ms = clock::wall_ms();
        let rows = values.into_iter().map(|Value { name, value, unit }| SampleRow {
            name,
            unit,
            count: 1,
            min: value,
            sum: value,
            max: value,
            last: value,
            last_ms: now_ms,
        });
        let minute_ms = now_ms - now_ms.rem_euclid(60_000);
        // A reading that is lost is a gap in its series, and shown as one.
        let _: bool = self.recorder.archive().samples(minute_ms, rows.collect());
    }

    pub(super) fn assess_all(&mut self) {
        let now = clock::mono();
        for name in self.managed.keys().cloned().collect::<Vec<_>>() {
            self.assess(&name, now);
        }
    }

    /// Looks how well an agent does, and tells it when that changed.
    pub(super) fn assess(&mut self, name: &AgentName, now: Mono) {
        let Some(managed) = self.managed.get_mut(name) else { return };
        let (health, reasons) = managed.assess(now);
        if reasons != managed.reasons {
            managed.reasons = reasons;
            self.dirty.insert(name.clone());
        }
        if health == managed.health {
            return;
        }
        let before = std::mem::replace(&mut managed.health, health);
        let why = managed.reasons.join("; ");
        self.dirty.insert(name.clone());
        // Not running is told by the phase.
        if health == Health::Unknown {
            return;
        }
        let words = if why.is_empty() {
            format!("health {} -> {}", before.as_str(), health.as_str())
        } else {
            format!("health {} -> {}: {why}", before.as_str(), health.as_str())
        };
        let draft = Draft::new(kind::HEALTH, words)
            .about(name)
            .with("from", before.as_str())
            .with("to", health.as_str())
            .with("reasons", why);
        let seq = self.recorder.record(draft, vec![]);
        if let Some(managed) = self.managed.get_mut(name) {
            managed.seq = seq;
        }
    }
}

/// How the process ended, if this event says that it did, in the phase it was in.
fn exit_of(phase: &Phase, event: &Event) -> Option<Exit> {
    match event {
        Event::Exited(status) => phase.exit(*status),
        Event::SpawnFailed(why) => Some(Exit::NotStarted(why.clone())),
        Event::Start
        | Event::Stop
        | Event::Restart
        | Event::Cleared
        | Event::Spawned(_)
        | Event::Ready
        | Event::Heard
        | Event::Misbehaved(_)
        | Event::Timer => None,
    }
}
