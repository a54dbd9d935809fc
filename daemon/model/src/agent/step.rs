//! The state machine: what an event does to an agent, as one pure and total function.
//!
//! One function per event; each names every phase. No `_` arm: a new phase does not compile until
//! someone has thought about each event in it.

use std::time::Duration;

use super::phase::HEARTBEATS;
use super::starts::{Starts, delay};
use super::{Action, Agent, Cause, Event, Exit, ExitStatus, Phase, Pid, Policy, Want};
use crate::{Mono, RestartWhen};

type Turn = (Agent, Vec<Action>);

/// What `event` at `now` does to `agent`, and what the supervisor has to do about it.
///
/// A request that finds everything as it wishes gives back an equal agent and no action: the
/// answer to the caller is then "already so".
pub fn step(agent: Agent, event: Event, policy: &Policy, now: Mono) -> Turn {
    let fired = event == Event::Timer;
    let armed = agent.phase.deadline(policy);
    let (agent, mut actions) = turn(agent, event, policy, now);
    match (armed, agent.phase.deadline(policy)) {
        // A timer that fired is not armed any more, whatever the phase thought of it.
        (before, Some(at)) if fired || before != Some(at) => actions.push(Action::SetTimer(at)),
        (Some(_), None) => actions.push(Action::CancelTimer),
        (Some(_) | None, Some(_)) | (None, None) => {}
    }
    (agent, actions)
}

fn turn(agent: Agent, event: Event, policy: &Policy, now: Mono) -> Turn {
    match event {
        Event::Start => (start(agent), vec![]),
        Event::Stop => stop(agent, now),
        Event::Restart => restart(agent, now),
        Event::Cleared => cleared(agent, policy, now),
        Event::Spawned(pid) => spawned(agent, pid, policy, now),
        Event::SpawnFailed(why) => (spawn_failed(agent, why, policy, now), vec![]),
        Event::Ready => (ready(agent, policy, now), vec![]),
        Event::Heard => (heard(agent, policy, now), vec![]),
        Event::Misbehaved(how) => misbehaved(agent, how, now),
        Event::Exited(status) => (exited(agent, status, policy, now), vec![]),
        Event::Timer => timer(agent, policy, now),
    }
}

fn start(agent: Agent) -> Agent {
    let Agent { phase, starts, .. } = agent;
    let (phase, starts) = match phase {
        Phase::Idle { .. } | Phase::Backoff { .. } | Phase::Failed { .. } => fresh(),
        // Stopped before the pid was known, and wanted after all: that process will do.
        Phase::Spawning { since, again, .. } if agent.want == Want::Down => {
            let starts = if again { Starts::default() } else { Starts::first(since) };
            (Phase::Spawning { failures: 0, since, again }, starts)
        }
        Phase::Stopping { pid, since, cause, killed, again: false, .. } => (
            Phase::Stopping { pid, since, cause, killed, again: true, failures: 0 },
            Starts::default(),
        ),
        phase @ (Phase::Waiting { .. }
        | Phase::Spawning { .. }
        | Phase::Starting { .. }
        | Phase::Running { .. }
        | Phase::Stopping { again: true, .. }) => (phase, starts),
    };
    Agent { want: Want::Up, phase, starts }
}

fn stop(agent: Agent, now: Mono) -> Turn {
    let Agent { phase, starts, .. } = agent;
    let (phase, actions) = match phase {
        Phase::Starting { pid, failures, .. } | Phase::Running { pid, failures, .. } => {
            terminate(pid, Cause::Asked, failures, now)
        }
        Phase::Stopping { pid, since, cause, killed, failures, .. } => {
            // It is not restarted any more; a fault of the agent's stays the cause.
            let cause = if cause.is_failure() { cause } else { Cause::Asked };
            (Phase::Stopping { pid, since, cause, killed, again: false, failures }, vec![])
        }
        Phase::Waiting { .. } => (Phase::Idle { last: None }, vec![]),
        Phase::Backoff { last, .. } | Phase::Failed { last, .. } => {
            (Phase::Idle { last: Some(last) }, vec![])
        }
        // Spawning has no pid yet: `spawned` sees the new wish.
        phase @ (Phase::Idle { .. } | Phase::Spawning { .. }) => (phase, vec![]),
    };
    (Agent { want: Want::Down, phase, starts }, actions)
}

fn restart(agent: Agent, now: Mono) -> Turn {
    let Agent { phase, starts, .. } = agent;
    let ((phase, actions), starts) = match phase {
        Phase::Idle { .. } | Phase::Backoff { .. } | Phase::Failed { .. } => {
            let (phase, starts) = fresh();
            ((phase, vec![]), starts)
        }
        // The process on its way may have been made from a spec that is not in force any more.
        Phase::Spawning { since, .. } => {
            ((Phase::Spawning { failures: 0, since, again: true }, vec![]), Starts::default())
        }
        Phase::Starting { pid, .. } | Phase::Running { pid, .. } => {
            (terminate(pid, Cause::Restart, 0, now), Starts::default())
        }
        Phase::Stopping { pid, since, cause, killed, .. } => (
            (Phase::Stopping { pid, since, cause, killed, again: true, failures: 0 }, vec![]),
            Starts::default(),
        ),
        phase @ Phase::Waiting { .. } => ((phase, vec![]), starts),
    };
    (Agent { want: Want::Up, phase, starts }, actions)
}

fn cleared(mut agent: Agent, policy: &Policy, now: Mono) -> Turn {
    match agent.phase {
        Phase::Waiting { failures } => {
            agent.starts.record(policy.restart.budget, now);
            agent.phase = Phase::Spawning { failures, since: now, again: false };
            (agent, vec![Action::Spawn])
        }
        Phase::Idle { .. }
        | Phase::Spawning { .. }
        | Phase::Starting { .. }
        | Phase::Running { .. }
        | Phase::Stopping { .. }
        | Phase::Backoff { .. }
        | Phase::Failed { .. } => (agent, vec![]),
    }
}

fn spawned(mut agent: Agent, pid: Pid, policy: &Policy, now: Mono) -> Turn {
    let (phase, actions) = match agent.phase {
        Phase::Spawning { failures, again, .. } => match (agent.want, again) {
            (Want::Down, _) => terminate(pid, Cause::Asked, failures, now),
            (Want::Up, true) => terminate(pid, Cause::Restart, failures, now),
            (Want::Up, false) if policy.kit => {
                (Phase::Starting { pid, since: now, failures }, vec![])
            }
            (Want::Up, false) => (Phase::Running { pid, since: now, heard: now, failures }, vec![]),
        },
        // Nobody asked for this process, and no phase could hold it: it must not live on unseen.
        phase @ (Phase::Idle { .. }
        | Phase::Waiting { .. }
        | Phase::Starting { .. }
        | Phase::Running { .. }
        | Phase::Stopping { .. }
        | Phase::Backoff { .. }
        | Phase::Failed { .. }) => {
            let stray = phase.pid() != Some(pid);
            (phase, if stray { vec![Action::Kill(pid)] } else { vec![] })
        }
    };
    agent.phase = phase;
    (agent, actions)
}

fn spawn_failed(mut agent: Agent, why: String, policy: &Policy, now: Mono) -> Agent {
    match agent.phase {
        Phase::Spawning { failures, again, .. } => {
            let end = End { exit: Exit::NotStarted(why), pid: None, failures, again };
            ended(agent.want, agent.starts, end, policy, now)
        }
        phase @ (Phase::Idle { .. }
        | Phase::Waiting { .. }
        | Phase::Starting { .. }
        | Phase::Running { .. }
        | Phase::Stopping { .. }
        | Phase::Backoff { .. }
        | Phase::Failed { .. }) => {
            agent.phase = phase;
            agent
        }
    }
}

fn ready(mut agent: Agent, policy: &Policy, now: Mono) -> Agent {
    match agent.phase {
        Phase::Starting { pid, failures, .. } => {
            agent.phase = Phase::Running { pid, since: now, heard: now, failures };
            agent
        }
        // Said twice it is a sign of life.
        Phase::Running { .. } => heard(agent, policy, now),
        Phase::Idle { .. }
        | Phase::Waiting { .. }
        | Phase::Spawning { .. }
        | Phase::Stopping { .. }
        | Phase::Backoff { .. }
        | Phase::Failed { .. } => agent,
    }
}

fn heard(mut agent: Agent, policy: &Policy, now: Mono) -> Agent {
    match agent.phase {
        Phase::Running { pid, since, failures, .. } => {
            let failures = lasting(failures, since, policy, now);
            agent.phase = Phase::Running { pid, since, heard: now, failures };
            agent
        }
        // In `Starting` only "ready" counts: one that beats for ever and never gets ready is late.
        Phase::Idle { .. }
        | Phase::Waiting { .. }
        | Phase::Spawning { .. }
        | Phase::Starting { .. }
        | Phase::Stopping { .. }
        | Phase::Backoff { .. }
        | Phase::Failed { .. } => agent,
    }
}

fn misbehaved(mut agent: Agent, how: String, now: Mono) -> Turn {
    match agent.phase {
        Phase::Starting { pid, failures, .. } | Phase::Running { pid, failures, .. } => {
            let (phase, actions) = kill(pid, Cause::Misbehaved(how), failures, now);
            agent.phase = phase;
            (agent, actions)
        }
        Phase::Idle { .. }
        | Phase::Waiting { .. }
        | Phase::Spawning { .. }
        | Phase::Stopping { .. }
        | Phase::Backoff { .. }
        | Phase::Failed { .. } => (agent, vec![]),
    }
}

fn exited(mut agent: Agent, status: ExitStatus, policy: &Policy, now: Mono) -> Agent {
    match agent.phase {
        Phase::Starting { pid, failures, .. } => {
            let end = End { exit: Exit::Ended(status), pid: Some(pid), failures, again: false };
            ended(agent.want, agent.starts, end, policy, now)
        }
        Phase::Running { pid, since, failures, .. } => {
            let failures = lasting(failures, since, policy, now);
            let end = End { exit: Exit::Ended(status), pid: Some(pid), failures, again: false };
            ended(agent.want, agent.starts, end, policy, now)
        }
        Phase::Stopping { pid, cause, failures, again, .. } => {
            let exit = Exit::Stopped { cause, status };
            let end = End { exit, pid: Some(pid), failures, again };
            ended(agent.want, agent.starts, end, policy, now)
        }
        // Not of a process that this phase holds.
        phase @ (Phase::Idle { .. }
        | Phase::Waiting { .. }
        | Phase::Spawning { .. }
        | Phase::Backoff { .. }
        | Phase::Failed { .. }) => {
            agent.phase = phase;
            agent
        }
    }
}

fn timer(mut agent: Agent, policy: &Policy, now: Mono) -> Turn {
    let times = &policy.restart;
    let (phase, actions) = match agent.phase {
        Phase::Starting { pid, since, failures } if now.since(since) >= times.ready_within => {
            let cause = Cause::NotReady { within: times.ready_within };
            terminate(pid, cause, failures, now)
        }
        Phase::Running { pid, since, heard, failures } => {
            let failures = lasting(failures, since, policy, now);
            let silent = now.since(heard);
            let allowed = times.heartbeat * HEARTBEATS;
            if !policy.kit || silent < allowed {
                (Phase::Running { pid, since, heard, failures }, vec![])
            } else if silent >= allowed + times.heartbeat {
                // The timer itself is a heartbeat late: the machine slept (`Mono` counts that) or
                // agentd did not run, and what the agent said may lie unread behind this event.
                // One more heartbeat, so that waking up does not kill every agent.
                let heard = now - times.heartbeat * (HEARTBEATS - 1);
                (Phase::Running { pid, since, heard, failures }, vec![])
            } else {
                // At once: a stopped process (SIGSTOP) keeps SIGTERM pending for ever, signal(7).
                kill(pid, Cause::Hang { silent }, failures, now)
            }
        }
        Phase::Stopping { pid, since, cause, killed: false, again, failures }
            if now.since(since) >= times.stop_grace =>
        {
            let phase = Phase::Stopping { pid, since, cause, killed: true, again, failures };
            (phase, vec![Action::Kill(pid)])
        }
        Phase::Backoff { until, failures, .. } if now >= until => {
            (Phase::Waiting { failures }, vec![])
        }
        // Too early, or one that fired while its cancel was on the way.
        phase @ (Phase::Idle { .. }
        | Phase::Waiting { .. }
        | Phase::Spawning { .. }
        | Phase::Starting { .. }
        | Phase::Stopping { .. }
        | Phase::Backoff { .. }
        | Phase::Failed { .. }) => (phase, vec![]),
    };
    agent.phase = phase;
    (agent, actions)
}

/// A start that was asked for: nothing of what went before counts against it.
fn fresh() -> (Phase, Starts) {
    (Phase::Waiting { failures: 0 }, Starts::default())
}

fn terminate(pid: Pid, cause: Cause, failures: u32, now: Mono) -> (Phase, Vec<Action>) {
    let again = cause == Cause::Restart;
    let phase = Phase::Stopping { pid, since: now, cause, killed: false, again, failures };
    (phase, vec![Action::Terminate(pid)])
}

fn kill(pid: Pid, cause: Cause, failures: u32, now: Mono) -> (Phase, Vec<Action>) {
    let phase = Phase::Stopping { pid, since: now, cause, killed: true, again: false, failures };
    (phase, vec![Action::Kill(pid)])
}

/// Failures that still count for an agent that is ready since `since`.
fn lasting(failures: u32, since: Mono, policy: &Policy, now: Mono) -> u32 {
    if now.since(since) >= policy.restart.stable_after { 0 } else { failures }
}

/// The end of a process, or of the attempt to make one.
struct End {
    exit: Exit,
    pid: Option<Pid>,
    failures: u32,
    again: bool,
}

/// Where an agent goes whose process is gone.
fn ended(want: Want, starts: Starts, end: End, policy: &Policy, now: Mono) -> Agent {
    let End { exit, pid, failures, again } = end;
    let phase = match want {
        Want::Down => Phase::Idle { last: Some(exit) },
        // The request that asked for it has opened a new account.
        Want::Up if again => Phase::Waiting { failures: 0 },
        Want::Up if is_restarted(&exit, policy.restart.when) => {
            next_start(exit, pid, failures, &starts, policy, now)
        }
        Want::Up => Phase::Idle { last: Some(exit) },
    };
    Agent { want, phase, starts }
}

/// Whether an end that no request caused is followed by a new start.
fn is_restarted(exit: &Exit, when: RestartWhen) -> bool {
    match (when, exit) {
        (RestartWhen::Always, _) => true,
        (RestartWhen::OnFailure, Exit::Ended(status)) => !status.is_success(),
        // Ended by agentd for a fault of its own, it failed however it exits then.
        (RestartWhen::OnFailure, Exit::Stopped { .. } | Exit::NotStarted(_)) => true,
        (RestartWhen::Never, _) => false,
    }
}

/// When an agent that failed once more is started again, or that it is given up.
fn next_start(
    last: Exit,
    pid: Option<Pid>,
    failures: u32,
    starts: &Starts,
    policy: &Policy,
    now: Mono,
) -> Phase {
    let failures = failures.saturating_add(1);
    let wait = delay(&policy.restart, failures, seed(pid, failures, now));
    let until = now + wait;
    if !starts.has_room(policy.restart.budget, until) {
        Phase::Failed { last, failures }
    } else if wait == Duration::ZERO {
        Phase::Waiting { failures }
    } else {
        Phase::Backoff { until, failures, last }
    }
}

/// Different for agents that fail at the same moment, and for each failure of one.
fn seed(pid: Option<Pid>, failures: u32, now: Mono) -> u64 {
    let pid = pid.map_or(0, |pid| u64::from(pid.as_raw().unsigned_abs()));
    (pid << 32) ^ u64::from(failures) ^ (now.0.as_secs() << 16) ^ u64::from(now.0.subsec_nanos())
}
