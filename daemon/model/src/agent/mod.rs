//! One agent as the supervisor sees it: what is wanted of it beside where its process is.
//!
//! Requests ([`Event::Start`], [`Event::Stop`], [`Event::Restart`]) say what is wanted, and set off
//! only what follows from that at once. The kernel's news, the agent's own messages and the timer
//! say where the process is. So a request may come at any moment and is never lost.
//!
//! ```text
//!          Start           Cleared             Spawned              Ready
//!   Idle --------> Waiting --------> Spawning --------> Starting --------> Running
//!    ^              ^   ^               |                  | |               | |
//!    | wanted       |   | Timer         | failed           | | ends     ends | |
//!    | down         |   |               v                  | |               | |
//!    |        asked |   +----------- Backoff <-------------|-+---------------+ |
//!    |        again |                 |   ^                |                   |
//!    |              |     over budget |   | was at fault   | too late, Stop    | hang, Stop,
//!    |              |                 v   |                v                   v misbehaved
//!    |              |              Failed |             Stopping <-------------+
//!    +--------------+---------------------+--- Exited -----+
//! ```
//!
//! Where the delay is zero, as it is after the first failure, `Backoff` is passed over. An agent
//! whose end its policy does not restart goes to `Idle`.
//!
//! What must hold, after every event (`agent::tests` checks each):
//! - want down: the phase is `Idle`, `Spawning` or `Stopping`;
//! - [`Action::Spawn`] is only given where no process exists or is being made;
//! - a timer is armed exactly where [`Phase::deadline`] says so.
//!
//! Who may start (order, needs) is decided in `order`; making processes, signals and timers is
//! the supervisor's.

mod exit;
mod order;
mod phase;
mod starts;
mod step;

use crate::{AgentSpec, RestartPolicy};

pub use exit::{Cause, Exit, ExitStatus};
pub use order::{WaitReason, WaitWhy, stop_order, waits_for};
pub use phase::Phase;
pub use starts::Starts;
pub use step::step;

/// What the operator wants of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// It should run, as far as its restart policy goes.
    Up,
    /// It should not.
    Down,
}

impl Want {
    /// The word on the wire and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// One agent: what is wanted, where its process is, and the starts that count against its budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// What the operator wants.
    pub want: Want,
    /// Where its process is.
    pub phase: Phase,
    /// Its recent starts, since a request last asked for one.
    pub starts: Starts,
}

impl Agent {
    /// An agent that is not wanted and was never started.
    pub fn new() -> Self {
        Self { want: Want::Down, phase: Phase::Idle { last: None }, starts: Starts::default() }
    }

    /// Its process, where there is one.
    pub fn pid(&self) -> Option<Pid> {
        self.phase.pid()
    }

    /// Failures in a row. Zero once it ran for `stable_after`, and after a request to start.
    pub fn failures(&self) -> u32 {
        self.phase.failures()
    }
}

impl Default for Agent {
    fn default() -> Self {
        Self::new()
    }
}

/// A process id that names one process: positive, so that a signal to it never reaches a group or
/// everything (kill(2): 0, -1 and negative values do).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(i32);

impl Pid {
    /// `None` unless `raw` is positive.
    pub fn new(raw: i32) -> Option<Self> {
        (raw > 0).then_some(Self(raw))
    }

    /// The number.
    pub fn as_raw(self) -> i32 {
        self.0
    }
}

impl std::fmt::Display for Pid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What [`step()`] needs to know of a spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// When it is restarted, and how long things may take. As `parse_spec` gives it: no time in it
    /// is zero, but for `first_delay`.
    pub restart: RestartPolicy,
    /// Whether it speaks the channel. If not it counts as ready once started and has no heartbeat.
    pub kit: bool,
}

impl From<&AgentSpec> for Policy {
    fn from(spec: &AgentSpec) -> Self {
        Self { restart: spec.restart, kit: spec.kit }
    }
}

/// What can happen to an agent.
///
/// The caller keeps the order in which things became true for one process: `Spawned` before
/// anything that process says or does, `Exited` last. What belongs to an earlier process it drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request: it should run. Starts it at once from `Backoff`, and from `Failed` too. A request
    /// that starts something opens a new account: failures and starts count from zero.
    Start,
    /// A request: it should not run.
    Stop,
    /// A request: it should run, in a process that does not exist yet. Starts what does not run.
    /// (On reload, send it only to agents that are wanted up.)
    Restart,
    /// Everything it waits for is there ([`waits_for`] is empty).
    Cleared,
    /// The process asked for exists.
    Spawned(Pid),
    /// The process asked for could not be made, and why.
    SpawnFailed(String),
    /// It said that it is ready.
    Ready,
    /// It was heard from.
    Heard,
    /// It broke the rules of the channel, and how.
    Misbehaved(String),
    /// Its process ended and was reaped.
    Exited(ExitStatus),
    /// The timer set last fired. One that fired while its cancel was on the way does no harm.
    Timer,
}

/// What the supervisor has to do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the process; answer with `Spawned` or `SpawnFailed`.
    Spawn,
    /// Send SIGTERM to it.
    Terminate(Pid),
    /// Kill it, and all that is in its cgroup.
    Kill(Pid),
    /// Fire `Timer` then. Replaces the timer that was set before.
    SetTimer(crate::Mono),
    /// Forget the timer.
    CancelTimer,
}

#[cfg(test)]
mod tests;
