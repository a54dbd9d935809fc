//! Where an agent's process is. Each phase carries just what exists then: a pid only where a
//! process is, a last exit only where the next start is in question.

use super::{Cause, Exit, ExitStatus, Pid, Policy};
use crate::Mono;

/// How many heartbeats may be missed before an agent counts as hung.
pub(super) const HEARTBEATS: u32 = 3;

/// Where an agent's process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No process and none to come. With want up: it ended in a way its policy does not restart
    /// (`Cleared` does not start it, a request does).
    Idle {
        /// How its last process ended.
        last: Option<Exit>,
    },
    /// No process; one is made as soon as `Cleared` comes.
    Waiting {
        /// Failures in a row.
        failures: u32,
    },
    /// A process was asked for and the answer has not come yet.
    Spawning {
        /// Failures in a row.
        failures: u32,
        /// Since when.
        since: Mono,
        /// A restart was asked for meanwhile: this process is ended as soon as it is known.
        again: bool,
    },
    /// It exists but has not said it is ready.
    Starting {
        /// Its process.
        pid: Pid,
        /// Since when it exists.
        since: Mono,
        /// Failures in a row.
        failures: u32,
    },
    /// It is ready.
    Running {
        /// Its process.
        pid: Pid,
        /// Since when it is ready.
        since: Mono,
        /// When it was last heard from.
        heard: Mono,
        /// Failures in a row.
        failures: u32,
    },
    /// It was told to end.
    Stopping {
        /// Its process.
        pid: Pid,
        /// Since when.
        since: Mono,
        /// Why.
        cause: Cause,
        /// Whether it was killed already; if not it is when its grace is over.
        killed: bool,
        /// A request asked for a new start after this end, whatever the restart policy says.
        again: bool,
        /// Failures in a row, this end not counted.
        failures: u32,
    },
    /// No process; the next start is at `until`.
    Backoff {
        /// When it is started again.
        until: Mono,
        /// Failures in a row.
        failures: u32,
        /// How its last process ended.
        last: Exit,
    },
    /// Given up: another start would be over its budget. Stays until a request.
    Failed {
        /// How its last process ended.
        last: Exit,
        /// Failures in a row.
        failures: u32,
    },
}

impl Phase {
    /// The phase as one word, the same as on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Idle { .. } => "idle",
            Self::Waiting { .. } => "waiting",
            Self::Spawning { .. } => "spawning",
            Self::Starting { .. } => "starting",
            Self::Running { .. } => "running",
            Self::Stopping { .. } => "stopping",
            Self::Backoff { .. } => "backoff",
            Self::Failed { .. } => "failed",
        }
    }

    /// Its process, where there is one.
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Self::Starting { pid, .. } | Self::Running { pid, .. } | Self::Stopping { pid, .. } => {
                Some(*pid)
            }
            Self::Idle { .. }
            | Self::Waiting { .. }
            | Self::Spawning { .. }
            | Self::Backoff { .. }
            | Self::Failed { .. } => None,
        }
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        match self {
            Self::Idle { .. } => 0,
            Self::Waiting { failures }
            | Self::Spawning { failures, .. }
            | Self::Starting { failures, .. }
            | Self::Running { failures, .. }
            | Self::Stopping { failures, .. }
            | Self::Backoff { failures, .. }
            | Self::Failed { failures, .. } => *failures,
        }
    }

    /// When the timer has to fire in this phase; `None` where time changes nothing.
    ///
    /// [`super::step()`] keeps the timer at this. After a change of policy alone the caller may set
    /// it anew from here; if it does not, the old timer fires, and the next is right.
    pub fn deadline(&self, policy: &Policy) -> Option<Mono> {
        let times = &policy.restart;
        match self {
            Self::Starting { since, .. } => Some(*since + times.ready_within),
            Self::Running { since, heard, failures, .. } => {
                let hang = policy.kit.then(|| *heard + times.heartbeat * HEARTBEATS);
                let stable = (*failures > 0).then(|| *since + times.stable_after);
                hang.into_iter().chain(stable).min()
            }
            Self::Stopping { since, killed: false, .. } => Some(*since + times.stop_grace),
            Self::Backoff { until, .. } => Some(*until),
            Self::Idle { .. }
            | Self::Waiting { .. }
            | Self::Spawning { .. }
            | Self::Stopping { killed: true, .. }
            | Self::Failed { .. } => None,
        }
    }

    /// What an end of its process with `status` is in this phase: its own doing, or ours and why.
    /// `None` where there is no process.
    pub fn exit(&self, status: ExitStatus) -> Option<Exit> {
        match self {
            Self::Starting { .. } | Self::Running { .. } => Some(Exit::Ended(status)),
            Self::Stopping { cause, .. } => Some(Exit::Stopped { cause: cause.clone(), status }),
            Self::Idle { .. }
            | Self::Waiting { .. }
            | Self::Spawning { .. }
            | Self::Backoff { .. }
            | Self::Failed { .. } => None,
        }
    }

    /// How its last process ended, in the phases that know: `Idle`, `Backoff`, `Failed`.
    pub fn last(&self) -> Option<&Exit> {
        match self {
            Self::Idle { last } => last.as_ref(),
            Self::Backoff { last, .. } | Self::Failed { last, .. } => Some(last),
            Self::Waiting { .. }
            | Self::Spawning { .. }
            | Self::Starting { .. }
            | Self::Running { .. }
            | Self::Stopping { .. } => None,
        }
    }
}
