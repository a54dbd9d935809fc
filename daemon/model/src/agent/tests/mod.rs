//! The state machine in a simulated world. [`Sim`] keeps a shadow of what exists (the process, the
//! timer, the starts that count) and checks the invariants after every single event.

mod order;
mod properties;
mod requests;
mod table;
mod troubles;

use std::time::Duration;

use super::phase::HEARTBEATS;
use super::{Action, Agent, Cause, Event, ExitStatus, Phase, Pid, Policy, Want, step};
use crate::{Budget, Mono, RestartPolicy, RestartWhen};

const CRASH: ExitStatus = ExitStatus::Exited(1);
const CLEAN: ExitStatus = ExitStatus::Exited(0);
const KILLED: ExitStatus = ExitStatus::Signalled { signal: 9, core: false };

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn pid(raw: i32) -> Pid {
    Pid::new(raw).unwrap()
}

/// On failure, at once and then from 1 s to 30 s; 5 starts in 5 min; ready in 10 s; a heartbeat
/// every 5 s; 5 s of grace; stable after a minute.
fn usual() -> Policy {
    Policy { restart: RestartPolicy::default(), kit: true }
}

fn when(when: RestartWhen) -> Policy {
    Policy { restart: RestartPolicy { when, ..usual().restart }, ..usual() }
}

fn budget(starts: u32, within: Duration) -> Policy {
    let restart = RestartPolicy { budget: Budget { starts, within }, ..usual().restart };
    Policy { restart, ..usual() }
}

/// The process, as the machine has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    None,
    Requested,
    Alive { pid: Pid, told_to_end: Option<Mono>, killed: bool },
}

struct Sim {
    agent: Agent,
    policy: Policy,
    now: Mono,
    process: Process,
    timer: Option<Mono>,
    want: Want,
    /// Starts since a request last asked for one.
    starts: Vec<Mono>,
    /// When the process was last heard from.
    heard: Mono,
    spawns: usize,
    next_pid: i32,
    /// Each change of phase, and each action but those on the timer.
    history: Vec<String>,
}

impl Sim {
    fn new(policy: Policy) -> Self {
        Self {
            agent: Agent::new(),
            policy,
            now: Mono(secs(1000)),
            process: Process::None,
            timer: None,
            want: Want::Down,
            starts: vec![],
            heard: Mono::default(),
            spawns: 0,
            next_pid: 100,
            history: vec![],
        }
    }

    /// Started and ready, as pid 100.
    fn running(policy: Policy) -> Self {
        let mut sim = Self::new(policy);
        sim.on(Event::Start).up();
        sim.history.clear();
        sim
    }

    /// From waiting to running in a healthy world.
    fn up(&mut self) -> &mut Self {
        self.on(Event::Cleared).spawned();
        if self.policy.kit {
            self.on(Event::Ready);
        }
        assert_eq!(self.agent.phase.name(), "running", "{:?}", self.agent);
        self
    }

    fn spawned(&mut self) -> &mut Self {
        let pid = pid(self.next_pid);
        self.next_pid += 1;
        self.on(Event::Spawned(pid))
    }

    fn spawn_failed(&mut self) -> &mut Self {
        self.on(Event::SpawnFailed("no such file".to_owned()))
    }

    fn exited(&mut self, status: ExitStatus) -> &mut Self {
        self.on(Event::Exited(status))
    }

    fn misbehaved(&mut self) -> &mut Self {
        self.on(Event::Misbehaved("garbage".to_owned()))
    }

    /// Lets time pass; the timer fires on time.
    fn wait(&mut self, time: Duration) -> &mut Self {
        let end = self.now + time;
        let mut fired = 0;
        while let Some(at) = self.timer.filter(|at| *at <= end) {
            fired += 1;
            assert!(fired < 10_000, "the timer spins: {:?}", self.agent);
            self.now = self.now.max(at);
            self.timer = None;
            self.on(Event::Timer);
        }
        self.now = end;
        self
    }

    /// Time passes while nothing runs: a timer that is due fires only at the end.
    fn sleep(&mut self, time: Duration) -> &mut Self {
        self.now = self.now + time;
        if self.timer.is_some_and(|at| at <= self.now) {
            self.timer = None;
            self.on(Event::Timer);
        }
        self
    }

    /// One event; everything that must hold is checked before and after.
    fn on(&mut self, event: Event) -> &mut Self {
        self.world_before(&event);
        let before = self.agent.clone();
        let (agent, actions) = step(before.clone(), event.clone(), &self.policy, self.now);
        self.agent = agent;
        self.shadow_request(&event, &before, &actions);
        for action in &actions {
            self.perform(*action);
        }
        self.record(&before, &actions);
        self.check(&before);
        if event == Event::Timer && before.phase.deadline(&self.policy) > Some(self.now) {
            assert_eq!(before, self.agent, "a timer that fired too early changed something");
        }
        self
    }

    /// The machine's side of an event.
    fn world_before(&mut self, event: &Event) {
        match event {
            Event::Spawned(pid) => {
                assert_eq!(self.process, Process::Requested, "the test is wrong");
                self.process = Process::Alive { pid: *pid, told_to_end: None, killed: false };
                self.heard = self.now;
            }
            Event::SpawnFailed(_) => {
                assert_eq!(self.process, Process::Requested, "the test is wrong");
                self.process = Process::None;
            }
            Event::Exited(_) => {
                assert!(matches!(self.process, Process::Alive { .. }), "the test is wrong");
                self.process = Process::None;
            }
            Event::Ready | Event::Heard => self.heard = self.now,
            Event::Start
            | Event::Stop
            | Event::Restart
            | Event::Cleared
            | Event::Misbehaved(_)
            | Event::Timer => {}
        }
    }

    /// The last request is what is wanted; one that starts something opens a new account.
    fn shadow_request(&mut self, event: &Event, before: &Agent, actions: &[Action]) {
        match event {
            Event::Stop => self.want = Want::Down,
            Event::Start | Event::Restart => {
                self.want = Want::Up;
                let is_taken = *before != self.agent || !actions.is_empty();
                // A start that is on its way is the one a `Start` asks for; a `Restart` replaces it.
                let kept = *event == Event::Start && self.process == Process::Requested;
                if is_taken {
                    self.starts.drain(..self.starts.len().saturating_sub(usize::from(kept)));
                }
            }
            Event::Cleared
            | Event::Spawned(_)
            | Event::SpawnFailed(_)
            | Event::Ready
            | Event::Heard
            | Event::Misbehaved(_)
            | Event::Exited(_)
            | Event::Timer => {}
        }
    }

    /// What an action does to the machine, if it may be given at all.
    fn perform(&mut self, action: Action) {
        match (action, &mut self.process) {
            (Action::Spawn, process @ Process::None) => {
                *process = Process::Requested;
                assert_eq!(self.want, Want::Up, "started against the last request");
                self.spawns += 1;
                self.starts.push(self.now);
            }
            (Action::Terminate(to), Process::Alive { pid, told_to_end, killed: false })
                if *pid == to && told_to_end.is_none() =>
            {
                *told_to_end = Some(self.now);
            }
            (Action::Kill(to), Process::Alive { pid, killed, .. }) if *pid == to && !*killed => {
                *killed = true;
            }
            (Action::SetTimer(at), _) => self.timer = Some(at),
            (Action::CancelTimer, _) => {
                self.timer = None;
            }
            (Action::Spawn | Action::Terminate(_) | Action::Kill(_), process) => {
                panic!("{action:?} while the process is {process:?}: {:?}", self.agent)
            }
        }
    }

    fn record(&mut self, before: &Agent, actions: &[Action]) {
        let done: Vec<&str> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Spawn => Some("spawn"),
                Action::Terminate(_) => Some("terminate"),
                Action::Kill(_) => Some("kill"),
                Action::SetTimer(_) | Action::CancelTimer => None,
            })
            .collect();
        let phase = self.agent.phase.name();
        if done.is_empty() {
            if before.phase.name() != phase {
                self.history.push(phase.to_owned());
            }
        } else {
            self.history.push(format!("{phase}: {}", done.join(", ")));
        }
    }

    /// What must hold after every event.
    fn check(&self, before: &Agent) {
        let Self { agent, policy, now, .. } = self;
        assert_eq!(agent.want, self.want, "the last request is not what is wanted: {agent:?}");
        match (&agent.phase, self.process) {
            (Phase::Spawning { .. }, Process::Requested) => {}
            (
                Phase::Starting { pid, .. } | Phase::Running { pid, .. },
                Process::Alive { pid: alive, told_to_end: None, killed: false },
            ) if *pid == alive => {}
            (
                Phase::Stopping { pid, killed, since, .. },
                Process::Alive { pid: alive, told_to_end, killed: is_killed },
            ) if *pid == alive && *killed == is_killed => {
                assert!(*killed || told_to_end == Some(*since), "stopping, and not told to");
            }
            (
                Phase::Idle { .. }
                | Phase::Waiting { .. }
                | Phase::Backoff { .. }
                | Phase::Failed { .. },
                Process::None,
            ) => {}
            (
                Phase::Idle { .. }
                | Phase::Waiting { .. }
                | Phase::Spawning { .. }
                | Phase::Starting { .. }
                | Phase::Running { .. }
                | Phase::Stopping { .. }
                | Phase::Backoff { .. }
                | Phase::Failed { .. },
                process,
            ) => panic!("the phase does not hold the process {process:?}: {agent:?}"),
        }
        if self.want == Want::Down {
            assert!(matches!(agent.phase.name(), "idle" | "spawning" | "stopping"), "{agent:?}");
        }
        assert_eq!(self.timer, agent.phase.deadline(policy), "timer and phase differ: {agent:?}");
        self.check_times();
        let Budget { starts, within } = policy.restart.budget;
        let recent = self.starts.iter().filter(|start| now.since(**start) < within).count();
        assert_eq!(recent, agent.starts.recent(policy.restart.budget, *now), "{:?}", self.starts);
        assert!(recent <= starts as usize, "over budget: {:?}", self.starts);
        if before.phase.name() != "failed" && agent.phase.name() == "failed" {
            assert_eq!(recent, starts as usize, "given up within budget: {:?}", self.starts);
        }
    }

    /// No time is longer than the policy says.
    fn check_times(&self) {
        let Self { agent, policy, now, .. } = self;
        let times = &policy.restart;
        match &agent.phase {
            Phase::Backoff { until, .. } => {
                assert!(until.since(*now) <= times.max_delay, "{agent:?}");
            }
            Phase::Stopping { cause: Cause::Hang { silent }, .. } => {
                assert!(*silent >= times.heartbeat * HEARTBEATS, "killed too early: {agent:?}");
            }
            Phase::Running { heard, .. } => {
                assert!(*heard <= *now, "heard from in the future: {agent:?}");
            }
            Phase::Idle { .. }
            | Phase::Waiting { .. }
            | Phase::Spawning { .. }
            | Phase::Starting { .. }
            | Phase::Stopping { .. }
            | Phase::Failed { .. } => {}
        }
    }

    /// Drives a healthy world until nothing more happens by itself: what may start does, is ready
    /// at once, and ends when told.
    fn settle(&mut self) -> &mut Self {
        for _ in 0..100 {
            match (&self.agent.phase, self.timer) {
                (Phase::Waiting { .. }, _) => self.on(Event::Cleared),
                (Phase::Spawning { .. }, _) => self.spawned(),
                (Phase::Starting { .. }, _) => self.on(Event::Ready),
                (Phase::Stopping { killed: true, .. }, _) => self.exited(KILLED),
                (Phase::Stopping { killed: false, .. }, _) => self.exited(CLEAN),
                (Phase::Backoff { .. }, Some(at)) => self.wait(at.since(self.now)),
                (Phase::Idle { .. } | Phase::Running { .. } | Phase::Failed { .. }, _) => {
                    return self;
                }
                (Phase::Backoff { .. }, None) => panic!("waits for ever: {:?}", self.agent),
            };
        }
        panic!("never comes to rest: {:?}", self.agent);
    }
}
