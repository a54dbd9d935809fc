//! How a process ended and, where agentd ended it, why. In words for the log and the screen.

use std::fmt;
use std::time::Duration;

use crate::spec::show_duration;

/// What the kernel says of an ended process (waitid(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// It exited with this status.
    Exited(i32),
    /// A signal ended it.
    Signalled {
        /// The signal's number.
        signal: i32,
        /// Whether it dumped core.
        core: bool,
    },
}

impl ExitStatus {
    /// Whether it exited with status 0.
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Signalled { signal, core } => {
                write!(f, "killed by {}", SignalName(signal))?;
                f.write_str(if core { " (core dumped)" } else { "" })
            }
        }
    }
}

/// Why agentd ended a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A request to stop.
    Asked,
    /// A request to restart.
    Restart,
    /// It did not say it is ready in time.
    NotReady {
        /// The time it had.
        within: Duration,
    },
    /// It was not heard from.
    Hang {
        /// For how long.
        silent: Duration,
    },
    /// It broke the rules of the channel.
    Misbehaved(String),
}

impl Cause {
    /// Whether the agent is at fault.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Asked | Self::Restart => false,
            Self::NotReady { .. } | Self::Hang { .. } | Self::Misbehaved(_) => true,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("stopped as asked"),
            Self::Restart => f.write_str("restarted as asked"),
            Self::NotReady { within } => write!(f, "not ready within {}", show_duration(*within)),
            Self::Hang { silent } => {
                write!(f, "hung: no heartbeat for {}", show_duration(*silent))
            }
            Self::Misbehaved(how) => write!(f, "misbehaved: {how}"),
        }
    }
}

/// How a process ended and, where agentd ended it, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Ended(ExitStatus),
    /// agentd ended it.
    Stopped {
        /// Why.
        cause: Cause,
        /// How it ended then.
        status: ExitStatus,
    },
    /// There never was one, and why.
    NotStarted(String),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(status) => status.fmt(f),
            Self::Stopped { cause, status: ExitStatus::Signalled { signal: SIGKILL, .. } } => {
                write!(f, "{cause}, killed")
            }
            Self::Stopped { cause, status } => write!(f, "{cause}, {status}"),
            Self::NotStarted(why) => write!(f, "could not start: {why}"),
        }
    }
}

const SIGKILL: i32 = 9;

/// A signal by its name; its number where it has none.
struct SignalName(i32);

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = usize::try_from(self.0).ok().and_then(|number| number.checked_sub(1));
        match index.and_then(|index| SIGNALS.get(index)) {
            Some(name) => write!(f, "SIG{name}"),
            None => write!(f, "signal {}", self.0),
        }
    }
}

/// Signals 1 to 31 on x86-64 and arm64 (signal(7), "Signal numbering for standard signals").
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_words() {
        let killed = ExitStatus::Signalled { signal: 9, core: false };
        let stopped = |cause, status| Exit::Stopped { cause, status };
        let silent = Duration::from_millis(15_004);
        for (exit, words) in [
            (Exit::Ended(ExitStatus::Exited(1)), "exit status 1"),
            (Exit::Ended(killed), "killed by SIGKILL"),
            (
                Exit::Ended(ExitStatus::Signalled { signal: 11, core: true }),
                "killed by SIGSEGV (core dumped)",
            ),
            (Exit::Ended(ExitStatus::Signalled { signal: 34, core: false }), "killed by signal 34"),
            (stopped(Cause::Hang { silent }, killed), "hung: no heartbeat for 15s, killed"),
            (
                stopped(
                    Cause::NotReady { within: Duration::from_secs(90) },
                    ExitStatus::Signalled { signal: 15, core: false },
                ),
                "not ready within 90s, killed by SIGTERM",
            ),
            (
                stopped(Cause::Misbehaved("message of 5 MiB".to_owned()), killed),
                "misbehaved: message of 5 MiB, killed",
            ),
            (stopped(Cause::Asked, ExitStatus::Exited(0)), "stopped as asked, exit status 0"),
            (stopped(Cause::Restart, killed), "restarted as asked, killed"),
            (Exit::NotStarted("no such file: /x".to_owned()), "could not start: no such file: /x"),
        ] {
            assert_eq!(exit.to_string(), words);
        }
    }

    #[test]
    fn signals_have_the_numbers_of_signal_7() {
        for (number, name) in [(1, "SIGHUP"), (9, "SIGKILL"), (15, "SIGTERM"), (31, "SIGSYS")] {
            assert_eq!(SignalName(number).to_string(), name);
        }
        for (number, name) in [(0, "signal 0"), (-3, "signal -3"), (32, "signal 32")] {
            assert_eq!(SignalName(number).to_string(), name);
        }
    }
}
